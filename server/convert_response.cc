#include "server/convert_response.h"

#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/fill_duration.h"
#include "server/request_bounds.h"

namespace keyhole {
namespace {

void FillLogprob(const TokenLogprob& logprob, v1::TokenLogprob* message) {
  message->set_token_id(logprob.token);
  message->set_logprob(logprob.logprob);
}

void FillTokenInfos(const std::vector<TokenInfo>& infos,
                    google::protobuf::RepeatedPtrField<v1::TokenInfo>* messages) {
  messages->Reserve(static_cast<int>(infos.size()));
  for (const TokenInfo& info : infos) {
    v1::TokenInfo* message = messages->Add();
    FillLogprob(info.chosen, message->mutable_chosen());
    for (const TokenLogprob& top : info.top) FillLogprob(top, message->add_top());
  }
}

v1::FinishReason ConvertReason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence:
      return v1::FINISH_REASON_END_OF_SEQUENCE;
    case FinishReason::kStopSequence:
      return v1::FINISH_REASON_STOP_SEQUENCE;
    case FinishReason::kStopToken:
      return v1::FINISH_REASON_STOP_TOKEN;
    case FinishReason::kMaxOutputTokens:
      return v1::FINISH_REASON_MAX_OUTPUT_TOKENS;
    case FinishReason::kContextLength:
      return v1::FINISH_REASON_CONTEXT_LENGTH;
    case FinishReason::kTimeLimit:
      return v1::FINISH_REASON_TIME_LIMIT;
    case FinishReason::kDrained:
      return v1::FINISH_REASON_DRAINED;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

void FillLimits(const ModelInfo& model, v1::Limits* limits) {
  limits->set_max_context_tokens(model.max_context);
  limits->set_max_prompt_tokens(model.max_prompt);
  limits->set_max_output_tokens(model.max_output);
  limits->set_default_max_output_tokens(model.default_max_output);
  limits->set_max_stop_sequences(kMaxStopSequences);
  limits->set_max_stop_sequence_bytes(kMaxStopSequenceBytes);
  limits->set_max_logit_biases(kMaxLogitBiases);
  limits->set_max_top_logprobs(kMaxTopLogprobs);
  limits->set_max_prompt_logprobs(model.max_prompt_logprobs);
  limits->set_max_chat_messages(kMaxChatMessages);
  limits->set_kv_capacity_tokens(model.kv_capacity);
  limits->set_max_selected_tokens(model.max_selected);
}

template <typename T>
void MoveInto(std::vector<T>&& from, std::vector<T>* to) {
  to->insert(to->end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void FillStarted(const StartedEvent& event, std::string_view model_revision, v1::Started* message) {
  message->set_request_id(absl::StrCat(event.request_id));
  message->set_model_revision(std::string(model_revision));
  message->set_prompt_token_count(event.prompt_tokens);
  message->set_cached_prompt_token_count(event.cached_prompt_tokens);
  message->set_seed(event.seed);
}

void FillProgress(const ProgressEvent& event, v1::Progress* message) {
  message->set_done_token_count(event.done_tokens);
  message->set_total_token_count(event.total_tokens);
}

void FillChunk(ChunkEvent&& event, v1::Chunk* message) {
  message->set_text(std::move(event.text));
  message->mutable_token_ids()->Add(event.token_ids.begin(), event.token_ids.end());
  FillTokenInfos(event.logprobs, message->mutable_logprobs());
  FillTokenInfos(event.prompt_logprobs, message->mutable_prompt_logprobs());
}

void FillFinished(const FinishedEvent& event, v1::Finished* message) {
  message->set_finish_reason(ConvertReason(event.reason));
  message->set_matched_stop(event.matched_stop);
  v1::Usage* usage = message->mutable_usage();
  usage->set_prompt_token_count(event.prompt_tokens);
  usage->set_cached_prompt_token_count(event.cached_prompt_tokens);
  usage->set_output_token_count(event.output_tokens);
  usage->set_total_token_count(event.prompt_tokens + event.output_tokens);
  FillDuration(event.queue_time, message->mutable_timings()->mutable_queue());
  FillDuration(event.prefill_time, message->mutable_timings()->mutable_prefill());
  FillDuration(event.decode_time, message->mutable_timings()->mutable_decode());
  if (event.selection) {
    v1::SelectionStats* stats = message->mutable_selection();
    stats->set_step_count(event.selection->steps);
    stats->set_mean_selected_token_count(event.selection->mean_selected_tokens);
    FillDuration(event.selection->selection_time, stats->mutable_selection_time());
  }
}

void FillModel(const ModelInfo& model, const EngineConfig& config, v1::GetModelResponse* message) {
  message->set_name(model.name);
  message->set_revision(model.revision);
  message->set_architecture(model.config.architecture);
  message->set_trained_context_tokens(static_cast<std::int32_t>(model.config.trained_length));
  message->set_vocabulary_size(static_cast<std::int32_t>(model.config.vocab_size));
  message->set_has_chat_template(model.has_chat_template);
  v1::SelectionInfo* selection = message->mutable_selection();
  selection->set_policy(model.policy);
  selection->set_initial_tokens(model.selection.initial);
  selection->set_local_tokens(model.selection.local);
  selection->set_selected_tokens(model.selection.selected);
  selection->set_positions(model.positions == PositionMode::kNative ? "native" : "rectified");
  FillLimits(model, message->mutable_limits());
  message->mutable_limits()->set_max_receive_bytes(MaxReceiveBytes(config.scheduler.max_context));
  message->set_server_version(KEYHOLE_VERSION);
}

void Append(ChunkEvent&& more, ChunkEvent* chunk) {
  chunk->text += more.text;
  MoveInto(std::move(more.token_ids), &chunk->token_ids);
  MoveInto(std::move(more.logprobs), &chunk->logprobs);
  MoveInto(std::move(more.prompt_logprobs), &chunk->prompt_logprobs);
}

}  // namespace keyhole
