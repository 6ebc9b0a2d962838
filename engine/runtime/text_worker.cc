#include "engine/runtime/text_worker.h"

#include <algorithm>
#include <utility>

namespace keyhole {

TextWorkers::TextWorkers(int n_threads, std::int32_t max_queued_work, std::int64_t max_queued_bytes)
    : max_queued_work_(max_queued_work),
      max_queued_bytes_(max_queued_bytes),
      max_running_work_(std::max(1, n_threads - 1)) {
  for (int i = 0; i < std::max(1, n_threads); ++i) {
    threads_.emplace_back([this] { Loop(); });
  }
}

TextWorkers::~TextWorkers() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool TextWorkers::TryRun(Task work, std::int64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (work_closed_ || std::ssize(work_) >= max_queued_work_) return false;
    // Alone any size may wait: what one call may hold is bounded elsewhere.
    if (queued_bytes_ > 0 && bytes > max_queued_bytes_ - queued_bytes_) return false;
    work_.push_back({.task = std::move(work), .bytes = bytes});
    queued_bytes_ += bytes;
  }
  changed_.notify_one();
  return true;
}

void TextWorkers::Deliver(Task delivery) {
  {
    const std::lock_guard lock(mutex_);
    deliveries_.push_back({.task = std::move(delivery)});
  }
  changed_.notify_one();
}

void TextWorkers::CloseWork() {
  std::unique_lock lock(mutex_);
  work_closed_ = true;
  changed_.wait(lock, [this] { return work_.empty() && running_work_ == 0; });
}

void TextWorkers::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !deliveries_.empty() || MayStartWork() || stop_; });
    const bool is_work = deliveries_.empty();
    if (is_work && !MayStartWork()) return;  // stopped, and nothing that this thread may take
    std::deque<Queued>& queue = is_work ? work_ : deliveries_;
    Task task = std::move(queue.front().task);
    queued_bytes_ -= queue.front().bytes;
    queue.pop_front();
    running_work_ += is_work ? 1 : 0;
    lock.unlock();
    std::move(task)();
    task = nullptr;
    lock.lock();
    running_work_ -= is_work ? 1 : 0;
    if (is_work) changed_.notify_all();
  }
}

}  // namespace keyhole
