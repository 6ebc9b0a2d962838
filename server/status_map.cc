#include "server/status_map.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/fill_duration.h"

namespace keyhole {
namespace {

// Trailers beyond 8 KiB break the call: what is dynamic is kept far below.
constexpr std::size_t kMaxTextBytes = 256;

// Whole UTF-8 characters of the first kMaxTextBytes.
std::string Clip(std::string_view text) {
  std::size_t end = std::min(text.size(), kMaxTextBytes);
  while (end > 0 && end < text.size() && (text[end] & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

bool HasDetail(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInternal ||
         GetErrorDetail(status).reason != reason::kInternal;
}

google::rpc::Status MakeDetails(const absl::Status& status, const ErrorDetail& detail) {
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));

  google::rpc::ErrorInfo info;
  info.set_reason(detail.reason);
  info.set_domain(std::string(kErrorDomain));
  for (const auto& [key, value] : detail.metadata) (*info.mutable_metadata())[key] = Clip(value);
  details.add_details()->PackFrom(info);

  if (!detail.field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(Clip(detail.field));
    violation->set_description(std::string(status.message()));
    details.add_details()->PackFrom(bad_request);
  }
  if (detail.retry_after) {
    google::rpc::RetryInfo retry;
    FillDuration(*detail.retry_after, retry.mutable_retry_delay());
    details.add_details()->PackFrom(retry);
  }
  return details;
}

}  // namespace

absl::Status ToPublicStatus(const absl::Status& status) {
  if (status.ok()) return status;
  switch (status.code()) {
    case absl::StatusCode::kInternal:
      return InternalError();
    case absl::StatusCode::kInvalidArgument:
      if (HasDetail(status)) return status;
      return MakeError(absl::StatusCode::kInvalidArgument,
                       Clip(std::string(status.message())),
                       {.reason = std::string(reason::kInvalidParameter)});
    case absl::StatusCode::kCancelled:
      return HasDetail(status) ? status : CancelledError();
    case absl::StatusCode::kDeadlineExceeded:
      return HasDetail(status) ? status : DeadlineError();
    default:
      return HasDetail(status) ? status : InternalError();
  }
}

absl::Status WithRequestId(const absl::Status& status, RequestId id) {
  if (status.ok() || id == 0) return status;
  ErrorDetail detail = GetErrorDetail(status);
  detail.metadata.emplace_back("request_id", absl::StrCat(id));
  return MakeError(status.code(), std::string(status.message()), std::move(detail));
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()),
                      MakeDetails(status, GetErrorDetail(status)).SerializeAsString());
}

std::optional<std::string> RetryPushback(const ErrorDetail& detail) {
  if (detail.reason != reason::kQueueFull || !detail.retry_after) return std::nullopt;
  return absl::StrCat(absl::ToInt64Milliseconds(*detail.retry_after));
}

std::string CodeName(const absl::Status& status) { return absl::StatusCodeToString(status.code()); }

absl::Status ModelLoadingError() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "The model is still loading. Try again soon, or use another replica.",
                   {.reason = std::string(reason::kModelLoading), .retry_after = absl::Seconds(2)});
}

absl::Status ModelNotFoundError() {
  return MakeError(absl::StatusCode::kNotFound,
                   "This server serves another model: see GetModel.",
                   {.reason = std::string(reason::kModelNotFound), .field = "model"});
}

absl::Status SlowReaderError() {
  return MakeError(absl::StatusCode::kCancelled,
                   "The client stopped reading for too long.",
                   {.reason = std::string(reason::kSlowReader)});
}

}  // namespace keyhole
