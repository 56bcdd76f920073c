// The one table of every tunable: the typed struct, its ranges, --help, the documentation and `weft config explain` all
// come from it. A plain value: each owner has a copy, made from a config.
#pragma once

#include <weft/config.hpp>
#include <weft/error.hpp>
#include <weft/log.hpp>
#include <weft/units.hpp>

#include "base/cpu_list.hpp"
#include "base/rail_list.hpp"
#include "base/rail_rate.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

using namespace std::chrono_literals;

/// How a TCP connection finds its rate. `system` leaves it to the host's setting.
enum class congestion_control : std::uint8_t { system, reno, cubic, bbr, dctcp };

[[nodiscard]] constexpr std::string_view name(congestion_control value) noexcept {
  constexpr std::string_view names[] = {"system", "reno", "cubic", "bbr", "dctcp"};
  return names[static_cast<std::size_t>(value)];
}

/// How a link's data may travel.
enum class transport_choice : std::uint8_t { any, tcp, verbs };

[[nodiscard]] constexpr std::string_view name(transport_choice value) noexcept {
  constexpr std::string_view names[] = {"any", "tcp", "verbs"};
  return names[static_cast<std::size_t>(value)];
}

/// Whose fabrics on this host share its rails knowingly.
enum class host_share : std::uint8_t { off, user, group };

[[nodiscard]] constexpr std::string_view name(host_share value) noexcept {
  constexpr std::string_view names[] = {"off", "user", "group"};
  return names[static_cast<std::size_t>(value)];
}

/// 10 Tb/s: no rail is faster.
inline constexpr bytes_per_second fastest_rail(1'250'000'000'000);
inline constexpr rail_rate no_rate{};
inline constexpr rail_rate highest_rate(fastest_rail);

