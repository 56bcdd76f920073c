// Where settings come from, which source wins, and what the errors say. Each case has a folder of its own.
#include <weft/config.hpp>

#include "base/tunables.hpp"
#include "weft/id.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using namespace weft::literals;
using namespace std::chrono_literals;
using weft::config;
using weft::errc;

namespace {

/// A file named trainer.toml that lives as long as this.
class toml_file {
public:
  explicit toml_file(std::string_view text)
      : folder_(std::filesystem::temp_directory_path() / ("weft-" + to_string(weft::random_id()))) {
    std::filesystem::create_directory(folder_);
    std::ofstream{path()} << text;
  }
  toml_file(const toml_file&) = delete;
  toml_file& operator=(const toml_file&) = delete;
  ~toml_file() { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::filesystem::path path() const { return folder_ / "trainer.toml"; }

private:
  std::filesystem::path folder_;
};

/// A variable that is set as long as this lives.
class environment_variable {
public:
  environment_variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  environment_variable(const environment_variable&) = delete;
  environment_variable& operator=(const environment_variable&) = delete;
  ~environment_variable() { ::unsetenv(name_); }

private:
  const char* name_;
};

/// What the error says, without the folder of the file.
std::string failure(const weft::result<config>& loaded) {
  REQUIRE(loaded.has_error());
  CHECK(loaded.error() == errc::invalid_config);
  const std::string where = loaded.error().where();
  const auto file = where.find("trainer.toml");
  return file == std::string::npos ? where : where.substr(file);
}

std::string failure_of(std::string_view text) {
  return failure(config::from_file(toml_file{text}.path()));
}

weft::setting explained(const config& settings, std::string_view name) {
  const auto all = settings.explain();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.name == name; });
  REQUIRE(found != all.end());
  return *found;
}

} // namespace

TEST_CASE("a config of its own has the defaults") {
  const config defaults;
  CHECK(defaults.values().slice_size == 256_KiB);
  CHECK(defaults.peer_name().empty());
  CHECK(defaults.listen().empty());
  CHECK_FALSE(defaults.sink());
  CHECK(defaults.get("slice.size").value() == "256KiB");
  for (const auto& entry : defaults.explain()) {
    CAPTURE(entry.name);
    CHECK(entry.origin == "default");
    CHECK(entry.value == entry.default_value);
  }
}

TEST_CASE("a file sets values by table and by dotted key") {
  const toml_file file{R"(
listen = "127.0.0.1:7700"
peer.name = "trainer-0"
fence.timeout = "20ms"

[shard]
chunk = "2MiB"
threads = 8

[lane.standard]
weight = 32
)"};
  const auto loaded = config::from_file(file.path()).value();
  CHECK(loaded.listen() == "127.0.0.1:7700");
  CHECK(loaded.peer_name() == "trainer-0");
  CHECK(loaded.values().fence_timeout == 20ms);
  CHECK(loaded.values().shard_chunk == 2_MiB);
  CHECK(loaded.values().shard_threads == 8);
  CHECK(loaded.values().lane_standard_weight == 32);
  CHECK(loaded.values().slice_size == 256_KiB);
}

TEST_CASE("the command line wins over the environment, it over the file, it over the default") {
  const toml_file file{"[slice]\nsize = \"64KiB\"\n[shard]\nthreads = 3\n[redial]\nmin = \"5ms\"\n"};
  const environment_variable threads{"WEFT_SHARD_THREADS", "4"};
  const environment_variable redial{"WEFT_REDIAL_MIN", "6ms"};
  const auto loaded = config::load({.file = file.path(), .command_line = {{"redial.min", "7ms"}}}).value();

  const auto check = [&](std::string_view name, std::string_view value, std::string_view origin) {
    CAPTURE(name);
    CHECK(explained(loaded, name).value == value);
    const std::string got = explained(loaded, name).origin;
    CHECK(got.substr(0, got.find(' ')) == origin.substr(0, origin.find(' ')));
    CHECK(got.ends_with(origin.substr(origin.find(' ') + 1)));
  };
  check("shard.chunk", "1MiB", "default");
  check("slice.size", "64KiB", "file trainer.toml:2:1");
  check("shard.threads", "4", "environment WEFT_SHARD_THREADS");
  check("redial.min", "7ms", "command line");
}

TEST_CASE("explain tells range, unit and documentation") {
  const auto entry = explained(config{}, "slice.size");
  CHECK(entry.range == "64KiB..1MiB");
  CHECK(entry.unit == "bytes");
  CHECK_FALSE(entry.hot);
  CHECK_FALSE(entry.doc.empty());
  CHECK(explained(config{}, "lane.bulk.limit").hot);
}

