#include "server/unary_reactor.h"

#include <utility>

#include "engine/status_macros.h"
#include "server/convert_response.h"

namespace keyhole {

grpc::ServerUnaryReactor* UnaryReactor::Start(Call call,
                                              absl::StatusOr<Request> request,
                                              EncodeAnswer encode,
                                              grpc::ByteBuffer* response) {
  auto* reactor = new UnaryReactor(std::move(call), encode, response);
  const absl::Status status = reactor->Submit(std::move(request));
  if (!status.ok()) {
    const std::lock_guard lock(reactor->mutex_);
    reactor->End(status);
  }
  return reactor;
}

UnaryReactor::UnaryReactor(Call call, EncodeAnswer encode, grpc::ByteBuffer* response)
    : encode_(encode),
      response_(response),
      slot_(call.parts().engine),
      finish_watch_(call),
      call_(std::move(call)) {}

absl::Status UnaryReactor::Submit(absl::StatusOr<Request> request) {
  if (!request.ok()) return std::move(request).status();
  KEYHOLE_ASSIGN_OR_RETURN(Engine * engine, slot_->Get());
  model_revision_ = engine->model().revision;
  return EngineCall::Submit(engine, *std::move(request));
}

void UnaryReactor::OnStarted(const StartedEvent& event) {
  const std::lock_guard lock(mutex_);
  call_.set_request_id(event.request_id);
  answer_.started = event;
}

void UnaryReactor::OnChunk(ChunkEvent event) {
  const std::lock_guard lock(mutex_);
  Append(std::move(event), &answer_.output);
}

void UnaryReactor::OnFinished(const FinishedEvent& event) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  answer_.finished = event;
  *response_ = encode_(std::move(answer_), model_revision_);
  End(absl::OkStatus());
}

void UnaryReactor::OnFailed(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  End(status);
}

void UnaryReactor::OnCancel() {
  CancelInEngine();
  const std::lock_guard lock(mutex_);
  if (!ended_) End(call_.CancelStatus());
}

void UnaryReactor::OnDone() {
  finish_watch_.Stop();
  Release();
}

void UnaryReactor::End(const absl::Status& status) {
  if (ended_) return;
  ended_ = true;
  call_.set_request_id(request_id());  // of one that failed before it started
  finish_watch_.Start(status, response_->Length());
  Finish(call_.End(status));
}

}  // namespace keyhole
