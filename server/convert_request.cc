#include "server/convert_request.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/request/error.h"
#include "engine/request/request_limits.h"
#include "engine/status_macros.h"
#include "server/field_checks.h"
#include "server/request_bounds.h"
#include "server/status_map.h"

namespace keyhole {
namespace {

absl::Status ConvertPenalties(const v1::SamplingOptions& message, SamplingParams* sampling) {
  if (message.has_repetition_penalty()) {
    sampling->repetition_penalty = message.repetition_penalty();
    KEYHOLE_RETURN_IF_ERROR(CheckRange(
        "sampling.repetition_penalty", sampling->repetition_penalty, 0.0F, 2.0F, Ends::kUpper));
  }
  sampling->frequency_penalty = message.frequency_penalty();
  KEYHOLE_RETURN_IF_ERROR(
      CheckRange("sampling.frequency_penalty", sampling->frequency_penalty, -2.0F, 2.0F));
  sampling->presence_penalty = message.presence_penalty();
  return CheckRange("sampling.presence_penalty", sampling->presence_penalty, -2.0F, 2.0F);
}

absl::Status ConvertSampling(const v1::SamplingOptions& message, Request* request) {
  SamplingParams& sampling = request->sampling;
  sampling.temperature = message.temperature();
  KEYHOLE_RETURN_IF_ERROR(CheckRange("sampling.temperature", sampling.temperature, 0.0F, 2.0F));
  sampling.top_k = message.top_k();
  KEYHOLE_RETURN_IF_ERROR(
      CheckRange("sampling.top_k", sampling.top_k, 0, std::numeric_limits<std::int32_t>::max()));
  if (message.has_top_p()) {
    sampling.top_p = message.top_p();
    KEYHOLE_RETURN_IF_ERROR(CheckRange("sampling.top_p", sampling.top_p, 0.0F, 1.0F, Ends::kUpper));
  }
  sampling.min_p = message.min_p();
  KEYHOLE_RETURN_IF_ERROR(CheckRange("sampling.min_p", sampling.min_p, 0.0F, 1.0F, Ends::kLower));
  KEYHOLE_RETURN_IF_ERROR(ConvertPenalties(message, &sampling));
  request->seed_given = message.has_seed();
  sampling.seed = message.seed();
  KEYHOLE_RETURN_IF_ERROR(
      CheckCount("sampling.logit_bias", message.logit_bias_size(), kMaxLogitBiases));
  for (const v1::LogitBias& bias : message.logit_bias()) {
    KEYHOLE_RETURN_IF_ERROR(CheckRange("sampling.logit_bias.bias", bias.bias(), -100.0F, 100.0F));
    sampling.logit_bias.push_back({.token = bias.token_id(), .bias = bias.bias()});
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Duration> ConvertTimeLimit(const google::protobuf::Duration& message) {
  const bool valid = message.seconds() >= 0 && message.nanos() >= 0 &&
                     message.nanos() < 1'000'000'000 &&
                     message.seconds() <= absl::ToInt64Seconds(kMaxTimeLimit);
  const absl::Duration limit =
      valid ? absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos())
            : absl::ZeroDuration();
  if (limit <= absl::ZeroDuration() || limit > kMaxTimeLimit) {
    const std::string most = absl::FormatDuration(kMaxTimeLimit);
    return OutOfRange("stopping.time_limit",
                      absl::StrCat("(0, ", most, "]"),
                      {{"seconds", absl::StrCat(message.seconds())},
                       {"nanos", absl::StrCat(message.nanos())},
                       {"min", "0"},
                       {"max", most}});
  }
  return limit;
}

absl::Status ConvertStopping(v1::StoppingOptions&& message, StoppingParams* stopping) {
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  if (message.has_max_output_tokens()) {
    stopping->max_output_tokens = message.max_output_tokens();
    KEYHOLE_RETURN_IF_ERROR(
        CheckRange("stopping.max_output_tokens", message.max_output_tokens(), 1, kMost));
  }
  stopping->min_output_tokens = message.min_output_tokens();
  KEYHOLE_RETURN_IF_ERROR(CheckRange("stopping.min_output_tokens",
                                     stopping->min_output_tokens,
                                     0,
                                     stopping->max_output_tokens.value_or(kMost)));
  if (message.has_time_limit()) {
    KEYHOLE_ASSIGN_OR_RETURN(stopping->time_limit, ConvertTimeLimit(message.time_limit()));
  }
  KEYHOLE_RETURN_IF_ERROR(CheckCount("stopping.stop", message.stop_size(), kMaxStopSequences));
  for (std::string& text : *message.mutable_stop()) {
    if (text.empty()) return InvalidParameterError("stopping.stop", "A stop string is empty.");
    KEYHOLE_RETURN_IF_ERROR(CheckBytes("stopping.stop", text.size(), kMaxStopSequenceBytes));
    stopping->stop.push_back(std::move(text));
  }
  KEYHOLE_RETURN_IF_ERROR(
      CheckCount("stopping.stop_token_ids", message.stop_token_ids_size(), kMaxStopSequences));
  stopping->stop_token_ids.assign(message.stop_token_ids().begin(), message.stop_token_ids().end());
  stopping->ignore_eos = message.ignore_eos();
  return absl::OkStatus();
}

absl::Status ConvertOutput(const v1::OutputOptions& message, OutputParams* output) {
  output->return_token_ids = message.return_token_ids();
  output->top_logprob_count = message.top_logprob_count();
  KEYHOLE_RETURN_IF_ERROR(
      CheckRange("output.top_logprob_count", output->top_logprob_count, 0, kMaxTopLogprobs));
  output->return_logprobs = message.return_logprobs() || output->top_logprob_count > 0;
  if (message.has_prompt_logprobs()) {
    output->prompt_logprobs = PromptLogprobRange{.first = message.prompt_logprobs().first(),
                                                 .count = message.prompt_logprobs().count()};
  }
  output->include_stop_text = message.include_stop_text();
  output->return_selection_stats = message.return_selection_stats();
  output->report_progress = message.report_progress();
  return absl::OkStatus();
}

absl::Status ConvertSelection(const v1::SelectionOptions& message, SelectionParams* selection) {
  if (message.has_selected_tokens()) {
    selection->selected_tokens = message.selected_tokens();
    KEYHOLE_RETURN_IF_ERROR(CheckRange("selection.selected_tokens",
                                       message.selected_tokens(),
                                       1,
                                       std::numeric_limits<std::int32_t>::max()));
  }
  selection->force_full_attention = message.force_full_attention();
  switch (message.profile()) {
    case v1::ATTENTION_PROFILE_UNSPECIFIED:
      return absl::OkStatus();
    case v1::ATTENTION_PROFILE_RECALL:
      selection->profile = AttentionProfile::kRecall;
      return absl::OkStatus();
    case v1::ATTENTION_PROFILE_PROSE:
      selection->profile = AttentionProfile::kProse;
      return absl::OkStatus();
    case v1::ATTENTION_PROFILE_PAPER:
      selection->profile = AttentionProfile::kPaper;
      return absl::OkStatus();
    default:
      return InvalidParameterError("selection.profile", "selection.profile has no such value.");
  }
}

// The fields that GenerateRequest and ChatRequest share.
template <typename Message>
absl::Status ConvertCommon(Message&& message, const ModelInfo& model, Request* request) {
  KEYHOLE_RETURN_IF_ERROR(CheckModelName(message.model(), model));
  KEYHOLE_RETURN_IF_ERROR(
      CheckBytes("client_request_id", message.client_request_id().size(), kMaxIdBytes));
  KEYHOLE_RETURN_IF_ERROR(CheckBytes("cache_scope", message.cache_scope().size(), kMaxIdBytes));
  KEYHOLE_RETURN_IF_ERROR(CheckRange("priority", message.priority(), -kMaxPriority, kMaxPriority));
  KEYHOLE_RETURN_IF_ERROR(ConvertSampling(message.sampling(), request));
  KEYHOLE_RETURN_IF_ERROR(
      ConvertStopping(std::move(*message.mutable_stopping()), &request->stopping));
  KEYHOLE_RETURN_IF_ERROR(ConvertOutput(message.output(), &request->output));
  KEYHOLE_RETURN_IF_ERROR(ConvertSelection(message.selection(), &request->selection));
  request->client_request_id = std::move(*message.mutable_client_request_id());
  request->cache_scope = std::move(*message.mutable_cache_scope());
  request->priority = message.priority();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Request> ConvertRequest(v1::GenerateRequest&& message, const ModelInfo& model) {
  Request request;
  KEYHOLE_RETURN_IF_ERROR(ConvertCommon(message, model, &request));
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText:
      request.prompt = std::move(*message.mutable_text());
      break;
    case v1::GenerateRequest::kTokenIds: {
      const auto& ids = message.token_ids().ids();
      KEYHOLE_RETURN_IF_ERROR(CheckPromptLength(ids.size(), model.max_prompt));
      request.prompt = std::vector<TokenId>(ids.begin(), ids.end());
      break;
    }
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return InvalidParameterError("prompt", "One of text and token_ids must be set.");
  }
  return request;
}

absl::StatusOr<Request> ConvertRequest(v1::ChatRequest&& message, const ModelInfo& model) {
  Request request;
  KEYHOLE_RETURN_IF_ERROR(ConvertCommon(message, model, &request));
  KEYHOLE_ASSIGN_OR_RETURN(request.prompt, ConvertMessages(std::move(*message.mutable_messages())));
  return request;
}

absl::StatusOr<ChatPrompt> ConvertMessages(
    google::protobuf::RepeatedPtrField<v1::ChatMessage>&& messages) {
  if (messages.empty()) {
    return InvalidParameterError("messages", "A conversation needs at least one message.");
  }
  KEYHOLE_RETURN_IF_ERROR(CheckCount("messages", messages.size(), kMaxChatMessages));
  ChatPrompt prompt;
  prompt.reserve(messages.size());
  for (v1::ChatMessage& message : messages) {
    if (message.role().empty()) return InvalidParameterError("messages.role", "A role is empty.");
    KEYHOLE_RETURN_IF_ERROR(CheckBytes("messages.role", message.role().size(), kMaxRoleBytes));
    prompt.push_back({.role = std::move(*message.mutable_role()),
                      .content = std::move(*message.mutable_content())});
  }
  return prompt;
}

absl::Status CheckModelName(const std::string& name, const ModelInfo& model) {
  if (name.empty() || name == model.name) return absl::OkStatus();
  return ModelNotFoundError();
}

}  // namespace keyhole
