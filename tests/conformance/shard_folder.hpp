// A temporary folder for a store, removed with the object.
#pragma once

#include <weft/id.hpp>

#include <filesystem>
#include <fstream>
#include <string>

namespace weft::tests {

class shard_folder {
public:
  shard_folder() : path_(std::filesystem::temp_directory_path() / ("weft-conformance-" + to_string(random_id()))) {}
  ~shard_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  shard_folder(const shard_folder&) = delete;
  shard_folder& operator=(const shard_folder&) = delete;

  [[nodiscard]] std::string path() const { return path_.string(); }

  /// Changes one byte of the only file under data/: what a failing disk does.
  void rot(std::uint64_t offset) const {
    for (const auto& entry : std::filesystem::directory_iterator(path_ / "data")) {
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(offset));
      const auto byte = static_cast<char>(file.get() ^ 0x20);
      file.seekp(static_cast<std::streamoff>(offset));
      file.put(byte);
    }
  }

  /// Files that are not part of a stored shard.
  [[nodiscard]] std::size_t unfinished() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_ / "incoming")) ++count;
    return count;
  }

private:
  std::filesystem::path path_;
};

} // namespace weft::tests
