// An engine whose events the test gives, for behaviour that a whole engine cannot be made to show.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/request/error.h"
#include "tests/support/byte_tokenizer.h"

namespace keyhole::testing {

// Thread: any.
class ScriptedEngine final : public Engine {
 public:
  // What Submit does with a request: it gets its id and sink, on the thread of Submit.
  using Script = std::function<absl::Status(RequestId, std::unique_ptr<ResponseSink>)>;

  explicit ScriptedEngine(Script script) : script_(std::move(script)) {
    model_.name = "scripted";
    model_.max_context = 4096;
    model_.max_prompt = 4095;
  }

  absl::StatusOr<RequestId> Submit(Request, std::unique_ptr<ResponseSink> sink) override {
    const RequestId id = next_id_.fetch_add(1);
    const absl::Status status = script_(id, std::move(sink));
    if (!status.ok()) return status;
    return id;
  }
  void Cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
  }
  absl::Status RunOnTextWorker(absl::AnyInvocable<void()> work, std::int64_t) override {
    if (!text_status_.ok()) return text_status_;
    work();
    return absl::OkStatus();
  }
  void Drain(absl::Time) override {}
  bool WaitIdle(absl::Time) override { return true; }
  EngineSnapshot Snapshot() const override {
    EngineSnapshot snapshot;
    snapshot.heartbeat = heartbeat_.load();
    const std::lock_guard lock(mutex_);
    snapshot.failure = failure_;
    return snapshot;
  }
  const ModelInfo& model() const override { return model_; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  absl::StatusOr<std::vector<TokenId>> TokenizePrompt(const Prompt&) const override {
    return std::vector<TokenId>{1, 2, 3};
  }

  std::vector<RequestId> cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }
  void Fail(absl::Status failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }
  void SetHeartbeat(absl::Time time) { heartbeat_ = time; }
  // Before any call.
  void RefuseText(absl::Status status) { text_status_ = std::move(status); }

 private:
  Script script_;
  ModelInfo model_;
  ByteTokenizer tokenizer_;
  absl::Status text_status_;
  std::atomic<RequestId> next_id_{1};
  std::atomic<absl::Time> heartbeat_{absl::InfiniteFuture()};
  mutable std::mutex mutex_;  // guards what follows
  std::vector<RequestId> cancelled_;
  absl::Status failure_;
};

}  // namespace keyhole::testing
