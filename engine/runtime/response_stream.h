// The text side of one request: token ids become chunks of text for its sink.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/request.h"
#include "engine/request/response_sink.h"
#include "engine/request/stop_checker.h"
#include "engine/runtime/clock.h"
#include "engine/runtime/stream_event.h"
#include "engine/telemetry/engine_observer.h"
#include "engine/tokenizer/incremental_detokenizer.h"
#include "engine/tokenizer/tokenizer.h"

namespace keyhole {

// What all streams share; outlives them.
struct StreamContext {
  const Tokenizer* tokenizer = nullptr;
  EngineObserver* observer = nullptr;  // may be null
  std::int32_t n_layers = 1;           // for the mean of selected rows
};

// A stop string may end the answer here while the engine still computes: later events are ignored,
// so that the answer does not depend on how far the engine got.
// Thread: one text worker at a time.
class ResponseStream {
 public:
  // Copies what it needs of `request`.
  ResponseStream(RequestId id,
                 const Request& request,
                 Instant submitted,
                 std::unique_ptr<ResponseSink> sink,
                 const StreamContext& context);

  // Takes events in order and sends what they give, tokens together in one chunk. The last event of
  // the request is kept back until SendEnd.
  void Handle(std::vector<StreamEvent> events);

  bool ended() const { return end_.has_value(); }
  bool ended_by_text() const { return stop_.matched().has_value(); }

  // Sends OnFinished or OnFailed. REQUIRES: ended(), once.
  void SendEnd();

 private:
  void HandleStart(const StartEvent& event);
  void HandleToken(TokenEvent event);
  void HandleEnd(EndEvent event);
  std::string CheckedText(TokenId token);
  void MeasureToken(Instant time);
  void FlushChunk();
  FinishedEvent Finished() const;

  const RequestId id_;
  const std::string client_request_id_;
  const std::string trace_parent_;
  const OutputParams output_;
  const std::int32_t min_output_tokens_;
  const StreamContext context_;
  std::unique_ptr<ResponseSink> sink_;
  IncrementalDetokenizer detokenizer_;
  StopChecker stop_;

  ChunkEvent chunk_;  // not sent yet
  std::int32_t prompt_tokens_ = 0;
  std::int32_t cached_prompt_tokens_ = 0;
  std::int32_t output_tokens_ = 0;
  Instant submitted_;
  std::optional<Instant> started_;
  std::optional<Instant> first_token_;
  Instant last_token_;
  SelectionTally selection_;
  std::optional<EndEvent> end_;
};

}  // namespace keyhole
