// One request to an engine, and all that comes back.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "tests/support/recording_sink.h"

namespace keyhole::testing {

struct Answer {
  absl::Status status;
  std::int32_t cached_tokens = 0;
  // Every token and log-probability, in the order of their coming.
  std::vector<std::pair<TokenId, float>> values;
};

// Does not wait. REQUIRES: the queue is open.
std::shared_ptr<Recording> Submit(Engine& engine, const Request& request);

// Waits for the end of what was submitted.
Answer Await(const Recording& recording);

inline Answer Ask(Engine& engine, const Request& request) {
  return Await(*Submit(engine, request));
}

}  // namespace keyhole::testing
