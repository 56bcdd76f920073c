// What a program outside this tree has to write to use the library.
#include <weft/fabric.hpp>

#include <cstdio>

int main() {
  const weft::fabric fabric{weft::config{}};
  std::printf("this process is %s\n", fabric.name().c_str());
  return fabric.name().empty() ? 1 : 0;
}
