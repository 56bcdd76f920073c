#include "base/rail_list.hpp"

#include <doctest/doctest.h>

using namespace weft;

TEST_CASE("a list of rails reads back what it writes") {
  for (const auto* text : {"any", "mlx5_0", "mlx5_0:1", "mlx5_0:1:3,mlx5_1", "^rxe0,rxe1:2", "mlx5_0:255:255"}) {
    CAPTURE(text);
    CHECK(to_string(parse_rail_list(text).value()) == text);
  }
}

TEST_CASE("a list of rails says which ports are used, and with which GID") {
  const auto any = parse_rail_list("any").value();
  CHECK(any.of("mlx5_0", 2).used);
  CHECK_FALSE(any.of("mlx5_0", 2).gid_index);

  const auto some = parse_rail_list("mlx5_0,mlx5_1:2:3").value();
  CHECK(some.of("mlx5_0", 1).used);
  CHECK(some.of("mlx5_0", 2).used);
  CHECK_FALSE(some.of("mlx5_0", 1).gid_index);
  CHECK_FALSE(some.of("mlx5_1", 1).used);
  CHECK(some.of("mlx5_1", 2).used);
  CHECK(some.of("mlx5_1", 2).gid_index == 3);
  CHECK_FALSE(some.of("mlx5_10", 1).used);
  CHECK_FALSE(some.of("mlx5", 1).used);

  const auto others = parse_rail_list("^mlx5_0,mlx5_1:2").value();
  CHECK_FALSE(others.of("mlx5_0", 1).used);
  CHECK(others.of("mlx5_1", 1).used);
  CHECK_FALSE(others.of("mlx5_1", 2).used);
  CHECK(others.of("mlx5_2", 1).used);
}

TEST_CASE("a list of rails tells which of them a host lacks") {
  const std::vector<std::string> ports{"mlx5_0:1", "mlx5_1:1"};
  const auto missing = [&ports](const char* text) { return parse_rail_list(text)->missing_in(ports); };
  CHECK(missing("any").empty());
  CHECK(missing("^mlx5_9").empty());
  CHECK(missing("mlx5_1,mlx5_0:1:3").empty());
  CHECK(missing("mlx5_2,mlx5_1:2,mlx5_0,mlx5").size() == 3);
  CHECK(missing("mlx5_2:1:5").front() == "mlx5_2:1");
}

TEST_CASE("what is no list of rails is refused") {
  const std::string long_one(300, 'a');
  for (const std::string& text :
       {std::string(),          std::string("^"),      std::string(","),           std::string("a,"),
        std::string(",a"),      std::string(":1"),     std::string("a:"),          std::string("a:0"),
        std::string("a:256"),   std::string("a:b"),    std::string("a:1:"),        std::string("a:1:256"),
        std::string("a:1:2:3"), std::string("a,a:1"),  std::string("a:1:3,a:1:5"), std::string("a::3"),
        std::string("a b"),     std::string("^a:1:3"), std::string("a\n"),         long_one}) {
    CAPTURE(text);
    CHECK(parse_rail_list(text).error() == errc::invalid_argument);
  }
}
