// What sockets alone give: 1 MiB after the other, from `buffers` buffers in turn, over one connection of loopback by
// blocking calls, each end on a processor of its own; with `crc` each end computes the CRC32C of all of it. Prints GB/s.
//   bare_loop SENDING_PROCESSOR RECEIVING_PROCESSOR BUFFERS crc|plain
#define _GNU_SOURCE
#include <isa-l/crc.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { size = 1 << 20, count = 6000 };

static unsigned sum;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_on(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  sched_setaffinity(0, sizeof one, &one);
}

/// Moves what is between `from` and the end of a buffer, as far as one call does.
static ssize_t move_some(int over, unsigned char* buffer, size_t from, int sends, int checks) {
  const ssize_t moved = sends ? send(over, buffer + from, size - from, 0) : recv(over, buffer + from, size - from, 0);
  if (moved > 0 && checks) sum ^= crc32_iscsi(buffer + from, (int)moved, 0);
  return moved;
}

static void move_all(int over, int buffers, int sends, int checks) {
  unsigned char* memory = malloc((size_t)buffers * size);
  memset(memory, 1, (size_t)buffers * size);
  for (int i = 0; i < count; ++i) {
    for (size_t at = 0; at < size;) {
      const ssize_t moved = move_some(over, memory + (size_t)(i % buffers) * size, at, sends, checks);
      if (moved <= 0) exit(1);
      at += (size_t)moved;
    }
  }
}

int main(int arguments, char** argument) {
  if (arguments != 5) return 2;
  const int buffers = atoi(argument[3]), checks = strcmp(argument[4], "crc") == 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  const int listener = socket(AF_INET, SOCK_STREAM, 0), from = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr*)&address, length) != 0 || listen(listener, 1) != 0) return 1;
  getsockname(listener, (struct sockaddr*)&address, &length);
  if (fork() == 0) {
    run_on(atoi(argument[2]));
    move_all(accept(listener, NULL, NULL), buffers, 0, checks);
    return sum == 1; // so that it is computed
  }
  run_on(atoi(argument[1]));
  if (connect(from, (struct sockaddr*)&address, length) != 0) return 1;
  const double begun = seconds();
  move_all(from, buffers, 1, checks);
  wait(NULL);
  printf("%.3f\n", (double)count * size / (seconds() - begun) / 1e9);
  return 0;
}
