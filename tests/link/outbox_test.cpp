// Messages keep their numbers and their order, and stay until they are acknowledged.
#include "link/outbox.hpp"

#include <doctest/doctest.h>

using weft::links::outbox;
using weft::wire::frame_type;

namespace {

/// Posts all that may be posted; returns how many.
int post_all(outbox& box) {
  int count = 0;
  for (; box.next() != nullptr; ++count) box.posted();
  return count;
}

} // namespace

TEST_CASE("messages are numbered from one, in order") {
  outbox box(10);
  for (std::uint32_t number = 1; number <= 3; ++number) {
    CHECK(box.push(frame_type::grant, 70 + number).header.number == number);
  }
  CHECK(box.next()->header.number == 1);
  CHECK(box.next()->header.transfer == 71);
  box.posted();
  CHECK(box.next()->header.number == 2);
  CHECK(box.size() == 3);
}

TEST_CASE("no more than the window is posted before an acknowledgement") {
  outbox box(3);
  for (int i = 0; i < 5; ++i) box.push(frame_type::grant, 1);
  CHECK(post_all(box) == 3);
  CHECK(box.acknowledge(2));
  CHECK(post_all(box) == 2);
  CHECK(box.acknowledge(5));
  CHECK(box.empty());
}

TEST_CASE("an acknowledgement repeated, or older than the last, changes nothing") {
  outbox box(10);
  for (int i = 0; i < 4; ++i) box.push(frame_type::grant, 1);
  post_all(box);
  CHECK(box.acknowledge(3));
  CHECK(box.acknowledge(3));
  CHECK(box.acknowledge(1));
  CHECK(box.acknowledge(0));
  CHECK_FALSE(box.empty());
  CHECK(box.acknowledge(4));
  CHECK(box.empty());
}

TEST_CASE("what was never sent cannot be acknowledged") {
  outbox box(10);
  CHECK_FALSE(box.acknowledge(1));
  box.push(frame_type::grant, 1);
  CHECK_FALSE(box.acknowledge(1));
  post_all(box);
  CHECK_FALSE(box.acknowledge(2));
  CHECK(box.acknowledge(1));
}

TEST_CASE("after the loss of a channel the unacknowledged ones are posted again under their numbers") {
  outbox box(10);
  for (int i = 0; i < 3; ++i) box.push(frame_type::grant, 1);
  post_all(box);
  CHECK(box.acknowledge(1));
  box.rewind();
  CHECK(box.next()->header.number == 2);
  CHECK(post_all(box) == 2);
}

TEST_CASE("a new channel may acknowledge what the lost one brought, before it is posted again") {
  outbox box(10);
  for (int i = 0; i < 3; ++i) box.push(frame_type::grant, 1);
  post_all(box);
  box.rewind();
  CHECK(box.acknowledge(2));
  CHECK(box.next()->header.number == 3);
  box.push(frame_type::grant, 1);
  CHECK_FALSE(box.acknowledge(4));
  CHECK(post_all(box) == 2);
  CHECK(box.acknowledge(4));
}

TEST_CASE("a message's body is empty however long that of an earlier one was") {
  outbox box(10);
  box.push(frame_type::request, 1).body.resize(1000);
  post_all(box);
  CHECK(box.acknowledge(1));
  CHECK(box.push(frame_type::request, 2).body.empty());
}
