// Durations as messages of the API have them.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace keyhole {

inline void FillDuration(absl::Duration duration, google::protobuf::Duration* message) {
  const std::int64_t nanos = absl::ToInt64Nanoseconds(duration);
  message->set_seconds(nanos / 1'000'000'000);
  message->set_nanos(static_cast<std::int32_t>(nanos % 1'000'000'000));
}

}  // namespace keyhole