TEST_CASE("errors in a file have its name, line and column") {
  CHECK(failure_of("[slice]\nsize = \"2MiB\"\n") ==
        "trainer.toml:2:1: slice.size: 2MiB is out of range (allowed: 64KiB..1MiB)");
  CHECK(failure_of("\n  fence.timeout = 50\n").starts_with("trainer.toml:2:9: fence.timeout: \"50\" is not a time"));
  CHECK(failure_of("shard.threads = 2.5\n") == "trainer.toml:1:7: shard.threads must be a text or a whole number");
  CHECK(failure_of("listen = [1]\n") == "trainer.toml:1:1: listen must be a text or a whole number");
  CHECK(failure_of("[slice]\nsize = \n").starts_with("trainer.toml:2:"));
}

TEST_CASE("an unknown key is an error that names the nearest known one") {
  CHECK(failure_of("[slice]\nsise = \"64KiB\"\n") ==
        "trainer.toml:2:1: no setting named \"slice.sise\"; did you mean \"slice.size\"?");
  CHECK(failure_of("banana = 1\n") == "trainer.toml:1:1: no setting named \"banana\"");
  CHECK(failure_of("slice = 1\n").starts_with("trainer.toml:1:1: no setting named \"slice\""));
}

TEST_CASE("a file that cannot be read is an error with its name") {
  CHECK(failure(config::from_file("/nowhere/trainer.toml")) ==
        "trainer.toml: cannot be read: No such file or directory");
  const auto folder = config::from_file(std::filesystem::temp_directory_path());
  CHECK(failure(folder).find("cannot be read: Is a directory") != std::string::npos);
  CHECK(failure(config::from_file("/dev/zero")) == "/dev/zero: is longer than 1 MiB");
}

TEST_CASE("an empty file changes nothing") {
  CHECK(config::from_file(toml_file{""}.path()).value().get("slice.size").value() == "256KiB");
}

TEST_CASE("a bad variable is an error, an unknown one a warning") {
  {
    const environment_variable bad{"WEFT_SLICE_SIZE", "huge"};
    CHECK(failure(config::load({})) ==
          "WEFT_SLICE_SIZE: slice.size: \"huge\" is not a number of bytes (allowed: 64KiB..1MiB)");
    CHECK(config::load({.environment = false}).has_value());
  }
  const environment_variable unknown{"WEFT_SLISE_SIZE", "64KiB"};
  const auto loaded = config::load({}).value();
  REQUIRE(loaded.warnings().size() == 1);
  CHECK(loaded.warnings().front() == "WEFT_SLISE_SIZE: no such setting; did you mean \"WEFT_SLICE_SIZE\"?");
}

TEST_CASE("values that contradict each other are an error once all sources are read") {
  const toml_file file{"redial.min = \"5s\"\n"};
  CHECK(failure(config::from_file(file.path())) == "redial.min (5s) must not exceed redial.max (1s)");
  CHECK(config::load({.file = file.path(), .command_line = {{"redial.max", "10s"}}}).has_value());
}

TEST_CASE("set checks the one value, validate the relations") {
  config settings;
  CHECK(settings.set("slice.size", "1MiB").has_value());
  CHECK(settings.set("transfer.window", "256KiB").has_value());
  CHECK(settings.validate().error() == errc::invalid_config);
  CHECK(settings.set("transfer.window", "1MiB").has_value());
  CHECK(settings.validate().has_value());
  CHECK(settings.set("transfer.widow", "1MiB").error().where() ==
        "no setting named \"transfer.widow\"; did you mean \"transfer.window\"?");
  CHECK(settings.get("nothing").error() == errc::invalid_config);
}

TEST_CASE("a peer name has no spaces and is not too long") {
  config settings;
  CHECK(settings.set("peer.name", "trainer-7").has_value());
  CHECK(settings.get("peer.name").value() == "trainer-7");
  CHECK(settings.set("peer.name", "two words").has_error());
  CHECK(settings.set("peer.name", "line\nbreak").has_error());
  CHECK(settings.set("peer.name", "next\xc2\x85line").has_error()); // peers would refuse it
  CHECK(settings.set("peer.name", std::string(256, 'x')).has_error());
  CHECK(settings.peer_name() == "trainer-7");
}

TEST_CASE("copies are independent and keep their sink") {
  int lines = 0;
  config first;
  first.set_sink([&](weft::log_level, std::string_view) { ++lines; });
  config second = first;
  CHECK(second.set("shard.threads", "9").has_value());
  CHECK(first.values().shard_threads == 2);
  second.sink()(weft::log_level::info, "text");
  CHECK(lines == 1);
  first = second;
  CHECK(first.values().shard_threads == 9);
  const config third = std::move(second);
  CHECK(third.values().shard_threads == 9);
}
