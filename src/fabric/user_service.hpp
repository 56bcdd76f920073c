// Requests and notifications for the program that owns the fabric.
#pragma once

#include "fabric/service.hpp"
#include "fabric/shared_slot.hpp"

#include "weft/fabric.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <memory>

namespace weft::fabrics {

/// What an incoming_request holds.
struct reply_slot {
  reply_slot(const call& begun, std::span<const std::byte> bytes) : from(begun), payload(bytes.begin(), bytes.end()) {}

  call from;
  std::vector<std::byte> payload;
  bool answered = false;
};

class user_service final : public service {
public:
  void on_request(request_handler handler, boost::asio::any_io_executor executor);
  void on_notification(notification_handler handler, boost::asio::any_io_executor executor);

  void arrived(const call& begun, std::span<const std::byte> payload) override;
  /// On any thread.
  void notify(notification words);

private:
  template <class Handler>
  struct entry {
    Handler handler;
    boost::asio::any_io_executor executor; ///< empty: inline
  };

  shared_slot<const entry<request_handler>> request_;
  shared_slot<const entry<notification_handler>> notification_;
};

} // namespace weft::fabrics
