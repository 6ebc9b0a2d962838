#include "engine/request/error.h"

#include <charconv>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyhole {
namespace {

constexpr std::string_view kPayloadUrl = "type.keyhole.dev/error_detail";

// Debian builds Abseil with its own string_view.
absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// Length-prefixed fields, so that any byte may occur in them.
void Put(std::string* out, std::string_view text) {
  absl::StrAppend(out, text.size(), ":", View(text));
}

bool Take(std::string_view* in, std::string* out) {
  std::size_t size = 0;
  const auto [end, error] = std::from_chars(in->data(), in->data() + in->size(), size);
  if (error != std::errc() || end == in->data() + in->size() || *end != ':') return false;
  in->remove_prefix(end + 1 - in->data());
  if (in->size() < size) return false;
  out->assign(in->substr(0, size));
  in->remove_prefix(size);
  return true;
}

std::string Serialize(const ErrorDetail& detail) {
  std::string out;
  Put(&out, detail.reason);
  Put(&out, detail.field);
  Put(&out, detail.retry_after ? absl::StrCat(absl::ToInt64Milliseconds(*detail.retry_after)) : "");
  for (const auto& [key, value] : detail.metadata) {
    Put(&out, key);
    Put(&out, value);
  }
  return out;
}

bool Parse(std::string_view in, ErrorDetail* detail) {
  std::string retry;
  if (!Take(&in, &detail->reason) || !Take(&in, &detail->field) || !Take(&in, &retry)) return false;
  if (std::int64_t milliseconds = 0; absl::SimpleAtoi(retry, &milliseconds)) {
    detail->retry_after = absl::Milliseconds(milliseconds);
  }
  while (!in.empty()) {
    auto& [key, value] = detail->metadata.emplace_back();
    if (!Take(&in, &key) || !Take(&in, &value)) return false;
  }
  return true;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, std::string_view message, ErrorDetail detail) {
  absl::Status status(code, View(message));
  status.SetPayload(View(kPayloadUrl), absl::Cord(Serialize(detail)));
  return status;
}

ErrorDetail GetErrorDetail(const absl::Status& status) {
  const auto payload = status.GetPayload(View(kPayloadUrl));
  ErrorDetail detail;
  if (payload && Parse(std::string(*payload), &detail)) return detail;
  return {.reason = std::string(reason::kInternal)};
}

absl::Status CancelledError() {
  return MakeError(absl::StatusCode::kCancelled,
                   "The request was cancelled.",
                   {.reason = std::string(reason::kCancelled)});
}

absl::Status DeadlineError() {
  return MakeError(absl::StatusCode::kDeadlineExceeded,
                   "The call's deadline passed.",
                   {.reason = std::string(reason::kDeadlineExceeded)});
}

absl::Status DrainingError() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "The server is going away. Use another replica.",
                   {.reason = std::string(reason::kDraining), .retry_after = absl::Seconds(1)});
}

absl::Status InternalError() {
  return MakeError(absl::StatusCode::kInternal,
                   "The engine failed on this request. Its log has the cause.",
                   {.reason = std::string(reason::kInternal)});
}

absl::Status InvalidParameterError(std::string_view field, std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   message,
                   {.reason = std::string(reason::kInvalidParameter), .field = std::string(field)});
}

}  // namespace keyhole
