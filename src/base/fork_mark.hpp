// Whether this process is the child of a fork of the one that made the mark: a page that the kernel wipes in children,
// so that asking costs a load and needs no handler, whatever calls fork. Any thread may ask.
#pragma once

namespace weft {

class fork_mark {
public:
  fork_mark();
  fork_mark(const fork_mark&) = delete;
  fork_mark& operator=(const fork_mark&) = delete;
  ~fork_mark();

  [[nodiscard]] bool forked() const noexcept { return *page_ == 0; }

private:
  volatile int* page_;
};

/// For shared_ptr: what has threads, sockets or locks of the parent's is left as it is in a child. `Object` has
/// forked().
struct delete_unless_forked {
  template <class Object>
  void operator()(Object* object) const {
    if (!object->forked()) delete object;
  }
};

} // namespace weft
