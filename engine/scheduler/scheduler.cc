#include "engine/scheduler/scheduler.h"

#include <algorithm>

namespace keyhole {
namespace {

bool InPrefill(const Sequence* sequence) { return sequence->prompt_left() > 0; }

}  // namespace

void Scheduler::Remove(const Sequence& sequence) {
  queue_.Remove(sequence);
  std::erase(running_, &sequence);
}

StepPlan Scheduler::Plan(absl::FunctionRef<bool(Sequence&)> try_start) {
  StartWaiting(try_start);
  StepPlan plan;
  std::copy_if(running_.begin(),
               running_.end(),
               std::back_inserter(plan.decode),
               [](const Sequence* sequence) { return !InPrefill(sequence); });
  ChooseChunk(plan);
  return plan;
}

void Scheduler::StartWaiting(absl::FunctionRef<bool(Sequence&)> try_start) {
  while (n_running() < limits_.max_running) {
    Sequence* sequence = queue_.TakeNext(try_start);
    if (sequence == nullptr) return;
    running_.push_back(sequence);
  }
}

void Scheduler::ChooseChunk(StepPlan& plan) {
  const bool must_wait =
      !plan.decode.empty() && steps_since_chunk_ < limits_.decode_steps_between_chunks;
  Sequence* sequence = must_wait ? nullptr : NextPrefill();
  if (sequence == nullptr) {
    if (!plan.decode.empty()) ++steps_since_chunk_;
    return;
  }
  steps_since_chunk_ = 0;
  plan.prefill = PrefillChunk{
      .sequence = sequence,
      .tokens = NextChunk(sequence->computed_len(), sequence->prompt_len(), limits_.chunking)};
}

Sequence* Scheduler::NextPrefill() {
  Sequence* oldest = nullptr;
  Sequence* shortest = nullptr;
  const auto chunks_left = [this](const Sequence* sequence) {
    return ChunksLeft(
        sequence->computed_len(), sequence->prompt_len(), limits_.chunking.chunk_size);
  };
  for (Sequence* sequence : running_) {
    if (!InPrefill(sequence)) continue;
    if (oldest == nullptr) oldest = sequence;
    if (shortest == nullptr || chunks_left(sequence) < chunks_left(shortest)) shortest = sequence;
  }
  if (oldest == nullptr) return nullptr;
  chunk_turn_ = (chunk_turn_ + 1) % kChunksPerTurn;
  return chunk_turn_ == 0 ? oldest : shortest;
}

}  // namespace keyhole
