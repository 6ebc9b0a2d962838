#include "tests/support/child_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/time/clock.h"

namespace keyhole::testing {

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>("child")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // not one is left behind
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

ChildProcess::~ChildProcess() {
  if (result_) return;
  Signal(SIGKILL);
  Wait(absl::InfiniteDuration());
}

void ChildProcess::Signal(int number) const { kill(pid_, number); }

std::optional<int> ChildProcess::Wait(absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  while (!result_) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      result_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    } else if (absl::Now() >= deadline) {
      return std::nullopt;
    } else {
      absl::SleepFor(absl::Milliseconds(10));
    }
  }
  return result_;
}

}  // namespace keyhole::testing
