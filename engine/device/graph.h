// Work of a stream that is captured once and queued again by one call.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/device/stream.h"

struct CUgraphExec_st;

namespace keyhole {

// A step of a hundred short kernels costs the calling thread as much as one. Addresses and sizes
// are those of the capture; what lies at the addresses may change between launches.
// Owner: the model executor. Thread: executor only.
class Graph {
 public:
  // What `work` queues in the stream, none of which runs. It may not wait for the device nor take
  // memory of it. Errors: those of `work`, a DeviceError that it throws among them;
  // FAILED_PRECONDITION without CUDA; others of the device. The stream can be used as before.
  static absl::StatusOr<Graph> Capture(const Stream& stream,
                                       absl::FunctionRef<absl::Status()> work);

  // Replaces what was captured; cheaper than Capture where only addresses and sizes differ.
  // Errors: as Capture, and then the graph is as it was.
  absl::Status Update(const Stream& stream, absl::FunctionRef<absl::Status()> work);

  // Queues the work. Errors: of the device.
  absl::Status Launch(const Stream& stream) const;

 private:
  struct Destroy {
    void operator()(CUgraphExec_st* handle) const;
  };
  explicit Graph(CUgraphExec_st* handle) : handle_(handle) {}

  std::unique_ptr<CUgraphExec_st, Destroy> handle_;
};

}  // namespace keyhole
