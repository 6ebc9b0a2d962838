// What the engine thread tells the text side about one request. Plain data.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/request/response_sink.h"
#include "engine/request/sequence.h"
#include "engine/runtime/clock.h"
#include "engine/types.h"

namespace keyhole {

// It has its pages; work on it begins.
struct StartEvent {
  StartedEvent started;
  Instant time;
};

struct TokenEvent {
  TokenInfo token;
  std::vector<TokenInfo> prompt_logprobs;  // with the first token
  SelectionTally selection;                // so far
  Instant time;
};

// Nothing comes after it.
struct EndEvent {
  absl::Status status;  // OK: finished for `reason`
  FinishReason reason = FinishReason::kEndOfSequence;
  std::int32_t prompt_tokens = 0;  // 0 if not known
  SelectionTally selection;
  Instant time;
};

using StreamEvent = std::variant<StartEvent, ProgressEvent, TokenEvent, EndEvent>;

// Takes the events of all requests. Thread: any; must not block.
class StreamOutput {
 public:
  virtual ~StreamOutput() = default;
  virtual void Send(RequestId id, StreamEvent event) = 0;
};

}  // namespace keyhole
