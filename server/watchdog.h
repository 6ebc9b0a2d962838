// Ends the process if something that must end does not.
#pragma once

#include <string_view>
#include <thread>

#include "absl/time/time.h"
#include "server/event.h"

namespace keyhole {

// While it lives, time runs. `message` is a literal, told on standard error. Thread: one owner.
class Watchdog {
 public:
  Watchdog(absl::Duration limit, std::string_view message);
  ~Watchdog();

 private:
  Event over_;
  std::thread thread_;
};

// Ends the process at once: no destructors, no flushing.
[[noreturn]] void LeaveByForce(std::string_view message, int exit_code);

}  // namespace keyhole
