// The library's own side of logging: a sink with a threshold. One logger belongs to each fabric, which hands out
// references; any thread may log and change the level.
#pragma once

#include <weft/log.hpp>

#include <fmt/format.h>

#include <atomic>
#include <utility>

namespace weft {

class logger {
public:
  /// A logger without a sink says nothing.
  logger() = default;
  logger(log_sink sink, log_level threshold) : sink_(std::move(sink)), threshold_(threshold) {}

  [[nodiscard]] bool enabled(log_level level) const noexcept {
    return sink_ && level >= threshold_.load(std::memory_order_relaxed);
  }
  void set_threshold(log_level threshold) noexcept { threshold_.store(threshold, std::memory_order_relaxed); }

  template <class... Arguments>
  void trace(fmt::format_string<Arguments...> text, Arguments&&... arguments) const noexcept {
    if (enabled(log_level::trace)) write(log_level::trace, text, fmt::make_format_args(arguments...));
  }
  template <class... Arguments>
  void debug(fmt::format_string<Arguments...> text, Arguments&&... arguments) const noexcept {
    if (enabled(log_level::debug)) write(log_level::debug, text, fmt::make_format_args(arguments...));
  }
  template <class... Arguments>
  void info(fmt::format_string<Arguments...> text, Arguments&&... arguments) const noexcept {
    if (enabled(log_level::info)) write(log_level::info, text, fmt::make_format_args(arguments...));
  }
  template <class... Arguments>
  void warning(fmt::format_string<Arguments...> text, Arguments&&... arguments) const noexcept {
    if (enabled(log_level::warning)) write(log_level::warning, text, fmt::make_format_args(arguments...));
  }
  template <class... Arguments>
  void error(fmt::format_string<Arguments...> text, Arguments&&... arguments) const noexcept {
    if (enabled(log_level::error)) write(log_level::error, text, fmt::make_format_args(arguments...));
  }

private:
  void write(log_level level, fmt::string_view text, fmt::format_args arguments) const noexcept;

  log_sink sink_;
  std::atomic<log_level> threshold_ = log_level::off;
};

} // namespace weft
