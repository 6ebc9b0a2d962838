// keyhole.v1.GenerationService: turns calls into reactors. Nothing here waits.
#pragma once

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "keyhole/v1/generation.grpc.pb.h"
#include "server/call.h"
#include "server/stream_reactor.h"

namespace keyhole {

namespace internal {

// Every method takes and gives raw bytes: see message_bytes.h.
template <typename Service>
using RawUnary = v1::GenerationService::WithRawCallbackMethod_Generate<
    v1::GenerationService::WithRawCallbackMethod_Chat<
        v1::GenerationService::WithRawCallbackMethod_Tokenize<
            v1::GenerationService::WithRawCallbackMethod_Detokenize<
                v1::GenerationService::WithRawCallbackMethod_CountTokens<
                    v1::GenerationService::WithRawCallbackMethod_GetModel<Service>>>>>>;
using RawService = v1::GenerationService::WithRawCallbackMethod_StreamGenerate<
    v1::GenerationService::WithRawCallbackMethod_StreamChat<
        RawUnary<v1::GenerationService::Service>>>;

}  // namespace internal

// Thread: called by gRPC's callback threads.
class GenerationService final : public internal::RawService {
 public:
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;

  // REQUIRES: what `parts` points to outlives the server that this is registered at.
  explicit GenerationService(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* Generate(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* Chat(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerWriteReactor<Bytes>* StreamGenerate(Context* context, const Bytes* in) override;
  grpc::ServerWriteReactor<Bytes>* StreamChat(Context* context, const Bytes* in) override;
  grpc::ServerUnaryReactor* Tokenize(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* Detokenize(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* CountTokens(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetModel(Context* context, const Bytes* in, Bytes* out) override;

 private:
  // The engine's request with what comes from the call: deadline, trace and, into `call`, the
  // client's id. `Message` is GenerateRequest or ChatRequest.
  template <typename Message>
  absl::StatusOr<Request> MakeRequest(absl::StatusOr<Message> message, Call* call) const;

  const ServiceParts parts_;
};

}  // namespace keyhole
