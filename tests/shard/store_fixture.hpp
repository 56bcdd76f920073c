// A store in a folder that goes with the test, and the few steps that most tests of the file store begin with.
#pragma once

#include "base/crc32c.hpp"
#include "fake_system_calls.hpp"
#include "shard/file_store.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

/// So that a failed check of a result or an error shows what the error says.
template <>
struct doctest::StringMaker<weft::error> {
  static String convert(const weft::error& failure) { return failure.message().c_str(); }
};
template <class T>
struct doctest::StringMaker<weft::result<T>> {
  static String convert(const weft::result<T>& outcome) {
    return outcome.has_value() ? "a value" : StringMaker<weft::error>::convert(outcome.error());
  }
};

namespace weft::test {

using bytes = std::vector<std::byte>;

inline bytes random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 source{seed};
  bytes data(size);
  for (std::byte& value : data) {
    value = static_cast<std::byte>(source());
  }
  return data;
}

inline std::vector<std::uint32_t> block_crcs(const bytes& data) {
  std::vector<std::uint32_t> crcs;
  for (std::size_t at = 0; at < data.size(); at += block_size) {
    crcs.push_back(crc32c(std::span(data).subspan(at, std::min<std::size_t>(block_size, data.size() - at))));
  }
  return crcs;
}

struct store_fixture {
  store_fixture() {
    std::string name = (std::filesystem::temp_directory_path() / "weft-store-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    folder = name;
    reopen();
  }
  store_fixture(const store_fixture&) = delete;
  store_fixture& operator=(const store_fixture&) = delete;
  ~store_fixture() {
    store.reset();
    std::filesystem::remove_all(folder);
  }

  void reopen() {
    store.reset();
    auto opened = file_store::open(folder / "store", calls);
    REQUIRE_MESSAGE(opened, opened.error().message());
    store = std::move(*opened);
  }

  /// The whole way of a put with honest checksums.
  /// Every block checked.
  verification verified(std::string_view name) {
    verification all(store->open_shard(name).value());
    while (all.check(1)) {
    }
    return all;
  }
  result<void> put(std::string_view name, id128 version, const bytes& data) {
    auto begun = store->begin_put(name, version, data.size());
    if (!begun) return begun.error();
    if (auto written = (*begun)->write(0, data, block_crcs(data)); !written) return written;
    return (*begun)->commit();
  }

  /// What a reader gets, empty if there is nothing.
  bytes contents(std::string_view name) {
    const auto shard = store->open_shard(name);
    if (!shard) return {};
    bytes data((*shard)->manifest().size);
    const auto read = (*shard)->read(0, data);
    REQUIRE_MESSAGE(read, read.error().message());
    CHECK((*shard)->manifest().block_crcs == block_crcs(data));
    return data;
  }

  std::vector<std::string> files(const char* subfolder) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{folder / "store" / subfolder}) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  /// Inverts one byte of a file in the store.
  void damage(const std::string& path, std::streamoff at) const {
    std::fstream target{folder / "store" / path, std::ios::in | std::ios::out | std::ios::binary};
    char value = 0;
    target.seekg(at).get(value);
    target.seekp(at).put(static_cast<char>(~value));
    REQUIRE(target.good());
  }

  fake_system_calls calls;
  std::filesystem::path folder;
  std::unique_ptr<file_store> store;
};

inline constexpr id128 version_1{0, 1};
inline constexpr id128 version_2{0, 2};
inline const std::string version_1_text = "00000000000000000000000000000001";
inline const std::string version_2_text = "00000000000000000000000000000002";

} // namespace weft::test
