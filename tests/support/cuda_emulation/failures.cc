// Errors that a test asks for.
#include <atomic>

#include "cuda_runtime.h"
#include "tests/support/cuda_emulation/emulation.h"

namespace cuda_emulation {
namespace {

Failures all_failures[kCalls] = {};
std::atomic<int> lost_context = 0;  // the error that destroyed it

bool DestroysContext(int error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

}  // namespace

void FailCalls(Call call, const Failures& failures) {
  all_failures[static_cast<int>(call)] = failures;
}

void RestoreContext() { lost_context = 0; }

int LostContext() { return lost_context; }

int TakeFailure(Call call) {
  if (lost_context != 0) return lost_context;
  Failures& failures = all_failures[static_cast<int>(call)];
  if (failures.count == 0 || failures.after-- > 0) return 0;
  --failures.count;
  failures.after = 0;
  if (DestroysContext(failures.error)) lost_context = failures.error;
  return failures.error;
}

}  // namespace cuda_emulation
