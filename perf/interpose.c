// Counts what a process asks of the C library: allocations, locks, bytes copied, and calls into the kernel for its
// sockets and descriptors; epoll_wait, by which a thread that stays awake looks around, is counted apart too. Loaded by
// LD_PRELOAD; at the end of the process one line of JSON goes to the file that COUNTS_FILE names, and a program that
// looks up counts_now() has them whenever it asks.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static uint64_t allocations, locks, copied, system_calls, looks;

static void count(uint64_t* what, uint64_t by) {
  __atomic_fetch_add(what, by, __ATOMIC_RELAXED);
}

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
  count(&allocations, 1);
  return __libc_malloc(size);
}
void* calloc(size_t number, size_t size) {
  count(&allocations, 1);
  return __libc_calloc(number, size);
}
void* realloc(void* old, size_t size) {
  count(&allocations, 1);
  return __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  count(&allocations, 1);
  return __libc_memalign(alignment, size);
}

// Written out, as the compiler would turn a loop into a call of itself.
static void* copy_up(void* to, const void* from, size_t size) {
  void* at = to;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
  return to;
}
void* memcpy(void* to, const void* from, size_t size) {
  count(&copied, size);
  return copy_up(to, from, size);
}
void* memmove(void* to, const void* from, size_t size) {
  count(&copied, size);
  if ((uintptr_t)to - (uintptr_t)from >= size) return copy_up(to, from, size);
  unsigned char* end = (unsigned char*)to + size - 1;
  const unsigned char* last = (const unsigned char*)from + size - 1;
  if (size > 0) __asm__ volatile("std; rep movsb; cld" : "+D"(end), "+S"(last), "+c"(size) : : "memory");
  return to;
}

#define COUNTED(counter, result, name, parameters, arguments)                                                          \
  result name parameters {                                                                                             \
    static __typeof__(&name) next;                                                                                     \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                      \
    count(&counter, 1);                                                                                                \
    return next arguments;                                                                                             \
  }

COUNTED(locks, int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))
COUNTED(system_calls, ssize_t, sendmsg, (int to, const struct msghdr* message, int flags), (to, message, flags))
COUNTED(system_calls, ssize_t, recvmsg, (int from, struct msghdr* message, int flags), (from, message, flags))
COUNTED(system_calls, ssize_t, send, (int to, const void* bytes, size_t size, int flags), (to, bytes, size, flags))
COUNTED(system_calls, ssize_t, recv, (int from, void* bytes, size_t size, int flags), (from, bytes, size, flags))
COUNTED(system_calls, ssize_t, read, (int from, void* bytes, size_t size), (from, bytes, size))
COUNTED(system_calls, ssize_t, write, (int to, const void* bytes, size_t size), (to, bytes, size))
COUNTED(looks, int, epoll_wait, (int set, struct epoll_event* events, int most, int time), (set, events, most, time))
COUNTED(system_calls, int, epoll_ctl, (int set, int what, int of, struct epoll_event* event), (set, what, of, event))

void counts_now(uint64_t out[5]) {
  const uint64_t all[] = {allocations, locks, copied, system_calls, looks};
  for (int i = 0; i < 5; ++i) out[i] = all[i];
}

__attribute__((destructor)) static void tell(void) {
  const uint64_t all[] = {allocations, locks, copied, system_calls + looks};
  const char* name = getenv("COUNTS_FILE");
  FILE* file = name ? fopen(name, "w") : NULL;
  if (!file) return;
  fprintf(file, "{\"allocations\": %lu, \"locks\": %lu, \"copied\": %lu, \"system_calls\": %lu}\n", all[0], all[1],
          all[2], all[3]);
  fclose(file);
}
