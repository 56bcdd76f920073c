// The settings of one fabric: defaults, over them a TOML file, over it the environment, over it explicit values.
// A value type, owned by the caller and used on one thread; a fabric copies what it needs.
#pragma once

#include <weft/error.hpp>
#include <weft/export.hpp>
#include <weft/log.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft {

struct tunables;

/// How the bytes of a transfer are checked. `slice`: the receiver checks the CRC32C of every slice before it counts.
/// `wire`: only what the transport itself checks; results then say so.
enum class verify_mode : std::uint8_t { slice, wire };

[[nodiscard]] constexpr std::string_view name(verify_mode value) noexcept {
  return value == verify_mode::slice ? "slice" : "wire";
}

[[nodiscard]] constexpr std::optional<verify_mode> verify_mode_from_name(std::string_view text) noexcept {
  if (text == "slice") return verify_mode::slice;
  if (text == "wire") return verify_mode::wire;
  return std::nullopt;
}

/// How a fabric's threads wait for the network. `event`: asleep. `adaptive`: awake for `poll.spin` after the last
/// event, then asleep. `spin`: awake as long as one of the thread's channels is open, for a core each.
enum class poll_mode : std::uint8_t { event, adaptive, spin };

[[nodiscard]] constexpr std::string_view name(poll_mode value) noexcept {
  constexpr std::string_view names[] = {"event", "adaptive", "spin"};
  return names[static_cast<std::size_t>(value)];
}

[[nodiscard]] constexpr std::optional<poll_mode> poll_mode_from_name(std::string_view text) noexcept {
  for (const auto mode : {poll_mode::event, poll_mode::adaptive, poll_mode::spin}) {
    if (name(mode) == text) return mode;
  }
  return std::nullopt;
}

/// What load() reads, from the weakest to the strongest.
struct config_sources {
  /// A TOML file with the settings' dotted names as keys: `slice.size = "64KiB"`, or `size` under `[slice]`.
  std::optional<std::filesystem::path> file = std::nullopt;
  /// Whether to read variables such as WEFT_SLICE_SIZE from the process's environment.
  bool environment = true;
  /// Name and value of settings given on the command line.
  std::vector<std::pair<std::string, std::string>> command_line = {};
};

/// One setting as explain() tells it; all texts are as a file would have them.
struct setting {
  std::string name;
  std::string value;
  std::string origin; ///< "default", "file PATH:LINE:COLUMN", "environment VARIABLE" or "command line"
  std::string default_value;
  std::string range; ///< "64KiB..1MiB", "slice|wire"; empty for free text
  std::string unit;  ///< what is counted: "bytes", "time", "operations"; empty where that says nothing
  bool hot = false;  ///< whether a running fabric can be given another value
  std::string doc;
};

/// All settings of a fabric with their origins.
class WEFT_API config {
public:
  /// The defaults alone; reads nothing.
  config();
  config(const config& other);
  config& operator=(const config& other);
  config(config&& other) noexcept;
  config& operator=(config&& other) noexcept;
  ~config();

  /// The file, then the environment. Errors: invalid_config, naming the file with line and column, or the variable.
  [[nodiscard]] static result<config> from_file(const std::filesystem::path& path);
  /// The sources in their order, then validate(). Errors: invalid_config.
  [[nodiscard]] static result<config> load(const config_sources& sources);

  /// Sets one value, over all other sources. Errors: invalid_config for an unknown name (with the nearest known one) or
  /// a value that cannot be read or is out of range. Relations between settings are validate()'s.
  result<void> set(std::string_view name, std::string_view text);
  /// The value as text. Errors: invalid_config for an unknown name.
  [[nodiscard]] result<std::string> get(std::string_view name) const;
  /// Whether the values fit together. Errors: invalid_config, naming those that do not.
  [[nodiscard]] result<void> validate() const;

  /// Every setting, in the order of the documentation.
  [[nodiscard]] std::vector<setting> explain() const;
  /// What was odd but harmless: unknown variables of the environment that begin with WEFT_.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept;

  /// The name that peers know this process by (`peer.name`); empty: host:pid:random is made up.
  [[nodiscard]] const std::string& peer_name() const noexcept;
  /// HOST:PORT to accept links at (`listen`); empty: this process only connects.
  [[nodiscard]] const std::string& listen() const noexcept;

  void set_sink(log_sink sink);
  [[nodiscard]] const log_sink& sink() const noexcept;

  /// The typed values, for the library itself: the struct is not part of the public headers.
  [[nodiscard]] const tunables& values() const noexcept;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace weft
