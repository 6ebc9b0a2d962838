// A call that needs the tokeniser only: its work runs on a text worker, never on a gRPC thread.
#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call.h"

namespace keyhole {

// What the call does.
struct TextWork {
  // Returns the response message's bytes.
  absl::AnyInvocable<absl::StatusOr<grpc::ByteBuffer>(const Engine& engine)> run;
  std::int64_t bytes = 0;  // that it holds until it runs
};

// Runs `work`, which may be an error from before, and ends the call. The returned reactor deletes
// itself.
grpc::ServerUnaryReactor* StartTextCall(Call call,
                                        absl::StatusOr<TextWork> work,
                                        grpc::ByteBuffer* response);

}  // namespace keyhole
