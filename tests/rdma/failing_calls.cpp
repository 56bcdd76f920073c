// Any call of the table can be made to fail, as the library has it fail.
#include "rdma/fake_network_parts.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

namespace weft::tests {
namespace {

using path::verbs::calls;

/// How a call says that it failed, beside errno.
enum class says { null, minus_one, code };

/// What the call was before.
template <auto member>
inline std::remove_reference_t<decltype(std::declval<calls&>().*member)> original = nullptr;

} // namespace

template <auto member, auto how, std::size_t number, class Result, class... Arguments>
void fake_network::make_failing(calls& made, Result (*calls::*)(Arguments...)) {
  original<member> = made.*member;
  made.*member = [](Arguments... given) -> Result {
    const int code = current_->failure_of(number);
    if (code == 0) return original<member>(given...);
    errno = code;
    if constexpr (how == says::null) {
      return nullptr;
    } else {
      return how == says::minus_one ? -1 : code;
    }
  };
}

// X(call, how it says that it failed)
#define WEFT_FAILING_CALLS(X)                                                                                          \
  X(create_event_channel, null)                                                                                        \
  X(create_id, minus_one)                                                                                              \
  X(bind_addr, minus_one)                                                                                              \
  X(listen, minus_one)                                                                                                 \
  X(set_option, minus_one)                                                                                             \
  X(resolve_addr, minus_one)                                                                                           \
  X(resolve_route, minus_one)                                                                                          \
  X(connect, minus_one)                                                                                                \
  X(accept, minus_one)                                                                                                 \
  X(reject, minus_one)                                                                                                 \
  X(establish, minus_one)                                                                                              \
  X(disconnect, minus_one)                                                                                             \
  X(init_qp_attr, minus_one)                                                                                           \
  X(query_device, code)                                                                                                \
  X(query_port, code)                                                                                                  \
  X(query_gid_table, minus_one)                                                                                        \
  X(alloc_pd, null)                                                                                                    \
  X(reg_mr, null)                                                                                                      \
  X(create_comp_channel, null)                                                                                         \
  X(create_cq, null)                                                                                                   \
  X(resize_cq, code)                                                                                                   \
  X(req_notify_cq, code)                                                                                               \
  X(poll_cq, minus_one)                                                                                                \
  X(create_srq, null)                                                                                                  \
  X(post_srq_recv, code)                                                                                               \
  X(create_qp, null)                                                                                                   \
  X(modify_qp, code)                                                                                                   \
  X(post_send, code)

const std::vector<std::string>& fake_network::calls_that_fail() {
#define WEFT_NAME(call, how) #call,
  static const std::vector<std::string> names = {WEFT_FAILING_CALLS(WEFT_NAME)};
#undef WEFT_NAME
  return names;
}

void fake_network::make_all_failing(calls& made) {
  enum : std::size_t {
#define WEFT_NUMBER(call, how) number_of_##call,
    WEFT_FAILING_CALLS(WEFT_NUMBER)
#undef WEFT_NUMBER
  };
#define WEFT_MAKE(call, how) make_failing<&calls::call, says::how, number_of_##call>(made, &calls::call);
  WEFT_FAILING_CALLS(WEFT_MAKE)
#undef WEFT_MAKE
}

void fake_network::fail_call(std::string_view name, int code, std::size_t times) {
  const auto& names = calls_that_fail();
  const std::lock_guard lock(lock_);
  call_code_ = code;
  call_times_ = times;
  calls_failed_ = 0;
  cannot_poll_ = name == "poll_cq";
  failing_call_ = static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
}

std::size_t fake_network::calls_failed() const {
  const std::lock_guard lock(lock_);
  return calls_failed_;
}

/// What this call fails with now; 0: it does not.
int fake_network::failure_of(std::size_t call) {
  if (failing_call_.load(std::memory_order_relaxed) != call) return 0;
  const std::lock_guard lock(lock_);
  if (call_times_ == 0) return 0;
  --call_times_;
  ++calls_failed_;
  return call_code_;
}

} // namespace weft::tests
