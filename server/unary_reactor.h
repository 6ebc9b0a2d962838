// One whole answer, gathered from the engine's events.
#pragma once

#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call.h"
#include "server/engine_call.h"

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
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override { Release(); }

 private:
  UnaryReactor(Call call, EncodeAnswer encode, grpc::ByteBuffer* response);

  // --- ResponseSink, from the engine
  void OnStarted(const StartedEvent& event) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnProgress(const ProgressEvent&) override {}
  void OnChunk(ChunkEvent event) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFinished(const FinishedEvent& event) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFailed(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status Submit(absl::StatusOr<Request> request);
  // Ends the call, unless it has ended.
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EncodeAnswer encode_;
  grpc::ByteBuffer* const response_;  // gRPC's, until Finish
  EngineSlot* const slot_;
  std::string model_revision_;  // set before any other thread knows this object

  absl::Mutex mutex_;
  Call call_ ABSL_GUARDED_BY(mutex_);
  WholeAnswer answer_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace keyhole
