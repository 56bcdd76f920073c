// The page that the fabrics of a host share: who is on it, what becomes of the entries of the dead, and what is
// refused.
#include "fabric/host_page.hpp"
#include "fabric/rails.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

using namespace weft;
using namespace std::chrono_literals;
using fabrics::host_page;

namespace {

struct page_file {
  page_file() = default;
  ~page_file() { std::filesystem::remove(path); }
  page_file(const page_file&) = delete;
  page_file& operator=(const page_file&) = delete;

  [[nodiscard]] bool exists() const { return std::filesystem::exists(std::filesystem::symlink_status(path)); }
  void fill(std::size_t bytes, char with = 'x') const { std::ofstream(path) << std::string(bytes, with); }
  [[nodiscard]] std::size_t entries() const { return host_page::look(path, host_share::user).value().entries; }

  const std::string path = host_page::path_of(host_share::user) + "-test-" + std::to_string(::getpid());
};

} // namespace

TEST_CASE("fabrics of one host see each other's traffic, each in an entry of its own") {
  const page_file file;
  host_page one(file.path, host_share::user);
  host_page other(file.path, host_share::user);
  CHECK(one.why_not() == "");
  CHECK(other.why_not() == "");
  CHECK(one.board().own() != other.board().own());
  const auto now = clock::now();
  CHECK(other.board().last_seen(now) == time_point{});
  one.board().seen(now);
  one.board().bulk_sent(now);
  for (int i = 0; i < 4; ++i) one.board().sample(7us, now);
  one.board().weigh(3);
  one.board().arriving({1000, 2}, {}, now);
  one.board().arriving({1500, 3}, {1000, 2}, now);
  other.board().arriving({500, 1}, {}, now);
  one.board().allow(77);
  const auto at = one.board().own();
  CHECK(other.board().last_seen(now) == now);
  CHECK(other.board().bulk_was_sent(at, now) == now);
  CHECK(other.board().latency_of(at, now).typical == 7us);
  CHECK(other.board().weight_of(at) == 3);
  const auto all = other.board().all_arriving(now);
  CHECK(all.sum.rate == 2000);
  CHECK(all.sum.sources == 4);
  CHECK(all.first == at);
  CHECK(all.allowed == 77);
  CHECK(other.board().all_arriving(now + 1s).sum.rate == 0);
  CHECK(other.board().sample_every(now) < 1ms); // bulk is about, of another one
  const auto users = host_page::look(file.path, host_share::user).value();
  CHECK(users.entries == 2);
  CHECK(users.realtime == 1);
  CHECK(users.bulk == 1);
}

TEST_CASE("an entry that was left is the next one's, with nothing in it, and the last one removes the file") {
  const page_file file;
  {
    host_page stays(file.path, host_share::user);
    std::size_t left = 0;
    {
      host_page leaves(file.path, host_share::user);
      left = leaves.board().own();
      leaves.board().seen(clock::now());
    }
    CHECK(file.entries() == 1);
    host_page next(file.path, host_share::user);
    CHECK(next.board().own() == left);
    CHECK(next.board().last_seen(clock::now()) == time_point{});
  }
  CHECK_FALSE(file.exists());
  CHECK(file.entries() == 0);
}

TEST_CASE("the entry of a process that was killed is free again") {
  const page_file file;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const auto child = ::fork();
  if (child == 0) { // no threads, no allocation of the parent's that matters
    host_page of_child(file.path, host_share::user);
    const char told = of_child.why_not().empty() ? 'y' : 'n';
    if (::write(ready[1], &told, 1) == 1) ::pause();
    ::_exit(1);
  }
  char told = 0;
  REQUIRE(::read(ready[0], &told, 1) == 1);
  CHECK(told == 'y');
  CHECK(file.entries() == 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(file.entries() == 0);
  host_page next(file.path, host_share::user);
  CHECK(next.why_not() == "");
  CHECK(file.entries() == 1);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("a fabric that closes while a fork of its process lives keeps nobody out") {
  const page_file file;
  host_page stays(file.path, host_share::user);
  auto leaves = std::make_unique<host_page>(file.path, host_share::user);
  int hold[2];
  REQUIRE(::pipe(hold) == 0);
  const auto child = ::fork();
  if (child == 0) { // has the file open as long as it lives
    ::close(hold[1]);
    char end = 0;
    std::ignore = ::read(hold[0], &end, 1);
    ::_exit(0);
  }
  const auto left = leaves->board().own();
  leaves.reset();
  host_page next(file.path, host_share::user);
  CHECK(next.why_not() == "");
  CHECK(next.board().own() == left);
  for (const int each : hold) ::close(each);
  ::waitpid(child, nullptr, 0);
}

TEST_CASE("a page that is not ours, or no page, is refused by name, and the fabric is alone") {
  const page_file file;
  std::string words;
  SUBCASE("too short") {
    file.fill(100);
    words = "is damaged";
  }
  SUBCASE("of the right length, with something else in it") {
    file.fill(sizeof(lanes::board_page));
    words = "no page of Weft's";
  }
  SUBCASE("somebody else may write to it") {
    const host_page other(file.path, host_share::user);
    ::chmod(file.path.c_str(), 0666);
    host_page refused(file.path, host_share::user);
    CHECK(refused.why_not().find("others may write") != std::string::npos);
    return;
  }
  SUBCASE("a link to somewhere") {
    std::filesystem::create_symlink("/dev/zero", file.path);
    words = "open: ";
  }
  SUBCASE("a folder") {
    std::filesystem::create_directory(file.path);
    words = "open: ";
  }
  SUBCASE("a pipe") {
    ::mkfifo(file.path.c_str(), 0600);
    words = "is no file";
  }
  ::chmod(file.path.c_str(), 0600);
  host_page page(file.path, host_share::user);
  CHECK(page.why_not().find(file.path) != std::string::npos);
  CHECK(page.why_not().find(words) != std::string::npos);
  page.board().seen(clock::now());
  CHECK(page.board().size() == 1);
  CHECK(file.exists());
  CHECK(host_page::look(file.path, host_share::user).error().where().find(words) != std::string::npos);
}

TEST_CASE("a page of another user is refused") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can give a file away");
    return;
  }
  const page_file file;
  file.fill(sizeof(lanes::board_page));
  REQUIRE(::chown(file.path.c_str(), 12345, 12345) == 0);
  CHECK(host_page(file.path, host_share::user).why_not().find("belongs to user 12345") != std::string::npos);
  CHECK(host_page(file.path, host_share::group).why_not().find("belongs to group 12345") != std::string::npos);
}

