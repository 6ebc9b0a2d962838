// A queue of work on the accelerator, in order.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct CUstream_st;

namespace keyhole {

class Event;

// Owner: the model executor. Thread: executor only. Work that is still queued when a stream goes is
// done all the same.
class Stream {
 public:
  // Does not wait for the default stream. Errors: FAILED_PRECONDITION without CUDA; others of the
  // device.
  static absl::StatusOr<Stream> Create();

  // Blocks until all queued work is done. Errors: of that work, sticky ones among them.
  absl::Status Synchronize() const;

  // Later work waits for what `event` recorded; the calling thread does not.
  absl::Status WaitFor(const Event& event) const;

  CUstream_st* handle() const { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(CUstream_st* handle) const;
  };
  explicit Stream(CUstream_st* handle) : handle_(handle) {}

  std::unique_ptr<CUstream_st, Destroy> handle_;
};

}  // namespace keyhole
