#include "engine/runtime/executor_thread.h"

#include <utility>

#include "engine/check.h"

namespace keyhole {

ExecutorThread::ExecutorThread(StepExecutor* executor, absl::AnyInvocable<void()> on_done)
    : executor_(executor), on_done_(std::move(on_done)), thread_([this] { Loop(); }) {}

ExecutorThread::~ExecutorThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  started_.notify_one();
  thread_.join();
}

void ExecutorThread::Start(ModelInput input) {
  {
    const std::lock_guard lock(mutex_);
    KEYHOLE_CHECK(!input_ && !result_, "one step at a time");
    input_ = std::move(input);
  }
  started_.notify_one();
}

std::optional<absl::StatusOr<StepResult>> ExecutorThread::TryTake() {
  const std::lock_guard lock(mutex_);
  return std::exchange(result_, std::nullopt);
}

void ExecutorThread::Loop() {
  while (true) {
    std::unique_lock lock(mutex_);
    started_.wait(lock, [this] { return input_ || stop_; });
    if (stop_) return;
    const ModelInput input = std::move(*input_);
    lock.unlock();
    absl::StatusOr<StepResult> result = executor_->Run(input);
    lock.lock();
    input_.reset();
    result_ = std::move(result);
    lock.unlock();
    on_done_();
  }
}

}  // namespace keyhole
