// Errors with a machine-readable reason: an absl::Status that carries what the API's ErrorInfo
// needs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keyhole {

// Reasons are UPPER_SNAKE_CASE, belong to the API, and are never renamed.
namespace reason {
inline constexpr std::string_view kInvalidParameter = "INVALID_PARAMETER";
inline constexpr std::string_view kPromptTooLong = "PROMPT_TOO_LONG";
inline constexpr std::string_view kOutputBudgetTooLong = "OUTPUT_BUDGET_TOO_LONG";
inline constexpr std::string_view kQueueFull = "QUEUE_FULL";
inline constexpr std::string_view kKvCapacity = "KV_CAPACITY";
inline constexpr std::string_view kDeadlineUnattainable = "DEADLINE_UNATTAINABLE";
inline constexpr std::string_view kDeadlineExceeded = "DEADLINE_EXCEEDED";
inline constexpr std::string_view kModelLoading = "MODEL_LOADING";
inline constexpr std::string_view kModelNotFound = "MODEL_NOT_FOUND";
inline constexpr std::string_view kDraining = "DRAINING";
inline constexpr std::string_view kRequestIdInUse = "REQUEST_ID_IN_USE";
inline constexpr std::string_view kCancelled = "CANCELLED";
inline constexpr std::string_view kSlowReader = "SLOW_READER";
inline constexpr std::string_view kInternal = "INTERNAL";
}  // namespace reason

struct ErrorDetail {
  std::string reason = {};  // one of the above
  std::string field = {};   // request field at fault, or empty
  std::optional<absl::Duration> retry_after = std::nullopt;
  std::vector<std::pair<std::string, std::string>> metadata = {};  // all that varies in the message
};

// A status with `detail` attached. The message is a fixed text in which at most numbers vary: no
// path, no prompt, no exception text.
absl::Status MakeError(absl::StatusCode code, std::string_view message, ErrorDetail detail);

// The detail of a status made by MakeError; reason kInternal for any other failed status.
ErrorDetail GetErrorDetail(const absl::Status& status);

// Errors that several parts of the engine give.
absl::Status CancelledError();
absl::Status DeadlineError();
absl::Status DrainingError();
absl::Status InternalError();
absl::Status InvalidParameterError(std::string_view field, std::string_view message);

}  // namespace keyhole
