// Errors of the accelerator: those after which the process can go on, and those after which not.
#pragma once

#include <stdexcept>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keyhole {

// True for an error that destroyed the device's context: every later call fails in the same way,
// so that the process has to tell its streams and end.
bool IsSticky(const absl::Status& status);

// `status` with the mark that IsSticky looks for.
absl::Status MarkSticky(absl::Status status);

// What operators throw, since they return nothing; caught where LibTorch's exceptions are, in the
// model executor.
class DeviceError : public std::runtime_error {
 public:
  explicit DeviceError(const absl::Status& status)
      : std::runtime_error(status.ToString()), status_(status) {}

  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

// Throws DeviceError unless `status` is OK.
void ThrowIfFailed(const absl::Status& status);

template <typename T>
T ValueOrThrow(absl::StatusOr<T> value) {
  ThrowIfFailed(value.status());
  return *std::move(value);
}

}  // namespace keyhole
