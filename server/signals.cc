#include "server/signals.h"

#include <csignal>
#include <thread>
#include <utility>

#include "server/watchdog.h"

namespace keyhole {
namespace {

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

Signals::Signals() {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A client or log pipe that goes away is an error code, not an end.
  std::signal(SIGPIPE, SIG_IGN);
  std::thread([this] { Wait(); }).detach();
}

void Signals::OnFirst(absl::AnyInvocable<void()> action) {
  const std::lock_guard lock(mutex_);
  action_ = std::move(action);
}

void Signals::Wait() {
  const sigset_t signals = EndSignals();
  for (;;) {
    int number = 0;
    if (sigwait(&signals, &number) != 0) continue;
    const std::lock_guard lock(mutex_);
    if (!action_) LeaveByForce("keyhole-server: signal received: leaving at once", 128 + number);
    std::exchange(action_, nullptr)();
  }
}

}  // namespace keyhole
