// What may be a shard's name, and that every name has a file name of its own.
#include "shard/name.hpp"

#include "store_fixture.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

namespace weft {
namespace {

std::string refusal(std::string_view name) {
  const auto checked = check_shard_name(name);
  if (checked) return "accepted";
  CHECK(checked.error() == errc::invalid_name);
  return checked.error().where();
}

bool says(std::string_view name, std::string_view text) {
  return refusal(name).find(text) != std::string::npos;
}

TEST_CASE("names of ordinary data sets and of every script are accepted") {
  for (const std::string_view name :
       {"a", "train/00017.tar", "model-v1/layer.0/weights~", "...", ".hidden/..data", "50% off", "with space",
        "\xc3\xa9t\xc3\xa9/\xe6\x95\xb0\xe6\x8d\xae", "\xf0\x9f\x98\x80", "a:b*c?\"<>|"}) {
    CHECK_MESSAGE(refusal(name) == "accepted", name);
  }
  CHECK(refusal(std::string(1024, 'x')) == "accepted");
}

TEST_CASE("a refused name says what is wrong and where") {
  CHECK(says("", "empty"));
  CHECK(says(std::string(1025, 'x'), "1025 bytes, at most 1024"));
  CHECK(says("/a", "empty component at byte 0"));
  CHECK(says("a//b", "empty component at byte 2"));
  CHECK(says("a/", "empty component at byte 2"));
  CHECK(says(".", "component \".\" at byte 0"));
  CHECK(says("a/../b", "component \"..\" at byte 2"));
  CHECK(says("a/.", "component \".\" at byte 2"));
  CHECK(says("a\\b", "backslash at byte 1"));
  CHECK(says(std::string_view("a\0b", 3), "U+0000 at byte 1"));
  CHECK(says("a\nb", "U+000A at byte 1"));
  CHECK(says("a\x7f", "U+007F at byte 1"));
  CHECK(says("a\xc2\x85", "U+0085 at byte 1"));
}

TEST_CASE("what is not UTF-8 is refused") {
  for (const std::string_view name : {"a\x80", "a\xc3", "a\xc0\xaf", "a\xed\xa0\x80", "a\xf4\x90\x80\x80", "a\xff"}) {
    CHECK(says(name, "not UTF-8 at byte 1"));
  }
}

TEST_CASE("the text of a refusal holds nothing that a terminal would obey") {
  const auto text = refusal("\x1b[2Jred\\");
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(refusal(std::string(5000, '\n')).size() < 400);
}

TEST_CASE("a file name is one component, and each name has its own") {
  std::set<std::string> files;
  const auto names = {"a",   "train/00017.tar", "50%/2F", "50%25/2F", "%2F",  "A/a",
                      "a/a", "\xc3\xa9",        "~x",     "a b",      "Train"};
  for (const std::string_view name : names) {
    const auto file = file_name_of(name);
    CHECK(file.find('/') == std::string::npos);
    files.insert(file);
  }
  CHECK(files.size() == names.size());
  CHECK(file_name_of("train/00017.tar") == "train%2F00017.tar");
}

TEST_CASE("long names get short file names, each its own, which nothing else can have") {
  const std::string longest_plain(200, 'x');
  CHECK(file_name_of(longest_plain) == longest_plain);
  const auto first = file_name_of(std::string(201, 'x'));
  CHECK(first.size() == 38);
  CHECK(first.starts_with("%~"));
  CHECK(first == file_name_of(std::string(201, 'x')));
  CHECK(first != file_name_of(std::string(202, 'x')));
}

} // namespace
} // namespace weft
