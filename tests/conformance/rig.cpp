#include "rig.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>

extern char** environ;

namespace weft::tests {
namespace {

/// Lies beside the executable of the tests, unless WEFT_TEST_PEER says what stands in for it.
std::string executable() {
  if (const char* other = std::getenv("WEFT_TEST_PEER")) return other;
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "conformance-peer").string();
}

std::vector<std::string> arguments(const peer_options& options) {
  std::vector<std::string> all = {executable(), "size=" + std::to_string(options.size)};
  if (options.inline_handler) all.emplace_back("inline=1");
  if (options.silent) all.emplace_back("silent=1");
  if (!options.store.empty()) all.push_back("store=" + options.store);
  for (const auto& [name, value] : options.values) all.push_back(name + "=" + value);
  return all;
}

std::string read_line(int from) {
  std::string line;
  char byte = 0;
  while (::read(from, &byte, 1) == 1 && byte != '\n') line += byte;
  return line;
}

} // namespace

in_processes::in_processes(const peer_options& options) {
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  auto words = arguments(options);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, output[1], 1);
  const int failed = ::posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(input[0]);
  ::close(output[1]);
  input_ = input[1];
  if (failed == 0) address_ = read_line(output[0]);
  ::close(output[0]);
  if (address_.empty()) throw std::runtime_error("conformance-peer did not start");
}

in_processes::~in_processes() {
  // Only one that is frozen, and before its end: SIGCONT would undo the stop by which a sanitizer looks for leaks then.
  if (frozen_) thaw();
  ::close(input_);
  if (process_ == 0) return;
  int status = 0;
  ::waitpid(process_, &status, 0);
  // A sanitizer's finding in the peer ends it with an error.
  CHECK(status == 0);
}

void in_processes::kill() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = 0;
  frozen_ = false;
}

void in_processes::freeze() {
  frozen_ = true;
  ::kill(process_, SIGSTOP);
  int status = 0;
  ::waitpid(process_, &status, WUNTRACED);
}

void in_processes::thaw() {
  frozen_ = false;
  ::kill(process_, SIGCONT);
}

} // namespace weft::tests
