#include "engine/runtime/response_stream.h"

#include <iterator>
#include <utility>

namespace keyhole {

ResponseStream::ResponseStream(RequestId id,
                               const Request& request,
                               Instant submitted,
                               std::unique_ptr<ResponseSink> sink,
                               const StreamContext& context)
    : id_(id),
      client_request_id_(request.client_request_id),
      trace_parent_(request.trace_parent),
      output_(request.output),
      min_output_tokens_(request.stopping.min_output_tokens),
      context_(context),
      sink_(std::move(sink)),
      detokenizer_(context.tokenizer),
      stop_(request.stopping.stop, request.output.include_stop_text),
      submitted_(submitted) {}

void ResponseStream::Handle(std::vector<StreamEvent> events) {
  for (StreamEvent& event : events) {
    if (ended()) break;
    if (auto* start = std::get_if<StartEvent>(&event)) {
      HandleStart(*start);
    } else if (auto* progress = std::get_if<ProgressEvent>(&event)) {
      sink_->OnProgress(*progress);
    } else if (auto* token = std::get_if<TokenEvent>(&event)) {
      HandleToken(std::move(*token));
    } else {
      HandleEnd(std::move(std::get<EndEvent>(event)));
    }
  }
  FlushChunk();
}

void ResponseStream::HandleStart(const StartEvent& event) {
  started_ = event.time;
  prompt_tokens_ = event.started.prompt_tokens;
  cached_prompt_tokens_ = event.started.cached_prompt_tokens;
  sink_->OnStarted(event.started);
}

void ResponseStream::HandleToken(TokenEvent event) {
  ++output_tokens_;
  MeasureToken(event.time);
  selection_ = event.selection;
  if (!event.prompt_logprobs.empty()) chunk_.prompt_logprobs = std::move(event.prompt_logprobs);
  chunk_.text += CheckedText(event.token.chosen.token);
  if (output_.return_token_ids) chunk_.token_ids.push_back(event.token.chosen.token);
  if (output_.return_logprobs || output_.top_logprob_count > 0) {
    chunk_.logprobs.push_back(std::move(event.token));
  }
  if (ended_by_text()) {
    end_ = EndEvent{.status = absl::OkStatus(),
                    .reason = FinishReason::kStopSequence,
                    .prompt_tokens = prompt_tokens_,
                    .selection = selection_,
                    .time = event.time};
  }
}

std::string ResponseStream::CheckedText(TokenId token) {
  const std::string text = detokenizer_.Push(token);
  return output_tokens_ > min_output_tokens_ ? stop_.Push(text) : stop_.PushUnchecked(text);
}

void ResponseStream::MeasureToken(Instant time) {
  if (!first_token_) {
    first_token_ = time;
  } else if (context_.observer != nullptr) {
    context_.observer->OnInterToken(Between(last_token_, time));
  }
  last_token_ = time;
}

void ResponseStream::HandleEnd(EndEvent event) {
  if (event.status.ok()) {
    // An unfinished character may still complete a stop string.
    chunk_.text += stop_.Push(detokenizer_.Finish());
    chunk_.text += stop_.Finish();
    if (ended_by_text()) event.reason = FinishReason::kStopSequence;
  }
  selection_ = event.selection;
  if (event.prompt_tokens > 0) prompt_tokens_ = event.prompt_tokens;
  end_ = std::move(event);
}

void ResponseStream::FlushChunk() {
  if (chunk_.text.empty() && chunk_.token_ids.empty() && chunk_.logprobs.empty() &&
      chunk_.prompt_logprobs.empty()) {
    return;
  }
  sink_->OnChunk(std::exchange(chunk_, {}));
}

FinishedEvent ResponseStream::Finished() const {
  FinishedEvent finished;
  finished.reason = end_->reason;
  finished.matched_stop = stop_.matched().value_or("");
  finished.prompt_tokens = prompt_tokens_;
  finished.cached_prompt_tokens = cached_prompt_tokens_;
  finished.output_tokens = output_tokens_;
  finished.queue_time = Between(submitted_, started_.value_or(end_->time));
  if (started_) finished.prefill_time = Between(*started_, first_token_.value_or(end_->time));
  if (first_token_) finished.decode_time = Between(*first_token_, last_token_);
  if (output_.return_selection_stats) {
    const double layer_steps = static_cast<double>(selection_.steps) * context_.n_layers;
    finished.selection =
        SelectionStats{.steps = selection_.steps,
                       .mean_selected_tokens =
                           layer_steps > 0 ? static_cast<double>(selection_.rows) / layer_steps : 0,
                       .selection_time = absl::Seconds(selection_.seconds)};
  }
  return finished;
}

void ResponseStream::SendEnd() {
  FinishedEvent finished = Finished();
  if (context_.observer != nullptr) {
    RequestRecord record;
    record.id = id_;
    record.client_request_id = client_request_id_;
    record.trace_parent = trace_parent_;
    record.status = end_->status;
    record.started = started_.has_value();
    record.finished = finished;
    if (first_token_) record.time_to_first_token = Between(submitted_, *first_token_);
    if (output_tokens_ > 1) {
      record.time_per_output_token = Between(*first_token_, last_token_) / (output_tokens_ - 1);
    }
    context_.observer->OnRequestEnd(record);
  }
  if (end_->status.ok()) {
    sink_->OnFinished(finished);
  } else {
    sink_->OnFailed(end_->status);
  }
}

}  // namespace keyhole
