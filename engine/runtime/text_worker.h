// A small pool of threads for text: tokenising prompts, turning tokens into text, calling sinks.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace keyhole {

// Two queues. Deliveries are short and go first. Work may be long (a prompt of a megabyte); with
// two threads or more at least one is always left to deliveries, so that running answers keep
// flowing. Thread: any.
class TextWorkers {
 public:
  using Task = absl::AnyInvocable<void()>;

  // What waits of the work is bounded by its number and by what it holds.
  TextWorkers(int n_threads, std::int32_t max_queued_work, std::int64_t max_queued_bytes);

  // Runs all that was queued, then stops.
  ~TextWorkers();

  // Queues long work that holds `bytes` until it begins. Returns false, and drops it, where
  // max_queued_work tasks wait already, where it and others that wait would hold more than
  // max_queued_bytes, or where CloseWork was called.
  bool TryRun(Task work, std::int64_t bytes = 0);

  // Queues a delivery. Callers keep their number bounded: one for each open stream.
  void Deliver(Task delivery);

  // Refuses further work and waits until none is left; deliveries go on.
  void CloseWork();

 private:
  struct Queued {
    Task task;
    std::int64_t bytes = 0;  // of a delivery 0
  };

  void Loop();
  bool MayStartWork() const { return !work_.empty() && running_work_ < max_running_work_; }

  const std::int32_t max_queued_work_;
  const std::int64_t max_queued_bytes_;
  const int max_running_work_;

  std::mutex mutex_;  // guards what follows, down to the threads
  std::condition_variable changed_;
  std::deque<Queued> deliveries_;
  std::deque<Queued> work_;
  std::int64_t queued_bytes_ = 0;
  int running_work_ = 0;
  bool work_closed_ = false;
  bool stop_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace keyhole