// X(member, name, type, default, minimum, maximum, unit, hot|cold, documentation). The member is the name with
// underscores for dots; so is the environment variable WEFT_NAME, in capitals. Choices have the first and last
// enumerator as their range. `hot`: a running fabric can be given another value; `cold`: only a new one.
#define WEFT_TUNABLES(X)                                                                                               \
  X(slice_size, "slice.size", byte_count, 256_KiB, 64_KiB, 1_MiB, "bytes", cold,                                       \
    "largest piece that is checked, acknowledged and resent as one; a multiple of 64KiB")                              \
  X(transfer_window, "transfer.window", byte_count, 8_MiB, 256_KiB, 1_GiB, "bytes", cold,                              \
    "what a sender may have unverified, per transfer")                                                                 \
  X(message_window, "message.window", std::uint32_t, 1024, 16, 65536, "messages", cold,                                \
    "unacknowledged messages, per link for realtime and for the other lanes together, each")                           \
  X(request_max, "request.max", byte_count, 64_KiB, 4_KiB, 64_KiB, "bytes", cold, "largest payload of a request")      \
  X(fence_timeout, "fence.timeout", std::chrono::nanoseconds, 50ms, 1ms, 10s, "time", cold,                            \
    "how long a cooperative fence may take before the channel is closed")                                              \
  X(deadline_default, "deadline.default", std::chrono::nanoseconds, 30s, 1ms, 1h, "time", cold,                        \
    "deadline of operations that are given none")                                                                      \
  X(stall_default, "stall.default", std::chrono::nanoseconds, 10s, 10ms, 1h, "time", cold,                             \
    "how long a transfer may go without a verified byte")                                                              \
  X(session_grace, "session.grace", std::chrono::nanoseconds, 5s, 100ms, 10min, "time", cold,                          \
    "how long a link outlives the loss of its session")                                                                \
  X(connect_timeout, "connect.timeout", std::chrono::nanoseconds, 5s, 10ms, 5min, "time", cold,                        \
    "how long one attempt to connect may take")                                                                        \
  X(handshake_timeout, "handshake.timeout", std::chrono::nanoseconds, 5s, 10ms, 1min, "time", cold,                    \
    "how long a new connection may take to say what it is")                                                            \
  X(handshakes_max, "handshakes.max", std::uint32_t, 256, 1, 65536, "connections", cold,                               \
    "accepted connections that have not finished their handshake")                                                     \
  X(probe_timeout, "probe.timeout", std::chrono::nanoseconds, 1s, 10ms, 1min, "time", cold,                            \
    "how long a peer may take to show that it lives when another one comes with its name")                             \
  X(redial_min, "redial.min", std::chrono::nanoseconds, 10ms, 1ms, 10s, "time", cold,                                  \
    "pause before the first redial; it doubles with each failure")                                                     \
  X(redial_max, "redial.max", std::chrono::nanoseconds, 1s, 10ms, 1min, "time", cold, "longest pause between redials") \
  X(tcp_user_timeout, "tcp.user_timeout", std::chrono::nanoseconds, 10s, 100ms, 10min, "time", cold,                   \
    "how long sent bytes may go without the kernel's acknowledgement (TCP_USER_TIMEOUT)")                              \
  X(tcp_keepalive, "tcp.keepalive", std::chrono::nanoseconds, 10s, 1s, 2h, "time", cold,                               \
    "idle time after which a connection is probed")                                                                    \
  X(tcp_send_buffer, "tcp.send_buffer", byte_count, 0_B, 0_B, 64_MiB, "bytes", cold,                                   \
    "SO_SNDBUF; 0 leaves it to the kernel")                                                                            \
  X(tcp_receive_buffer, "tcp.receive_buffer", byte_count, 0_B, 0_B, 64_MiB, "bytes", cold,                             \
    "SO_RCVBUF; 0 leaves it to the kernel")                                                                            \
  X(tcp_congestion, "tcp.congestion", congestion_control, congestion_control::system, congestion_control::system,      \
    congestion_control::dctcp, "", cold, "congestion control of connections; system: the host's")                      \
  X(transport, "transport", transport_choice, transport_choice::any, transport_choice::any, transport_choice::verbs,   \
    "", cold, "how data may travel: any, verbs before tcp; tcp; verbs, or the link fails")                             \
  X(verbs_rails, "verbs.rails", rail_list, rail_list{}, rail_list{}, last_rail_list, "", cold,                         \
    "RDMA devices that are used: any, or a list of DEVICE, DEVICE:PORT and DEVICE:PORT:GID_INDEX, as "                 \
    "mlx5_0,mlx5_1:1:3; ^ before it: all others; a GID that is named is dialled from, and no other")                   \
  X(verbs_send_depth, "verbs.send_depth", std::uint32_t, 256, 32, 16384, "requests", cold,                             \
    "requests that a queue pair holds")                                                                                \
  X(verbs_receive_slots, "verbs.receive_slots", std::uint32_t, 2048, 64, 32768, "slots", cold,                         \
    "messages of 4KiB that may arrive at once, per rail, thread and lane, over all peers")                             \
  X(verbs_send_slots, "verbs.send_slots", std::uint32_t, 256, 16, 32768, "slots", cold,                                \
    "messages of 4KiB that may leave at once, per rail, thread and lane, over all peers")                              \
  X(verbs_mtu, "verbs.mtu", byte_count, 4_KiB, 256_B, 4_KiB, "bytes", cold, "largest path MTU that is used")           \
  X(verbs_ack_timeout, "verbs.ack_timeout", std::chrono::nanoseconds, 67ms, 1ms, 10s, "time", cold,                    \
    "how long a packet waits for its acknowledgement before it is sent again; rounded up to 4.096us * 2^n")            \
  X(verbs_retries, "verbs.retries", std::uint32_t, 6, 1, 7, "times", cold,                                             \
    "how often a packet is sent again before the path counts as failed; 7 is for ever on soft-RoCE's rxe")             \
  X(verbs_rnr_retries, "verbs.rnr_retries", std::uint32_t, 6, 0, 6, "times", cold,                                     \
    "how often a receiver without a posted buffer is asked again")                                                     \
  X(verbs_rnr_timer, "verbs.rnr_timer", std::uint32_t, 24, 1, 31, "code", cold,                                        \
    "pause of such a receiver, as InfiniBand codes it: 12 is 0.64ms, 24 is 41ms, 31 is 491ms; with all retries long "  \
    "enough for a receiver to take back what a peer without credit used")                                              \
  X(verbs_fence_limit, "verbs.fence_limit", std::chrono::nanoseconds, 1s, 10ms, 1min, "time", cold,                    \
    "how long a device may take to flush a queue pair before that is destroyed anyway")                                \
  X(verbs_silence_limit, "verbs.silence_limit", std::chrono::nanoseconds, 5s, 10ms, 10min, "time", cold,               \
    "how long a device may tell nothing of what a queue pair has posted before that counts as lost; longer than "      \
    "its own timeouts and retries last")                                                                               \
  X(verbs_connects_max, "verbs.connects_max", std::uint32_t, 16, 1, 1024, "attempts", cold,                            \
    "queue pairs that are being connected at once")                                                                    \
  X(operations_max, "operations.max", std::uint32_t, 4096, 1, 1048576, "operations", cold,                             \
    "outstanding operations, per link for realtime and for the other lanes together, each")                            \
  X(operations_bytes, "operations.bytes", byte_count, 1_GiB, 1_MiB, 1_TiB, "bytes", cold,                              \
    "bytes of outstanding operations, per link for realtime and for the other lanes together, each")                   \
  X(pool_bytes, "pool.bytes", byte_count, 64_MiB, 4_MiB, 64_GiB, "bytes", cold,                                        \
    "registered buffers of a shard server for reads, and as much again for puts")                                      \
  X(shard_chunk, "shard.chunk", byte_count, 1_MiB, 64_KiB, 16_MiB, "bytes", cold,                                      \
    "unit of work of a shard fetch or put; a multiple of 64KiB")                                                       \
  X(shard_window, "shard.window", byte_count, 16_MiB, 1_MiB, 16_GiB, "bytes", cold,                                    \
    "what one fetch or put may have in flight")                                                                        \
  X(shard_stall, "shard.stall", std::chrono::nanoseconds, 1s, 10ms, 1min, "time", cold,                                \
    "a chunk without progress for so long goes to another replica")                                                    \
  X(shard_low_space, "shard.low_space", byte_count, 256_MiB, 0_B, 1_TiB, "bytes", cold,                                \
    "free space that puts must leave in a store's file system; 0: none")                                               \
  X(shard_threads, "shard.threads", std::uint32_t, 2, 1, 256, "threads", cold, "threads that read and write a store")  \
  X(rail_rate, "rail.rate", bytes_per_second, bytes_per_second(0), bytes_per_second(0), fastest_rail, "bytes/s", hot,  \
    "what each rail carries, for what is set in percent of it; 0: as its network interface says")                      \
  X(lane_realtime_limit, "lane.realtime.limit", weft::rail_rate, no_rate, no_rate, highest_rate, "bytes/s or %", hot,  \
    "what may be asked for as realtime, over all rails, and what of it is sent on each; operations that are begun "    \
    "beyond it go over the standard lane; 0: none, else at least 1MB/s")                                               \
  X(lane_standard_weight, "lane.standard.weight", std::uint32_t, 8, 1, 1000, "shares", hot,                            \
    "share of a busy rail that the standard lane gets")                                                                \
  X(lane_bulk_weight, "lane.bulk.weight", std::uint32_t, 4, 1, 1000, "shares", hot,                                    \
    "share of a busy rail that the bulk lane gets")                                                                    \
  X(lane_background_weight, "lane.background.weight", std::uint32_t, 1, 1, 1000, "shares", hot,                        \
    "share of a busy rail that the background lane gets")                                                              \
  X(lane_standard_reservation, "lane.standard.reservation", weft::rail_rate, no_rate, no_rate, highest_rate,           \
    "bytes/s or %", hot,                                                                                               \
    "what the standard lane's transfers get of each rail before the lanes share by weight, over all "                  \
    "threads.data; those of all lanes must be less than the network carries, or some get what is left; 0: none")       \
  X(lane_standard_limit, "lane.standard.limit", weft::rail_rate, no_rate, no_rate, highest_rate, "bytes/s or %", hot,  \
    "what the standard lane's transfers do not exceed on each rail, over all threads.data; 0: none, else at "          \
    "least 1MB/s; each of those at once must still move a slice within stall.default and shard.stall")                 \
  X(lane_bulk_reservation, "lane.bulk.reservation", weft::rail_rate, no_rate, no_rate, highest_rate, "bytes/s or %",   \
    hot,                                                                                                               \
    "what the bulk lane's transfers get of each rail before the lanes share by weight, over all "                      \
    "threads.data; those of all lanes must be less than the network carries, or some get what is left; 0: none")       \
  X(lane_bulk_limit, "lane.bulk.limit", weft::rail_rate, no_rate, no_rate, highest_rate, "bytes/s or %", hot,          \
    "what the bulk lane's transfers do not exceed on each rail, over all threads.data; 0: none, else at "              \
    "least 1MB/s; each of those at once must still move a slice within stall.default and shard.stall")                 \
  X(lane_background_reservation, "lane.background.reservation", weft::rail_rate, no_rate, no_rate, highest_rate,       \
    "bytes/s or %", hot,                                                                                               \
    "what the background lane's transfers get of each rail before the lanes share by weight, over all "                \
    "threads.data; those of all lanes must be less than the network carries, or some get what is left; 0: none")       \
  X(lane_background_limit, "lane.background.limit", weft::rail_rate, no_rate, no_rate, highest_rate, "bytes/s or %",   \
    hot,                                                                                                               \
    "what the background lane's transfers do not exceed on each rail, over all threads.data; 0: none, else at "        \
    "least 1MB/s; each of those at once must still move a slice within stall.default and shard.stall")                 \
  X(lane_budget, "lane.budget", byte_count, 0_B, 0_B, 1_TiB, "bytes", cold,                                            \
    "what the transfers of a data thread may have under way at once on a rail, over all peers and lanes, whatever "    \
    "receivers allow; 0: it learns")                                                                                   \
  X(lane_bulk_channels, "lane.bulk.channels", std::uint32_t, 1, 1, 8, "channels", cold,                                \
    "queue pairs or connections that the bulk lane of a link is spread over, where one does not fill the network")     \
  X(lane_realtime_dscp, "lane.realtime.dscp", std::uint32_t, 46, 0, 63, "", cold,                                      \
    "mark of the packets of the realtime lane, at both ends")                                                          \
  X(lane_standard_dscp, "lane.standard.dscp", std::uint32_t, 0, 0, 63, "", cold, "mark of the standard lane")          \
  X(lane_bulk_dscp, "lane.bulk.dscp", std::uint32_t, 8, 0, 63, "", cold, "mark of the bulk lane")                      \
  X(lane_background_dscp, "lane.background.dscp", std::uint32_t, 1, 0, 63, "", cold, "mark of the background lane")    \
  X(lane_realtime_priority, "lane.realtime.priority", std::uint32_t, 6, 0, 6, "", cold,                                \
    "SO_PRIORITY of the realtime lane's connections over TCP, at both ends")                                           \
  X(lane_standard_priority, "lane.standard.priority", std::uint32_t, 0, 0, 6, "", cold,                                \
    "SO_PRIORITY of the standard lane's connections")                                                                  \
  X(lane_bulk_priority, "lane.bulk.priority", std::uint32_t, 2, 0, 6, "", cold,                                        \
    "SO_PRIORITY of the bulk lane's connections")                                                                      \
  X(lane_background_priority, "lane.background.priority", std::uint32_t, 1, 0, 6, "", cold,                            \
    "SO_PRIORITY of the background lane's connections")                                                                \
  X(host_share, "host.share", weft::host_share, weft::host_share::user, weft::host_share::off,                         \
    weft::host_share::group, "", cold,                                                                                 \
    "whose fabrics on this host, in one network namespace, make room for each other's realtime traffic: those of "     \
    "the same user, of the same group, or none, off")                                                                  \
  X(verify, "verify", verify_mode, verify_mode::slice, verify_mode::slice, verify_mode::wire, "", cold,                \
    "what transfers are checked by: slice, a CRC32C each, or wire, the transport's own checks")                        \
  X(poll, "poll", poll_mode, poll_mode::adaptive, poll_mode::event, poll_mode::spin, "", cold,                         \
    "how threads wait for the network: event asleep, adaptive awake for poll.spin, spin awake while linked")           \
  X(poll_spin, "poll.spin", std::chrono::nanoseconds, 50us, 1us, 1s, "time", cold,                                     \
    "how long adaptive polling stays awake after the last event")                                                      \
  X(threads_data, "threads.data", std::uint32_t, 1, 1, 64, "threads", cold,                                            \
    "threads that carry the standard, bulk and background lanes; each link has one of them")                           \
  X(threads_data_cpus, "threads.data.cpus", cpu_list, cpu_list{}, cpu_list{}, every_cpu, "", cold,                     \
    "processors that the data threads may run on, as 0-3,8; empty: any")                                               \
  X(threads_data_priority, "threads.data.priority", std::uint32_t, 0, 0, 99, "", cold,                                 \
    "SCHED_FIFO priority of the data threads, which spin for 50us at most then; 0: an ordinary thread")                \
  X(threads_data_nice, "threads.data.nice", std::int32_t, 0, -20, 19, "", cold,                                        \
    "nice value of the data threads, from -20, the most favoured, to 19; 0: that of the process")                      \
  X(threads_realtime_cpus, "threads.realtime.cpus", cpu_list, cpu_list{}, cpu_list{}, every_cpu, "", cold,             \
    "processors that the realtime thread may run on, as 0-3,8; empty: any")                                            \
  X(threads_realtime_priority, "threads.realtime.priority", std::uint32_t, 0, 0, 99, "", cold,                         \
    "SCHED_FIFO priority of the realtime thread, which spins for 50us at most then; 0: an ordinary thread")            \
  X(threads_realtime_nice, "threads.realtime.nice", std::int32_t, 0, -20, 19, "", cold,                                \
    "nice value of the realtime thread, from -20, the most favoured, to 19; 0: that of the process")                   \
  X(log_level, "log.level", weft::log_level, weft::log_level::info, weft::log_level::trace, weft::log_level::off, "",  \
    hot, "least level of message that reaches the log sink")

