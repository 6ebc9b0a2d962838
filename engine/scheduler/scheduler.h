// Chooses the work of each step: continuous batching with chunked prefill.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/request/sequence.h"
#include "engine/scheduler/request_queue.h"
#include "engine/scheduler/step_plan.h"

namespace keyhole {

struct SchedulerLimits {
  Chunking chunking;
  std::int32_t page_size = 64;  // for those who reserve pages
  std::int32_t max_running = 32;
  std::int32_t decode_steps_between_chunks = 1;
};

// Every step carries one token of each decoding sequence. At most one prefill chunk goes along, and
// at least decode_steps_between_chunks steps without one run between two chunks while anything
// decodes, so that a running answer never stalls for more than one chunk.
//
// Which prompt gets the chunk: three of four go to the prompt with the fewest chunks left (ties:
// the older), the fourth to the oldest. A short prompt thus overtakes a long one, and the oldest
// always has a quarter of the chunks, so that every prompt ends.
//
// Thread: engine thread only. Sequences belong to the step loop.
class Scheduler {
 public:
  static constexpr int kChunksPerTurn = 4;  // the last of them is the oldest prompt's

  explicit Scheduler(const SchedulerLimits& limits) : limits_(limits) {}

  void Enqueue(Sequence* sequence) { queue_.Push(sequence); }

  // Takes a sequence out of planning, wherever it is.
  void Remove(const Sequence& sequence);

  // The next step. Starts as many waiting sequences as there are places for and `try_start` has
  // pages for: it calls Sequence::Start, or returns false.
  StepPlan Plan(absl::FunctionRef<bool(Sequence&)> try_start);

  std::int32_t n_waiting() const { return queue_.size(); }
  std::int32_t n_running() const { return static_cast<std::int32_t>(running_.size()); }

 private:
  void StartWaiting(absl::FunctionRef<bool(Sequence&)> try_start);
  void ChooseChunk(StepPlan& plan);
  Sequence* NextPrefill();

  SchedulerLimits limits_;
  RequestQueue queue_;
  std::vector<Sequence*> running_;  // in the order they started in
  int chunk_turn_ = 0;              // of kChunksPerTurn
  std::int32_t steps_since_chunk_ = 0;
};

}  // namespace keyhole
