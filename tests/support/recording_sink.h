// Keeps the events of one request and checks their order.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/request/response_sink.h"

namespace keyhole::testing {

// What a request got so far. Outlives its sink. Thread: any.
class Recording {
 public:
  struct Events {
    std::optional<StartedEvent> started;
    std::vector<ProgressEvent> progress;
    std::vector<ChunkEvent> chunks;
    std::optional<FinishedEvent> finished;
    std::optional<absl::Status> failed;
    std::vector<std::string> violations;  // of ResponseSink's rules of order

    bool over() const { return finished || failed; }
    std::string text() const;
    std::vector<TokenId> token_ids() const;
  };

  Events events() const;

  // Waits for the last event. Returns whether it came in time.
  bool WaitForEnd(absl::Duration longest = absl::Seconds(30)) const;
  bool WaitForText(absl::Duration longest = absl::Seconds(30)) const;

 private:
  friend class RecordingSink;

  template <class Condition>
  bool Wait(absl::Duration longest, Condition condition) const;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Events events_;
};

class RecordingSink final : public ResponseSink {
 public:
  explicit RecordingSink(std::shared_ptr<Recording> recording) : recording_(std::move(recording)) {}
  void OnStarted(const StartedEvent& event) override;
  void OnProgress(const ProgressEvent& event) override;
  void OnChunk(ChunkEvent event) override;
  void OnFinished(const FinishedEvent& event) override;
  void OnFailed(const absl::Status& status) override;

 private:
  template <class Change>
  void Record(const char* name, bool needs_start, Change change);

  std::shared_ptr<Recording> recording_;
};

}  // namespace keyhole::testing
