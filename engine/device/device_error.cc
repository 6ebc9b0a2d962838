#include "engine/device/device_error.h"

#include "absl/strings/cord.h"

namespace keyhole {
namespace {

constexpr std::string_view kStickyPayload = "keyhole/sticky_device_error";

}  // namespace

bool IsSticky(const absl::Status& status) {
  return status.GetPayload({kStickyPayload.data(), kStickyPayload.size()}).has_value();
}

absl::Status MarkSticky(absl::Status status) {
  status.SetPayload({kStickyPayload.data(), kStickyPayload.size()}, absl::Cord("1"));
  return status;
}

void ThrowIfFailed(const absl::Status& status) {
  if (!status.ok()) throw DeviceError(status);
}

}  // namespace keyhole
