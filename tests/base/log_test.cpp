// What reaches the sink, and what may go wrong there.
#include "base/log.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

using weft::log_level;
using weft::logger;

TEST_CASE("messages from the threshold on reach the sink, formatted") {
  std::vector<std::string> lines;
  logger log{[&](log_level level, std::string_view text) {
               lines.push_back(std::string{name(level)} + ": " + std::string{text});
             },
             log_level::info};
  log.trace("not {}", 1);
  log.debug("not {}", 2);
  log.info("peer {} of {}", "a", 3);
  log.warning("slow");
  log.error("{:.1f}", 0.25);
  CHECK(lines == std::vector<std::string>{"info: peer a of 3", "warning: slow", "error: 0.2"});
}

TEST_CASE("the threshold can change") {
  int count = 0;
  logger log{[&](log_level, std::string_view) { ++count; }, log_level::off};
  log.error("silent");
  CHECK(count == 0);
  log.set_threshold(log_level::trace);
  log.trace("heard");
  CHECK(count == 1);
}

TEST_CASE("a logger without a sink is silent") {
  const logger log;
  CHECK_FALSE(log.enabled(log_level::error));
  log.error("nobody hears {}", "this");
}

TEST_CASE("what a sink throws is dropped") {
  const logger log{[](log_level, std::string_view) { throw std::runtime_error{"full"}; }, log_level::trace};
  CHECK_NOTHROW(log.info("message"));
}

TEST_CASE("levels have names, there and back") {
  for (const auto level :
       {log_level::trace, log_level::debug, log_level::info, log_level::warning, log_level::error, log_level::off}) {
    CHECK(weft::log_level_from_name(name(level)) == level);
  }
  CHECK_FALSE(weft::log_level_from_name("loud"));
}