struct tunables {
#define WEFT_MEMBER(member, name, type, initial, least, most, unit, temperature, doc) type member{initial};
  WEFT_TUNABLES(WEFT_MEMBER)
#undef WEFT_MEMBER
};

/// One row of the table, in text.
struct tunable_row {
  std::string_view name;
  std::string default_value;
  std::string range; ///< "64KiB..1MiB", "slice|wire"
  std::string_view unit;
  bool hot;
  std::string_view doc;
};

/// All rows, in the table's order.
[[nodiscard]] const std::vector<tunable_row>& tunable_rows();

/// Sets one value from text. Errors: invalid_config, for an unknown name or a value that cannot be read or is out of
/// range; `values` is unchanged then.
result<void> set_tunable(tunables& values, std::string_view name, std::string_view text);

/// The value in the form that set_tunable reads. Errors: invalid_config for an unknown name.
[[nodiscard]] result<std::string> format_tunable(const tunables& values, std::string_view name);

/// Whether the values fit together. Errors: invalid_config, naming the two that do not.
[[nodiscard]] result<void> validate(const tunables& values);
/// Whether they fit a rail of this name, which carries `carries` as far as it says, 0 if it does not. Errors:
/// invalid_config, for percent of what is not known, and reservations beyond what it carries.
[[nodiscard]] result<void> validate_on(const tunables& values, std::string_view rail, bytes_per_second carries);
/// How long to wait before the next attempt, after so many that failed since the last one that did not.
[[nodiscard]] inline std::chrono::nanoseconds redial_pause(const tunables& values, std::uint32_t failures) noexcept {
  return std::min(values.redial_max, values.redial_min * (std::int64_t{1} << std::min(failures, 20U)));
}
/// What a rail that says so of itself, 0 if it does not, carries by these settings.
[[nodiscard]] constexpr bytes_per_second carried(const tunables& values, bytes_per_second says) noexcept {
  return values.rail_rate.value() != 0 ? values.rail_rate : says;
}

} // namespace weft
