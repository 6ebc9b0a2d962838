#include "engine/device/event.h"

#include "engine/device/cuda/cuda_status.h"

namespace keyhole {

absl::StatusOr<Event> Event::Create(Timing timing) {
  cudaEvent_t handle = nullptr;
  const unsigned flags = timing == Timing::kYes ? cudaEventDefault : cudaEventDisableTiming;
  absl::Status status = CudaStatus(cudaEventCreateWithFlags(&handle, flags), "creating an event");
  if (!status.ok()) return status;
  return Event(handle);
}

absl::Status Event::Record(const Stream& stream) const {
  return CudaStatus(cudaEventRecord(handle(), stream.handle()), "recording an event");
}

absl::StatusOr<bool> Event::Done() const {
  const cudaError_t error = cudaEventQuery(handle());
  if (error == cudaSuccess) return true;
  const absl::Status status = CudaStatus(error, "state of an event");
  if (error == cudaErrorNotReady) return false;
  return status;
}

absl::Status Event::Synchronize() const {
  return CudaStatus(cudaEventSynchronize(handle()), "work before an event");
}

absl::StatusOr<float> Event::MillisecondsSince(const Event& begin) const {
  float milliseconds = 0;
  absl::Status status = CudaStatus(cudaEventElapsedTime(&milliseconds, begin.handle(), handle()),
                                   "time between events");
  if (!status.ok()) return status;
  return milliseconds;
}

void Event::Destroy::operator()(CUevent_st* handle) const { cudaEventDestroy(handle); }

}  // namespace keyhole
