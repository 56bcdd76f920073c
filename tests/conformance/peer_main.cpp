// conformance-peer [size=BYTES] [inline=1] [silent=1] [store=DIR] [SETTING=VALUE]...: the scripted server as a process
// of its own. Prints its address in one line and serves until its standard input ends.
#include "peer.hpp"

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  weft::tests::peer_options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto equals = argument.find('=');
    if (equals == std::string::npos) return 2;
    const auto name = argument.substr(0, equals);
    const auto value = argument.substr(equals + 1);
    if (name == "size") {
      options.size = std::stoull(value);
    } else if (name == "inline") {
      options.inline_handler = true;
    } else if (name == "silent") {
      options.silent = true;
    } else if (name == "store") {
      options.store = value;
    } else {
      options.values.emplace_back(name, value);
    }
  }
  weft::tests::peer served(options);
  std::printf("%s\n", served.address().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
