// Chooses the work of each step: continuous batching with chunked prefill.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/request/sequence.h"
#include "engine/scheduler/request_queue.h"
#include "engine/scheduler/step_plan.h"

namespace keyhole {

struct SchedulerLimits {
  std::int32_t chunk_size = 512;
  std::int32_t page_size = 64;
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

  // Puts an admitted sequence of `plan` back into the queue: its pages could not be had after all.
  void Defer(Sequence* sequence, StepPlan& plan);

  // The next step; admits as many waiting sequences as there are places and `n_free_pages` for.
  StepPlan Plan(std::int32_t n_free_pages);

  std::int32_t PagesNeeded(const Sequence& sequence) const;
  std::int32_t n_waiting() const { return queue_.size(); }
  std::int32_t n_running() const { return static_cast<std::int32_t>(running_.size()); }

 private:
  void Admit(std::int32_t n_free_pages, StepPlan& plan);
  void ChooseChunk(StepPlan& plan);
  Sequence* NextPrefill();

  SchedulerLimits limits_;
  RequestQueue queue_;
  std::vector<Sequence*> running_;  // in order of admission
  int chunk_turn_ = 0;              // of kChunksPerTurn
  std::int32_t steps_since_chunk_ = 0;
};

}  // namespace keyhole
