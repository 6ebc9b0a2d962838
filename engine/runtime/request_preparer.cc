#include "engine/runtime/request_preparer.h"

#include <utility>

#include "engine/request/error.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<Sequence>> RequestPreparer::Prepare(
    RequestId id, Request request, absl::Time submitted, std::int32_t* prompt_tokens) const {
  if (parts_.registry->cancelled(id)) return CancelledError();
  if (parts_.clock->Now() >= request.deadline) return DeadlineError();
  KEYHOLE_ASSIGN_OR_RETURN(std::vector<TokenId> prompt, parts_.encoder->Encode(request.prompt));
  const auto prompt_len = static_cast<std::int32_t>(prompt.size());
  *prompt_tokens = prompt_len;
  KEYHOLE_RETURN_IF_ERROR(CheckRequest(request, prompt, parts_.limits));
  const OutputBudget budget = ResolveOutputBudget(request.stopping, prompt_len, parts_.limits);
  KEYHOLE_RETURN_IF_ERROR(
      parts_.registry->Admit(id, {.prompt_len = prompt_len, .max_output = budget.max_output}));
  request.prompt = Prompt();  // the text is not needed any more
  auto sequence = std::make_unique<Sequence>(id, std::move(request), std::move(prompt), budget);
  sequence->submitted = submitted;
  return sequence;
}

}  // namespace keyhole
