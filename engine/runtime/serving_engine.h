// The engine as a whole: threads, queues and the parts that they share.
#pragma once

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_dependencies.h"
#include "engine/runtime/engine_inbox.h"
#include "engine/runtime/executor_thread.h"
#include "engine/runtime/request_preparer.h"
#include "engine/runtime/request_registry.h"
#include "engine/runtime/response_hub.h"
#include "engine/runtime/step_loop.h"
#include "engine/runtime/text_worker.h"

namespace keyhole {

// Submit -> text worker (Prepare) -> inbox -> engine thread (StepLoop) <-> executor thread;
// events: engine thread -> ResponseHub -> text worker -> sink.
class ServingEngine final : public Engine {
 public:
  ServingEngine(const EngineConfig& config, EngineDependencies dependencies);

  // Ends every request, with kDrained or DRAINING, and calls its sink before it returns.
  ~ServingEngine() override;

  absl::StatusOr<RequestId> Submit(Request request, std::unique_ptr<ResponseSink> sink) override;
  void Cancel(RequestId id) override;
  absl::Status RunOnTextWorker(absl::AnyInvocable<void()> work, std::int64_t bytes) override;
  void Drain(absl::Time deadline) override;
  bool WaitIdle(absl::Time deadline) override;
  void Close() override { parts_.executor->Close(); }
  EngineSnapshot Snapshot() const override;
  const ModelInfo& model() const override { return parts_.model; }
  const Tokenizer& tokenizer() const override { return *parts_.tokenizer; }
  absl::StatusOr<std::vector<TokenId>> TokenizePrompt(const Prompt& prompt) const override;

 private:
  void Prepare(RequestId id, Request request, absl::Time submitted);
  void RunEngineThread();
  void PublishStatus();

  EngineDependencies parts_;
  const PromptEncoder encoder_;
  RequestRegistry registry_;
  const RequestPreparer preparer_;
  EngineInbox inbox_;

  mutable std::mutex status_mutex_;
  LoopStatus status_;  // guarded by status_mutex_

  // Engine thread only.
  PagePool pool_;
  std::unique_ptr<ExecutorThread> executor_;
  std::unique_ptr<StepLoop> loop_;

  // The hub's tasks run on the workers, which are declared after it and so stop before it goes.
  std::unique_ptr<ResponseHub> hub_;
  std::unique_ptr<TextWorkers> workers_;
  std::thread engine_thread_;
};

}  // namespace keyhole