TEST_CASE("whoever finds no entry free is alone, and those who have one go on") {
  const page_file file;
  std::deque<host_page> pages;
  for (std::uint32_t i = 0; i < lanes::board_page::most_entries; ++i) pages.emplace_back(file.path, host_share::user);
  CHECK(pages.back().why_not() == "");
  host_page late(file.path, host_share::user);
  CHECK(late.why_not().find("all its 64 entries are taken") != std::string::npos);
  const auto now = clock::now();
  pages.front().board().seen(now);
  CHECK(pages.back().board().last_seen(now) == now);
  CHECK(late.board().last_seen(now) == time_point{});
}

TEST_CASE("what goes on on one rail is no other rail's, by interfaces that all processes number alike") {
  const page_file file;
  host_page one(file.path, host_share::user);
  host_page other(file.path, host_share::user);
  const auto first = one.board().rail_of(7);
  const auto second = other.board().rail_of(3);
  CHECK(first != second);
  CHECK(other.board().rail_of(7) == first);
  CHECK(one.board().rail_of(3) == second);
  lanes::host_board here(one.board(), first);
  const lanes::host_board there(other.board(), first);
  const lanes::host_board elsewhere(other.board(), second);
  const auto now = clock::now();
  here.seen(now);
  here.bulk_sent(now);
  here.arriving({1000, 2}, {}, now);
  CHECK(there.last_seen(now) == now);
  CHECK(there.all_arriving(now).sum.rate == 1000);
  CHECK(elsewhere.all_arriving(now).sum.rate == 0);
  CHECK(elsewhere.last_seen(now) == time_point{});
  CHECK(elsewhere.last_seen_anywhere(now) == now);
  CHECK(elsewhere.bulk_was_sent(here.own(), now) == time_point{});
  CHECK(elsewhere.bulk_was_sent_anywhere(here.own(), now) == now);
  // The last place is that of all that are too many.
  for (std::uint32_t interface = 100; interface < 200; ++interface) std::ignore = one.board().rail_of(interface);
  CHECK(one.board().rail_of(1000) == one.board().rail_of(1001));
  CHECK(one.board().rail_of(1000) == fabrics::rails::most - 1);
  CHECK(one.board().rail_of(7) == first);
}

TEST_CASE("a rail is found by the address at this end") {
  lanes::host_board board;
  std::vector<std::string> found;
  fabrics::rails rails(board, [&found](const fabrics::rail& each) { found.push_back(each.name); });
  const auto of = [&rails](const char* text) -> auto& {
    return rails.of(boost::asio::ip::make_address(text));
  };
  CHECK(of("127.0.0.1").name == "lo");
  CHECK(&of("127.0.0.1") == &of("127.9.9.9"));
  CHECK(&of("127.0.0.1") == &of("::ffff:127.0.0.1"));
  CHECK(of("192.0.2.77").name == "unknown"); // for documentation (RFC 5737): no host has it
  CHECK(&of("192.0.2.77") == &of("2001:db8::1"));
  CHECK(rails.known().size() == 2);
  CHECK(found == std::vector<std::string>{"lo", "unknown"});
}

TEST_CASE("what cannot be in an entry is not believed") {
  lanes::board_page page;
  page.used = 1000;
  lanes::host_board board(page, 0);
  CHECK(board.size() == lanes::board_page::most_entries);
  const auto now = clock::now();
  auto& strange = page.entries[1];
  auto& on_rail = strange.rails[0];
  on_rail.seen = (now + 1h).time_since_epoch().count();
  on_rail.bulk = -5;
  on_rail.count = 9;
  on_rail.typical = (1h).count() * 1'000'000'000;
  strange.weight = 0;
  CHECK(board.last_seen(1, now) == time_point{});
  CHECK(board.bulk_was_sent(1, now) == time_point{});
  CHECK(board.latency_of(1, now).typical == 1s);
  CHECK(board.weight_of(1) == 1);
}
