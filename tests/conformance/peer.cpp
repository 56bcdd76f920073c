#include "peer.hpp"

#include "base/crc32c.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <pthread.h>

#include <sstream>

namespace weft::tests {
namespace {

config listening(const peer_options& options) {
  auto made = configured({{"listen", "127.0.0.1:0"}});
  for (const auto& [name, value] : options.values) made.set(name, value).value();
  return made;
}

std::string thread_name() {
  char name[32] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

void reply(incoming_request& request, std::string_view text) {
  request.reply(bytes_of(text));
}

} // namespace

peer::peer(const peer_options& options) : fabric_(listening(options)) {
  publish("target", options.size, rights::read_write);
  publish("source", options.size, rights::read);
  fill(regions_["source"].bytes(), source_seed);
  fabric_.on_notification([this](notification words) {
    const std::lock_guard lock(mutex_);
    notes_ += words.region + ' ' + text_of(words.payload) + '\n';
  });
  if (!options.store.empty()) shards_.emplace(shard_server::open(fabric_, options.store).value());
  if (options.silent) return;
  const auto on = options.inline_handler ? asio::any_io_executor{} : pool_.get_executor();
  fabric_.on_request([this](incoming_request request) { handle(std::move(request)); }, on);
}

peer::~peer() {
  // Whoever still waits in the pool answers into a fabric that is there.
  pool_.stop();
  pool_.join();
}

void peer::publish(const std::string& name, std::size_t size, rights allowed) {
  auto added = fabric_.allocate(byte_count{size}).value();
  fabric_.publish(added, name, allowed).value();
  regions_[name] = std::move(added);
}

void peer::answer_later(incoming_request request, std::chrono::milliseconds after, std::string text) {
  if (after == 0ms) return reply(request, text);
  auto timer = std::make_shared<asio::steady_timer>(pool_, after);
  auto kept = std::make_shared<incoming_request>(std::move(request));
  timer->async_wait([timer, kept, text = std::move(text)](const error_code&) { reply(*kept, text); });
}

std::string peer::checksum(std::istream& words) {
  std::string name;
  std::size_t offset = 0;
  std::size_t size = 0;
  words >> name >> offset >> size;
  const std::lock_guard lock(mutex_);
  return std::to_string(crc32c(regions_.at(name).bytes().subspan(offset, size)));
}

void peer::handle(incoming_request request) {
  const auto text = text_of(request.payload());
  std::istringstream words(text);
  std::string command;
  std::string name;
  words >> command;
  if (command == "thread") return reply(request, thread_name());
  if (command == "drop") return;
  if (command == "fail") {
    int code = 0;
    words >> code >> std::ws;
    std::getline(words, name);
    return request.fail(static_cast<errc>(code), name);
  }
  if (command == "delay") {
    int after = 0;
    words >> after;
    return answer_later(std::move(request), std::chrono::milliseconds(after), "waited");
  }
  if (command == "crc") return reply(request, checksum(words));
  if (command == "revoke") {
    words >> name;
    auto kept = std::make_shared<incoming_request>(std::move(request));
    return fabric_.revoke(name, [kept](const error_code& code) { reply(*kept, code ? code.message() : "revoked"); });
  }
  const std::lock_guard lock(mutex_);
  if (command == "mark" || command == "marks") {
    int after = 0;
    words >> name >> after;
    const auto count = command == "mark" ? ++marks_[name] : marks_[name];
    return answer_later(std::move(request), std::chrono::milliseconds(after), std::to_string(count));
  }
  if (command == "notes") return reply(request, notes_);
  if (command == "publish") {
    std::size_t size = 0;
    words >> name >> size;
    publish(name, size, rights::read_write);
    return reply(request, "published");
  }
  reply(request, text);
}

} // namespace weft::tests
