// Ctrl-C as a stop token.
#pragma once

#include <csignal>
#include <stop_token>
#include <thread>

namespace keyhole::cli {

// The first SIGINT or SIGTERM requests a stop, so that the call is cancelled on the server; the
// second ends the process. Construct before any other thread starts: threads inherit the blocked
// signals.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();

  std::stop_token token() const { return stop_.get_token(); }
  bool requested() const { return stop_.stop_requested(); }

 private:
  std::stop_source stop_;
  sigset_t signals_;
  std::jthread watcher_;
};

}  // namespace keyhole::cli
