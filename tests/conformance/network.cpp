// With WEFT_TEST_NETWORK=fake-rdma in the environment all fabrics of this process are on a network that is in it too.
#include "rdma/fake_network.hpp"

#include <cstdlib>
#include <memory>
#include <string_view>

namespace weft::tests {
namespace {

std::unique_ptr<fake_network> wanted() {
  const char* name = std::getenv("WEFT_TEST_NETWORK");
  return name != nullptr && std::string_view(name) == "fake-rdma" ? std::make_unique<fake_network>() : nullptr;
}

const auto network = wanted();

} // namespace
} // namespace weft::tests
