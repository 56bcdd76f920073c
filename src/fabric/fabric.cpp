#include "weft/fabric.hpp"

#include "fabric/fabric_core.hpp"
#include "fabric/forked.hpp"
#include "fabric/submit.hpp"

namespace weft {
namespace {

using namespace fabrics;

} // namespace

result<fabric> fabric::open(const config& settings) {
  auto core = fabric_core::start(settings);
  if (!core) return core.error();
  return fabric(std::move(*core));
}

fabric::fabric(const config& settings) : fabric(open(settings).value()) {}
fabric::fabric(std::shared_ptr<fabric_core> core) noexcept : core_(std::move(core)) {}
fabric::fabric(fabric&&) noexcept = default;

fabric& fabric::operator=(fabric&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

fabric::~fabric() {
  if (core_ && !core_->forked()) core_->shut_down();
}

const std::string& fabric::name() const noexcept {
  return core_->name();
}

const std::string& fabric::address() const noexcept {
  return core_->address();
}

result<region> fabric::register_memory(std::span<std::byte> bytes) {
  if (core_->forked()) return error(errc::forked);
  auto registered = core_->register_memory(bytes);
  if (!registered) return registered.error();
  return region(std::move(*registered));
}

result<region> fabric::allocate(byte_count size) {
  if (core_->forked()) return error(errc::forked);
  auto registered = core_->allocate(size.value());
  if (!registered) return registered.error();
  return region(std::move(*registered));
}

result<void> fabric::publish(region_view part, std::string_view name, rights allowed) {
  if (core_->forked()) return error(errc::forked);
  if (auto unknown = core_->check_memory(part); unknown.code() != errc{}) return unknown;
  return core_->published().add(std::move(part), name, allowed);
}

void fabric::on_request(request_handler handler, boost::asio::any_io_executor executor) {
  if (core_->forked()) return; // there is nothing here to run it
  core_->users().on_request(std::move(handler), std::move(executor));
}

void fabric::on_notification(notification_handler handler, boost::asio::any_io_executor executor) {
  if (core_->forked()) return; // there is nothing here to run it
  core_->users().on_notification(std::move(handler), std::move(executor));
}

boost::asio::any_io_executor fabric::executor(lane of) const {
  if (core_->forked()) return boost::asio::system_executor();
  return core_->worker_of(of).executor();
}

metrics fabric::snapshot() const {
  return core_->forked() ? metrics{} : core_->snapshot();
}

result<void> fabric::set(const std::vector<std::pair<std::string, std::string>>& values) {
  if (core_->forked()) return error(errc::forked);
  return core_->set(values);
}

result<std::string> fabric::get(std::string_view name) const {
  if (core_->forked()) return error(errc::forked);
  return core_->get(name);
}

void fabric::start_connect(const std::shared_ptr<fabric_core>& core, std::string address, connect_options options,
                           handler_of<link> handler) {
  if (core->forked()) return answer_forked(std::move(handler));
  auto done = std::make_shared<pending<link>>(std::move(handler), core->data());
  const auto give_up = std::make_shared<std::function<void()>>();
  // Before it can end: with its handler the slot may go.
  if (auto slot = done->slot(); slot.is_connected()) {
    slot.assign([give_up](boost::asio::cancellation_type) { (*give_up)(); });
  }
  *give_up = core->connect(std::move(address), options.deadline.value_or(core->limits().connect_timeout),
                           [done](const error& failure, std::shared_ptr<link_core> linked) {
                             if (failure.code() != errc{}) return (*done)(failure.code(), link());
                             (*done)({}, link(std::move(linked)));
                           });
}

void fabric::start_revoke(const std::shared_ptr<fabric_core>& core, std::string name, void_handler handler) {
  if (core->forked()) return answer_forked(std::move(handler));
  auto done = std::make_shared<pending<>>(std::move(handler), core->data());
  // The last user's end may lie inside this very call.
  const auto begun = core->published().revoke(name, [done] { done->later({}); });
  if (!begun) done->later(begun.error().code());
}

void fabric::start_close(const std::shared_ptr<fabric_core>& core, std::chrono::nanoseconds patience,
                         void_handler handler) {
  if (core->forked()) return answer_forked(std::move(handler));
  auto done = std::make_shared<pending<>>(std::move(handler), core->data());
  core->close(patience, [done] { (*done)({}); });
}

} // namespace weft
