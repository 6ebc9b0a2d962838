#include "engine/runtime/parallel_worker.h"

#include <string>

#include "engine/parallel/step_message.h"
#include "engine/runtime/compare_selections.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::Status ServeSteps(ProcessGroup& group, StepExecutor& executor) {
  StepDecoder decoder;
  std::string bytes;
  for (;;) {
    KEYHOLE_RETURN_IF_ERROR(group.Broadcast(bytes));
    KEYHOLE_ASSIGN_OR_RETURN(const StepMessage message, decoder.Decode(bytes));
    if (message.kind == MessageKind::kStop) return absl::OkStatus();
    StepResult result;
    if (message.kind == MessageKind::kStep) {
      for (const PageId page : message.freed) executor.Discard(page);
      KEYHOLE_ASSIGN_OR_RETURN(result, executor.Run(message.input));
    }
    KEYHOLE_RETURN_IF_ERROR(CompareSelections(group, result));
  }
}

}  // namespace keyhole
