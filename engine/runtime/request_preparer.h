// From a submitted request to a sequence: tokenise, check, admit.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/request/request.h"
#include "engine/request/request_limits.h"
#include "engine/request/sequence.h"
#include "engine/runtime/clock.h"
#include "engine/runtime/prompt_encoder.h"
#include "engine/runtime/request_registry.h"

namespace keyhole {

// Thread: text workers, several at once. REQUIRES: what it is made of outlives it.
class RequestPreparer {
 public:
  struct Parts {
    const PromptEncoder* encoder = nullptr;
    RequestRegistry* registry = nullptr;
    const Clock* clock = nullptr;
    RequestLimits limits;
  };

  explicit RequestPreparer(const Parts& parts) : parts_(parts) {}

  // Errors: those of PromptEncoder, CheckRequest and RequestRegistry::Admit; CANCELLED and
  // DEADLINE_EXCEEDED. `prompt_tokens` is set as soon as it is known.
  absl::StatusOr<std::unique_ptr<Sequence>> Prepare(RequestId id,
                                                    Request request,
                                                    absl::Time submitted,
                                                    std::int32_t* prompt_tokens) const;

 private:
  const Parts parts_;
};

}  // namespace keyhole
