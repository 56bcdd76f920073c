// Reading a TOML file into flat settings, each with its place; the meaning of the names is config's business.
// Pure but for reading the one file.
#pragma once

#include <weft/error.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace weft {

struct file_setting {
  std::string name; ///< dotted: "slice.size"
  std::string text;
  std::string place; ///< "trainer.toml:3:8", the key's line and column
};

/// The file's settings, by name. Errors: invalid_config, with file, line and column.
[[nodiscard]] result<std::vector<file_setting>> read_config_file(const std::filesystem::path& path);

} // namespace weft
