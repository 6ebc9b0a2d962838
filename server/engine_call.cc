#include "server/engine_call.h"

#include "engine/request/error.h"

namespace keyhole {

// What the engine owns: hands events on to the call.
class EngineCall::Sink : public ResponseSink {
 public:
  explicit Sink(EngineCall* call) : call_(call) {
    call_->holders_.fetch_add(1, std::memory_order_relaxed);
  }
  ~Sink() override {
    // A refused request is dropped within Submit; an engine that is torn down drops those it holds.
    if (awaits_last_ && call_->handover_.Drop()) call_->OnFailed(DrainingError());
    call_->Release();
  }

  void OnStarted(const StartedEvent& event) override { call_->OnStarted(event); }
  void OnProgress(const ProgressEvent& event) override { call_->OnProgress(event); }
  void OnChunk(ChunkEvent event) override { call_->OnChunk(std::move(event)); }
  void OnFinished(const FinishedEvent& event) override {
    awaits_last_ = false;
    call_->OnFinished(event);
  }
  void OnFailed(const absl::Status& status) override {
    awaits_last_ = false;
    call_->OnFailed(status);
  }

 private:
  EngineCall* call_;
  bool awaits_last_ = true;
};

absl::Status EngineCall::Submit(Engine* engine, Request request) {
  engine_ = engine;
  auto id = engine->Submit(std::move(request), std::make_unique<Sink>(this));
  if (!id.ok()) return std::move(id).status();
  id_.store(*id, std::memory_order_release);
  return handover_.Complete() ? absl::OkStatus() : DrainingError();
}

void EngineCall::CancelInEngine() {
  const RequestId id = request_id();
  if (id != 0) engine_->Cancel(id);
}

void EngineCall::Release() {
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace keyhole
