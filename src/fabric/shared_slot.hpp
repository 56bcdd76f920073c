// A shared pointer that one thread replaces while others read it: what std::atomic<std::shared_ptr> is for, whose load
// in the library of g++ 12 releases its lock without ordering, so that a load and a store race.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace weft::fabrics {

template <class T>
class shared_slot {
public:
  [[nodiscard]] std::shared_ptr<T> load() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }

  void store(std::shared_ptr<T> value) {
    const std::lock_guard lock(mutex_);
    value_.swap(value); // the old one is destroyed behind the lock
  }

private:
  mutable std::mutex mutex_; ///< held for a copy: nobody waits long
  std::shared_ptr<T> value_;
};

} // namespace weft::fabrics
