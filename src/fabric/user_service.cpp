#include "fabric/user_service.hpp"

#include <boost/asio/post.hpp>

namespace weft::fabrics {

void user_service::on_request(request_handler handler, boost::asio::any_io_executor executor) {
  using entry = entry<request_handler>;
  request_.store(handler ? std::make_shared<const entry>(entry{std::move(handler), std::move(executor)}) : nullptr);
}

void user_service::on_notification(notification_handler handler, boost::asio::any_io_executor executor) {
  using entry = entry<notification_handler>;
  notification_.store(handler ? std::make_shared<const entry>(entry{std::move(handler), std::move(executor)})
                              : nullptr);
}

void user_service::arrived(const call& begun, std::span<const std::byte> payload) {
  const auto entry = request_.load();
  if (!entry || begun.terms().kind != wire::operation_kind::request) {
    return begun.fail(error(errc::no_handler, "this process answers no requests"));
  }
  incoming_request request(std::make_unique<reply_slot>(begun, payload));
  if (!entry->executor) return entry->handler(std::move(request));
  boost::asio::post(entry->executor,
                    [entry, request = std::move(request)]() mutable { entry->handler(std::move(request)); });
}

void user_service::notify(notification words) {
  const auto entry = notification_.load();
  if (!entry) return;
  if (!entry->executor) return entry->handler(std::move(words));
  boost::asio::post(entry->executor, [entry, words = std::move(words)]() mutable { entry->handler(std::move(words)); });
}

} // namespace weft::fabrics

namespace weft {

incoming_request::incoming_request(std::unique_ptr<fabrics::reply_slot> slot) noexcept : slot_(std::move(slot)) {}
incoming_request::incoming_request(incoming_request&&) noexcept = default;

incoming_request& incoming_request::operator=(incoming_request&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

incoming_request::~incoming_request() {
  if (slot_ && !slot_->answered) fail(errc::handler_failed, "the handler gave no answer");
}

std::span<const std::byte> incoming_request::payload() const noexcept {
  return slot_->payload;
}

lane incoming_request::lane() const noexcept {
  return slot_->from.terms().carries;
}

const std::string& incoming_request::peer() const noexcept {
  return slot_->from.peer();
}

void incoming_request::reply(std::span<const std::byte> payload) {
  if (slot_->from.forked() || std::exchange(slot_->answered, true)) return;
  if (payload.size() > wire::smallest_slice) {
    return slot_->from.fail(error(errc::too_large, "the handler's answer is over 64 KiB"));
  }
  slot_->from.succeed(payload);
}

void incoming_request::fail(errc code, std::string_view where) {
  if (slot_->from.forked() || std::exchange(slot_->answered, true)) return;
  slot_->from.fail(error(code, std::string(where)));
}

} // namespace weft
