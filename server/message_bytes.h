// Messages of the API to and from the bytes that gRPC carries.
//
// The service takes raw bytes: generated handlers answer bytes that cannot be parsed with
// UNIMPLEMENTED, and text that is not UTF-8 must be INVALID_ARGUMENT.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/error.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/proto_buffer_writer.h"

namespace keyhole {

// Errors: INVALID_ARGUMENT.
template <typename Message>
absl::StatusOr<Message> ParseMessage(const grpc::ByteBuffer& bytes) {
  grpc::ByteBuffer copy(bytes);  // of the reference, not of the bytes
  grpc::ProtoBufferReader reader(&copy);
  Message message;
  if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     "The request is not a valid message; all text must be UTF-8.",
                     {.reason = std::string(reason::kInvalidParameter)});
  }
  return message;
}

template <typename Message>
grpc::ByteBuffer SerializeMessage(const Message& message) {
  grpc::ByteBuffer bytes;
  {
    constexpr int kBlockBytes = 1 << 20;
    grpc::ProtoBufferWriter writer(&bytes, kBlockBytes, static_cast<int>(message.ByteSizeLong()));
    message.SerializeToZeroCopyStream(&writer);
  }
  return bytes;
}

}  // namespace keyhole
