// The engine's door: all that server/ may use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine_config.h"
#include "engine/request/request.h"
#include "engine/request/response_sink.h"
#include "engine/selection/selection.h"
#include "engine/telemetry/engine_observer.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"

namespace keyhole {

// The loaded model and the limits that requests must obey.
struct ModelInfo {
  std::string name;
  std::string revision;  // hex SHA-256 of the model file
  ModelConfig config;
  std::string policy;
  SelectionSizes selection;  // of a request without wishes of its own
  PositionMode positions = PositionMode::kNative;
  std::int32_t max_context = 0;
  std::int32_t max_prompt = 0;
  std::int32_t max_output = 0;
  std::int32_t default_max_output = 0;
  std::int32_t max_prompt_logprobs = 0;
  std::int32_t max_selected = 0;  // a request's own budget is clamped to it
  std::int64_t kv_capacity = 0;   // tokens of all KV pages; filled in by the running engine
  bool has_chat_template = false;
};

// Owns the model, the KV pages and the engine's threads (engine, executor, text workers).
// Thread: every method may be called from any thread. None of them waits, save Create, WaitIdle,
// Close and the destructor; TokenizePrompt takes time linear in the prompt.
class Engine {
 public:
  // Loads the model, with the other ranks where it is tensor-parallel (worker.h). Errors:
  // INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED from the model file; RESOURCE_EXHAUSTED where memory
  // is short; UNAVAILABLE where a rank is missing. `observer` may be null and must outlive the
  // engine.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineConfig& config,
                                                        EngineObserver* observer);
  virtual ~Engine() = default;

  // What `selection.policy` of the settings may be.
  static std::vector<std::string> PolicyNames();

  // Queues a request for tokenising and admission; its events go to `sink`.
  // Errors (the sink is then never called): QUEUE_FULL, DRAINING, REQUEST_ID_IN_USE.
  virtual absl::StatusOr<RequestId> Submit(Request request, std::unique_ptr<ResponseSink> sink) = 0;

  // Stops a request; its pages are free within one step. The sink gets OnFailed(CANCELLED). Unknown
  // ids are ignored.
  virtual void Cancel(RequestId id) = 0;

  // Runs `work`, which holds `bytes` until it begins, on a text worker. Errors: QUEUE_FULL.
  virtual absl::Status RunOnTextWorker(absl::AnyInvocable<void()> work, std::int64_t bytes) = 0;

  // Refuses new requests from now on; running ones go on, at `deadline` they end with kDrained.
  virtual void Drain(absl::Time deadline) = 0;

  // Waits until no request is left. Returns whether that came before `deadline`.
  virtual bool WaitIdle(absl::Time deadline) = 0;

  // Lets other processes that work for this engine go. Call it when no request is left and none can
  // come.
  virtual void Close() {}

  virtual EngineSnapshot Snapshot() const = 0;
  virtual const ModelInfo& model() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;

  // Token ids of a prompt as Submit would see it. Call it on a text worker only.
  virtual absl::StatusOr<std::vector<TokenId>> TokenizePrompt(const Prompt& prompt) const = 0;
};

}  // namespace keyhole
