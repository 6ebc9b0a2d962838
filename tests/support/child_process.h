// This test program once more, as another process.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace keyhole::testing {

// Killed at the end of its life if it still runs. Thread: one owner.
class ChildProcess {
 public:
  explicit ChildProcess(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void Signal(int number) const;

  // The exit code, or minus the signal that ended it; nothing if it runs longer than that.
  std::optional<int> Wait(absl::Duration limit);

 private:
  pid_t pid_;
  std::optional<int> result_;
};

}  // namespace keyhole::testing
