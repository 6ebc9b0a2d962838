// Admitted requests that wait for pages and a place among the running.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "absl/functional/function_ref.h"
#include "engine/request/sequence.h"

namespace keyhole {

// Order: larger priority first, then arrival. One that does not fit may be overtaken by later ones
// that do, kMaxOvertaken times; then nothing behind it is taken before it, so that it cannot
// starve. Bounded by admission, which counts requests and tokens before they come here. Thread:
// engine thread only. Sequences belong to the step loop.
class RequestQueue {
 public:
  static constexpr int kMaxOvertaken = 16;

  void Push(Sequence* sequence);
  void Remove(const Sequence& sequence);  // one that is not here is ignored

  // Takes the next sequence that `try_start` starts, or null.
  Sequence* TakeNext(absl::FunctionRef<bool(Sequence&)> try_start);

  std::int32_t size() const { return static_cast<std::int32_t>(waiting_.size()); }

 private:
  struct Waiting {
    Sequence* sequence = nullptr;
    int overtaken = 0;
  };
  using Key = std::pair<std::int32_t, RequestId>;  // -priority, id

  static Key KeyOf(const Sequence& sequence) {
    return {-sequence.request().priority, sequence.id()};
  }

  std::map<Key, Waiting> waiting_;
};

}  // namespace keyhole
