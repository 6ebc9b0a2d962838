// One whole answer, gathered from the engine's events.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call.h"
#include "server/engine_call.h"
#include "server/finish_watch.h"

namespace keyhole {

struct WholeAnswer {
  StartedEvent started;
  ChunkEvent output;
  FinishedEvent finished;
};

// How the answer becomes the method's response message.
using EncodeAnswer = grpc::ByteBuffer (*)(WholeAnswer&& answer, std::string_view model_revision);

// Deletes itself. As StreamReactor, but nothing is sent before the end.
class UnaryReactor final : public grpc::ServerUnaryReactor, private EngineCall {
 public:
  static grpc::ServerUnaryReactor* Start(Call call,
                                         absl::StatusOr<Request> request,
                                         EncodeAnswer encode,
                                         grpc::ByteBuffer* response);

  // --- grpc::ServerUnaryReactor
  void OnCancel() override;
  void OnDone() override;

 private:
  UnaryReactor(Call call, EncodeAnswer encode, grpc::ByteBuffer* response);

  // --- ResponseSink, from the engine
  void OnStarted(const StartedEvent& event) override;
  void OnProgress(const ProgressEvent&) override {}
  void OnChunk(ChunkEvent event) override;
  void OnFinished(const FinishedEvent& event) override;
  void OnFailed(const absl::Status& status) override;

  absl::Status Submit(absl::StatusOr<Request> request);
  // Ends the call, unless it has ended. With mutex_ held.
  void End(const absl::Status& status);

  const EncodeAnswer encode_;
  grpc::ByteBuffer* const response_;  // gRPC's, until Finish
  EngineSlot* const slot_;
  std::string model_revision_;  // set before any other thread knows this object
  FinishWatch finish_watch_;

  std::mutex mutex_;  // guards what follows
  Call call_;
  WholeAnswer answer_;
  bool ended_ = false;
};

}  // namespace keyhole
