#include "server/watchdog.h"

#include <unistd.h>

namespace keyhole {

Watchdog::Watchdog(absl::Duration limit, std::string_view message)
    : thread_([this, limit, message] {
        if (!over_.WaitFor(limit)) LeaveByForce(message, 1);
      }) {}

Watchdog::~Watchdog() {
  over_.Notify();
  thread_.join();
}

void LeaveByForce(std::string_view message, int exit_code) {
  // Not through the log: whatever hangs may hold it.
  (void)!write(STDERR_FILENO, message.data(), message.size());
  (void)!write(STDERR_FILENO, "\n", 1);
  _exit(exit_code);
}

}  // namespace keyhole
