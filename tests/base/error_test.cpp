// Every error has its texts, and the operating system's codes find theirs.
#include <weft/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <set>
#include <string>

using weft::errc;
using weft::error_code;

namespace {

/// The values of the closed list: the hundreds are dense from their first.
std::set<int> listed() {
  std::set<int> values;
  for (int hundred = 100; hundred <= 700; hundred += 100) {
    for (int value = hundred; weft::name(static_cast<errc>(value)) != "unknown"; ++value) {
      values.insert(value);
    }
  }
  return values;
}

error_code of_system(int value) {
  return {value, boost::system::system_category()};
}

} // namespace

TEST_CASE("every error has a name, a text and a hint of its own") {
  std::set<std::string> names;
  for (const int value : listed()) {
    const auto code = static_cast<errc>(value);
    CAPTURE(value);
    CHECK(names.insert(std::string{weft::name(code)}).second);
    CHECK_FALSE(weft::hint(code).empty());
    CHECK(error_code{code}.message().find("unknown") == std::string::npos);
  }
}

TEST_CASE("the ends of each range are in the list") {
  const auto values = listed();
  for (const errc last : {errc::too_large, errc::forked, errc::no_path, errc::name_in_use, errc::limit_exceeded,
                          errc::not_enough_copies, errc::io_error}) {
    CAPTURE(static_cast<int>(last));
    CHECK(values.contains(static_cast<int>(last)));
    CHECK_FALSE(values.contains(static_cast<int>(last) + 1));
  }
}

TEST_CASE("a message says where, what and what to do") {
  const weft::error failure{errc::not_found, "shard train/1.tar"};
  CHECK(failure.message() == "shard train/1.tar: not found (`weft ls` lists what is there)");
  CHECK(weft::error{errc::not_found}.message() == "not found (`weft ls` lists what is there)");
}

TEST_CASE("errors are cases of the standard conditions") {
  CHECK(error_code{errc::deadline_exceeded} == boost::system::errc::timed_out);
  CHECK(error_code{errc::cancelled} == boost::system::errc::operation_canceled);
  CHECK(error_code{errc::no_space} == boost::system::errc::no_space_on_device);
  CHECK(error_code{errc::handler_failed} != boost::system::errc::timed_out);
  CHECK(error_code{errc::handler_failed} == error_code{errc::handler_failed});
}

TEST_CASE("a code of the system becomes the nearest error") {
  CHECK(weft::to_errc(of_system(ECONNREFUSED)) == errc::connect_refused);
  CHECK(weft::to_errc(of_system(ECONNRESET)) == errc::path_failed);
  CHECK(weft::to_errc(of_system(EPIPE)) == errc::path_failed);
  CHECK(weft::to_errc(of_system(ETIMEDOUT)) == errc::unreachable);
  CHECK(weft::to_errc(of_system(EHOSTUNREACH)) == errc::unreachable);
  CHECK(weft::to_errc(of_system(EHOSTDOWN)) == errc::unreachable);
  CHECK(weft::to_errc(of_system(ECANCELED)) == errc::cancelled);
  CHECK(weft::to_errc(of_system(EADDRINUSE)) == errc::address_in_use);
  CHECK(weft::to_errc(of_system(EADDRNOTAVAIL)) == errc::address_unavailable);
  CHECK(weft::to_errc(of_system(EMFILE)) == errc::too_many_files);
  CHECK(weft::to_errc(of_system(ENOMEM)) == errc::out_of_memory);
  CHECK(weft::to_errc(of_system(ENOSPC)) == errc::no_space);
  CHECK(weft::to_errc(of_system(EDQUOT)) == errc::no_space);
  CHECK(weft::to_errc(of_system(EROFS)) == errc::read_only);
  CHECK(weft::to_errc(of_system(EIO)) == errc::io_error);
  CHECK(weft::to_errc(of_system(ENOTTY)) == errc::os_failure);
}

TEST_CASE("codes of Asio become the nearest error") {
  CHECK(weft::to_errc(boost::asio::error::eof) == errc::path_failed);
  CHECK(weft::to_errc(boost::asio::error::operation_aborted) == errc::cancelled);
  CHECK(weft::to_errc(boost::asio::error::host_not_found) == errc::name_unresolved);
  CHECK(weft::to_errc(boost::asio::error::service_not_found) == errc::name_unresolved);
  CHECK(weft::to_errc(boost::asio::error::bad_descriptor) == errc::closed);
}

TEST_CASE("a code of Weft is itself, and no other value gets out") {
  CHECK(weft::to_errc(errc::revoked) == errc::revoked);
  CHECK(weft::to_errc({12345, weft::error_category()}) == errc::os_failure);
}

TEST_CASE("value() of a failed result throws its code and place") {
  const weft::result<int> failed = weft::error{errc::closed, "fabric"};
  try {
    (void)failed.value();
    FAIL("value() must throw");
  } catch (const boost::system::system_error& thrown) {
    CHECK(thrown.code() == errc::closed);
    CHECK(std::string{thrown.what()}.find("fabric") != std::string::npos);
  }
}
