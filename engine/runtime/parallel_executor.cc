#include "engine/runtime/parallel_executor.h"

#include <utility>

#include "engine/runtime/compare_selections.h"
#include "engine/status_macros.h"

namespace keyhole {

ParallelExecutor::ParallelExecutor(std::unique_ptr<ProcessGroup> group,
                                   std::unique_ptr<StepExecutor> local,
                                   absl::Duration beat)
    : group_(std::move(group)),
      local_(std::move(local)),
      beat_(beat),
      last_message_(std::chrono::steady_clock::now()) {
  beat_thread_ = std::thread([this] { Beat(); });
}

ParallelExecutor::~ParallelExecutor() {
  Close();
  {
    const std::lock_guard lock(state_mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  beat_thread_.join();
}

absl::StatusOr<StepResult> ParallelExecutor::Run(const ModelInput& input) {
  const std::lock_guard turn(turn_);
  KEYHOLE_RETURN_IF_ERROR(health());
  if (closed_) return absl::UnavailableError("tensor parallel: the ranks were let go");
  absl::StatusOr<StepResult> result = RunStep(input);
  if (!result.ok()) return Fail(result.status());
  return result;
}

absl::StatusOr<StepResult> ParallelExecutor::RunStep(const ModelInput& input) {
  std::string message = encoder_.Encode(input, TakeFreed());
  KEYHOLE_RETURN_IF_ERROR(group_->Broadcast(message));
  KEYHOLE_ASSIGN_OR_RETURN(StepResult result, local_->Run(input));
  KEYHOLE_RETURN_IF_ERROR(CompareSelections(*group_, result));
  last_message_ = std::chrono::steady_clock::now();
  return result;
}

absl::Status ParallelExecutor::Fail(absl::Status cause) {
  group_->Leave();
  const std::lock_guard lock(state_mutex_);
  health_ = cause;
  return cause;
}

absl::Status ParallelExecutor::health() const {
  const std::lock_guard lock(state_mutex_);
  return health_;
}

void ParallelExecutor::Close() {
  const std::lock_guard turn(turn_);
  if (closed_ || !health().ok()) return;
  closed_ = true;
  std::string message = EncodeMessage(MessageKind::kStop);
  // Whoever has gone already needs no goodbye.
  group_->Broadcast(message).IgnoreError();
}

void ParallelExecutor::Discard(PageId page) {
  local_->Discard(page);
  const std::lock_guard lock(state_mutex_);
  freed_.push_back(page);
}

std::vector<PageId> ParallelExecutor::TakeFreed() {
  const std::lock_guard lock(state_mutex_);
  return std::exchange(freed_, {});
}

void ParallelExecutor::Beat() {
  while (true) {
    {
      std::unique_lock lock(state_mutex_);
      stopped_.wait_for(lock, absl::ToChronoNanoseconds(beat_ / 2), [this] { return stop_; });
      if (stop_ || !health_.ok()) return;
    }
    const std::lock_guard turn(turn_);
    if (closed_ || !health().ok()) return;
    const auto silence = std::chrono::steady_clock::now() - last_message_;
    if (absl::FromChrono(silence) < beat_ / 2) continue;
    std::string message = EncodeMessage(MessageKind::kPing);
    absl::Status status = group_->Broadcast(message);
    if (status.ok()) status = CompareSelections(*group_, {});
    if (!status.ok()) Fail(std::move(status)).IgnoreError();
    last_message_ = std::chrono::steady_clock::now();
  }
}

}  // namespace keyhole
