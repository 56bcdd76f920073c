// The page of memory through which the fabrics of one host know of each other: a file in /dev/shm, for those of one
// user or group in one network namespace, who share its rails. Each has an entry, and a lock on it that ends with the
// process, so that what a dead one leaves is free again. Where the page cannot be had the fabric is alone with itself.
#pragma once

#include "base/tunables.hpp"
#include "lane/host_board.hpp"

#include <memory>
#include <optional>
#include <string>

namespace weft::fabrics {

/// Who is on a page.
struct page_users {
  std::size_t entries = 0;  ///< that are taken
  std::size_t realtime = 0; ///< of which have had realtime traffic in the last second
  std::size_t bulk = 0;     ///< of which have sent bulk data in the last second
};

class host_page {
public:
  /// Where the page of those that share as `with` says is.
  [[nodiscard]] static std::string path_of(host_share with);
  /// Counts without taking an entry. Errors: os_failure, naming the file and what is wrong with it, or why none
  /// could be made; where there is none yet, nobody is on it.
  [[nodiscard]] static result<page_users> look(const std::string& path, host_share with);

  explicit host_page(host_share with) : host_page(path_of(with), with) {}
  host_page(std::string path, host_share with);
  ~host_page();
  host_page(const host_page&) = delete;
  host_page& operator=(const host_page&) = delete;

  /// For as long as this lives.
  [[nodiscard]] lanes::host_board& board() noexcept { return *board_; }
  [[nodiscard]] const lanes::host_board& board() const noexcept { return *board_; }
  /// Why it is not shared; empty: it is, or was not to be.
  [[nodiscard]] const std::string& why_not() const noexcept { return why_not_; }

private:
  result<void> open(host_share with);
  result<std::size_t> take_entry();
  void leave() noexcept;

  const std::string path_;
  int file_ = -1;
  lanes::board_page* page_ = nullptr; ///< mapped
  std::optional<lanes::host_board> board_;
  std::string why_not_;
};

} // namespace weft::fabrics
