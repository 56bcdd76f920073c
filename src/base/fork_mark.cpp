#include "base/fork_mark.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace weft {
namespace {

std::size_t page_size() {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace

fork_mark::fork_mark() {
  void* page = ::mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // Wiping on fork needs Linux 4.14, older than any that this library is built on.
  if (page == MAP_FAILED || ::madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
    throw std::system_error(errno, std::generic_category(), "a page that is wiped on fork");
  }
  page_ = static_cast<volatile int*>(page);
  *page_ = 1;
}

fork_mark::~fork_mark() {
  ::munmap(const_cast<int*>(page_), page_size());
}

} // namespace weft
