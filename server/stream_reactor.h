// One streamed answer: a bounded outbox, one write in flight, tokens that wait join the next chunk.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call.h"
#include "server/convert_response.h"
#include "server/engine_call.h"
#include "server/finish_watch.h"
#include "server/stream_limits.h"
#include "server/stream_watch.h"

namespace keyhole {

// How one event becomes a message of the method's response type.
using EncodeEvent = grpc::ByteBuffer (*)(StreamEvent&& event, std::string_view model_revision);

// Deletes itself. Engine work is cancelled from OnCancel: OnDone may come late, when a stalled
// client has drained its pipe. The call ends as soon as the client is gone or the engine has given
// its last event, and no write is in flight.
class StreamReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                            public WatchedStream,
                            private EngineCall {
 public:
  // Starts the request, or ends the call with `request`'s error. Returns the reactor for gRPC.
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(Call call,
                                                           absl::StatusOr<Request> request,
                                                           EncodeEvent encode);

  // --- grpc::ServerWriteReactor
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // --- WatchedStream
  absl::Duration CheckStall(Instant now) override;

 private:
  StreamReactor(Call call, EncodeEvent encode);

  // --- ResponseSink, from the engine
  void OnStarted(const StartedEvent& event) override;
  void OnProgress(const ProgressEvent& event) override;
  void OnChunk(ChunkEvent event) override;
  void OnFinished(const FinishedEvent& event) override;
  void OnFailed(const absl::Status& status) override;

  absl::Status Submit(absl::StatusOr<Request> request);
  // The call ends with `status`, which is not OK, once no write is in flight. The first such status
  // counts. With mutex_ held, as all below.
  void Fail(const absl::Status& status);
  // Starts the next write, or finishes, if it is time to.
  void Advance();
  void Write(StreamEvent&& event);
  void CountAbort(const absl::Status& status);

  const EncodeEvent encode_;
  const StreamLimits limits_;
  EngineSlot* const slot_;
  StreamWatch* const streams_;
  std::string model_revision_;  // both set before any other thread knows this object
  bool watched_ = false;
  FinishWatch finish_watch_;

  std::mutex mutex_;  // guards what follows
  Call call_;

  // The outbox: at most one of each, sent in this order.
  std::optional<StartedEvent> started_;
  std::optional<ProgressEvent> progress_;
  std::optional<ChunkEvent> chunk_;
  std::optional<FinishedEvent> finished_;
  std::optional<absl::Status> failed_;

  grpc::ByteBuffer outgoing_;  // must live until OnWriteDone
  bool writing_ = false;
  Instant write_start_;
  bool ended_ = false;  // Finish was called
  bool done_ = false;   // the call's context is gone
};

}  // namespace keyhole
