#include "client/cli/interrupt.h"

#include <unistd.h>

#include "client/cli/exit_code.h"

namespace keyhole::cli {

Interrupt::Interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  watcher_ = std::jthread([this](std::stop_token done) {
    const timespec poll{.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!done.stop_requested()) {
      if (sigtimedwait(&signals_, nullptr, &poll) < 0) continue;
      if (stop_.stop_requested()) _exit(kInterrupted);
      stop_.request_stop();
    }
  });
}

Interrupt::~Interrupt() { watcher_.request_stop(); }

}  // namespace keyhole::cli
