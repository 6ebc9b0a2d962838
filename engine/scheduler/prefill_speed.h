// Measured speed of prefill, for admission.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace keyhole {

// A moving average over the last chunks, weighted by time: one slow chunk counts for what it took.
// Thread: one owner.
class PrefillSpeed {
 public:
  void Add(std::int32_t tokens, absl::Duration elapsed) {
    tokens_ = tokens_ * kKeep + tokens;
    seconds_ = seconds_ * kKeep + absl::ToDoubleSeconds(elapsed);
  }

  // 0 until something was measured.
  double tokens_per_second() const { return seconds_ > 0 ? tokens_ / seconds_ : 0; }

 private:
  static constexpr double kKeep = 0.9;
  double tokens_ = 0;
  double seconds_ = 0;
};

}  // namespace keyhole
