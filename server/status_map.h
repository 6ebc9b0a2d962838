// Statuses of the engine as gRPC sends them: exactly one ErrorInfo, BadRequest and RetryInfo where
// they help.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/request/error.h"
#include "engine/types.h"
#include "grpcpp/support/status.h"

namespace keyhole {

inline constexpr std::string_view kErrorDomain = "keyhole.dev";

// A status as the client may see it: a code that the API names, a reason, and no text that was not
// made for clients. A status without detail keeps INVALID_ARGUMENT, CANCELLED and
// DEADLINE_EXCEEDED; all others become INTERNAL.
absl::Status ToPublicStatus(const absl::Status& status);

// The same error with the request's id in its metadata; as it is without an id.
absl::Status WithRequestId(const absl::Status& status, RequestId id);

// REQUIRES: `status` went through ToPublicStatus.
grpc::Status ToGrpcStatus(const absl::Status& status);

// Value of the `grpc-retry-pushback-ms` trailer: for QUEUE_FULL, when to come back.
std::optional<std::string> RetryPushback(const ErrorDetail& detail);

// "OK", "INVALID_ARGUMENT", ...: label of metrics and log lines.
std::string CodeName(const absl::Status& status);

// Errors that only the service gives.
absl::Status ModelLoadingError();
absl::Status ModelNotFoundError();
absl::Status SlowReaderError();

}  // namespace keyhole
