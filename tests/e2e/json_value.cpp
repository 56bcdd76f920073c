// Prints one value of a JSON document, for tests in shell: `json_value FILE POINTER`; strings without their quotes.
// Exits with 1 where there is none, and with 2 for a document that is not JSON.
#include <nlohmann/json.hpp>

#include <fstream>
#include <iostream>

int main(int count, char** arguments) {
  if (count != 3) return 2;
  std::ifstream file{arguments[1]};
  const auto document = nlohmann::json::parse(file, nullptr, false);
  if (document.is_discarded()) return 2;
  const nlohmann::json::json_pointer pointer{arguments[2]};
  if (!document.contains(pointer)) return 1;
  const auto& value = document.at(pointer);
  std::cout << (value.is_string() ? value.get<std::string>() : value.dump()) << '\n';
  return 0;
}
