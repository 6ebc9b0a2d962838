// The engine's side of one generation call: submits, cancels, and keeps the reactor alive for both
// sides.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/request/response_sink.h"
#include "server/handover.h"

namespace keyhole {

// Two sides hold a reactor: gRPC until OnDone, and the engine until it lets go of the request's
// sink. The later one deletes it. Derived classes get the engine's events by overriding
// ResponseSink; after Submit succeeded exactly one of OnFinished and OnFailed comes. Thread: events
// come on a text worker, all else on gRPC's threads.
class EngineCall : public ResponseSink {
 public:
  EngineCall(const EngineCall&) = delete;
  EngineCall& operator=(const EngineCall&) = delete;

 protected:
  EngineCall() = default;
  ~EngineCall() override = default;

  // Errors: those of Engine::Submit; no event comes then.
  absl::Status Submit(Engine* engine, Request request);

  // Gives the request's pages back within a step. Nothing to do before Submit.
  void CancelInEngine();

  // 0 before Submit.
  RequestId request_id() const { return id_.load(std::memory_order_acquire); }

  // From OnDone.
  void Release();

 private:
  class Sink;

  std::atomic<int> holders_{1};
  Handover handover_;  // of the sink
  std::atomic<RequestId> id_{0};
  Engine* engine_ = nullptr;
};

}  // namespace keyhole
