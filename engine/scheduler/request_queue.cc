#include "engine/scheduler/request_queue.h"

namespace keyhole {

void RequestQueue::Push(Sequence* sequence) {
  waiting_.emplace(KeyOf(*sequence), Waiting{.sequence = sequence});
}

void RequestQueue::Remove(const Sequence& sequence) { waiting_.erase(KeyOf(sequence)); }

Sequence* RequestQueue::TakeNext(absl::FunctionRef<bool(Sequence&)> try_start) {
  auto next = waiting_.begin();
  for (; next != waiting_.end(); ++next) {
    if (try_start(*next->second.sequence)) break;
    if (next->second.overtaken >= kMaxOvertaken) return nullptr;
  }
  if (next == waiting_.end()) return nullptr;
  for (auto passed = waiting_.begin(); passed != next; ++passed) ++passed->second.overtaken;
  Sequence* sequence = next->second.sequence;
  waiting_.erase(next);
  return sequence;
}

}  // namespace keyhole
