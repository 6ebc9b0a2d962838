#include "engine/runtime/text_worker.h"

#include <algorithm>
#include <utility>

namespace keyhole {

TextWorkers::TextWorkers(int n_threads, std::int32_t max_queued_work)
    : max_queued_work_(max_queued_work), max_running_work_(std::max(1, n_threads - 1)) {
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

bool TextWorkers::TryRun(Task work) {
  {
    const std::lock_guard lock(mutex_);
    if (work_closed_ || std::ssize(work_) >= max_queued_work_) return false;
    work_.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

void TextWorkers::Deliver(Task delivery) {
  {
    const std::lock_guard lock(mutex_);
    deliveries_.push_back(std::move(delivery));
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
    std::deque<Task>& queue = is_work ? work_ : deliveries_;
    Task task = std::move(queue.front());
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
