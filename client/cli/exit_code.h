// Exit codes of the command line.
#pragma once

#include "grpcpp/grpcpp.h"

namespace keyhole::cli {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,             // INTERNAL and whatever has no code of its own
  kUsage = 2,              // wrong flag, unreadable file
  kUnavailable = 3,        // nobody there, loading or draining
  kInvalidArgument = 4,    // the server refused the request
  kResourceExhausted = 5,  // queue full: try later; or more than the server's memory ever holds
  kDeadlineExceeded = 6,
  kUnauthenticated = 7,
  kNotFound = 8,
  kInterrupted = 130,  // Ctrl-C
};

constexpr ExitCode ExitCodeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return kOk;
    case grpc::StatusCode::UNAVAILABLE:
      return kUnavailable;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return kInvalidArgument;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return kResourceExhausted;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return kDeadlineExceeded;
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return kUnauthenticated;
    case grpc::StatusCode::NOT_FOUND:
      return kNotFound;
    default:
      return kFailed;
  }
}

}  // namespace keyhole::cli
