#include "engine/request/request_limits.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/request/error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::Status CheckAllIds(const Request& request,
                         std::span<const TokenId> prompt,
                         std::int32_t vocab_size) {
  KEYHOLE_RETURN_IF_ERROR(CheckTokenIds(prompt, vocab_size, "token_ids.ids"));
  KEYHOLE_RETURN_IF_ERROR(
      CheckTokenIds(request.stopping.stop_token_ids, vocab_size, "stopping.stop_token_ids"));
  std::vector<TokenId> biased;
  for (const LogitBias& bias : request.sampling.logit_bias) biased.push_back(bias.token);
  return CheckTokenIds(biased, vocab_size, "sampling.logit_bias.token_id");
}

absl::Status OutputTooLong(std::int32_t asked, std::int32_t prompt_len, std::int32_t room) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   absl::StrCat("A prompt of ",
                                prompt_len,
                                " tokens leaves room for ",
                                room,
                                " output tokens; ",
                                asked,
                                " were asked for."),
                   {.reason = std::string(reason::kOutputBudgetTooLong),
                    .field = "stopping.max_output_tokens",
                    .metadata = {{"prompt_tokens", absl::StrCat(prompt_len)},
                                 {"output_tokens", absl::StrCat(asked)},
                                 {"max_output_tokens", absl::StrCat(room)}}});
}

absl::Status CheckOutputBudget(const StoppingParams& stopping,
                               std::int32_t prompt_len,
                               const RequestLimits& limits) {
  const std::int32_t room = std::min(limits.max_output, limits.max_context - prompt_len);
  const std::int32_t asked = stopping.max_output_tokens.value_or(1);
  if (asked < 1) {
    return InvalidParameterError("stopping.max_output_tokens",
                                 "max_output_tokens must be at least 1.");
  }
  if (asked > room) return OutputTooLong(asked, prompt_len, room);
  const std::int32_t most = ResolveOutputBudget(stopping, prompt_len, limits).max_output;
  if (stopping.min_output_tokens >= 0 && stopping.min_output_tokens <= most) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      absl::StrCat("min_output_tokens must be in [0, ", most, "], the longest answer."),
      {.reason = std::string(reason::kInvalidParameter),
       .field = "stopping.min_output_tokens",
       .metadata = {{"min_output_tokens", absl::StrCat(stopping.min_output_tokens)},
                    {"max_output_tokens", absl::StrCat(most)}}});
}

absl::Status CheckPromptLogprobs(const PromptLogprobRange& range,
                                 std::int32_t prompt_len,
                                 const RequestLimits& limits) {
  constexpr std::string_view kField = "output.prompt_logprobs";
  if (range.count < 0 || range.count > limits.max_prompt_logprobs) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     absl::StrCat("At most ",
                                  limits.max_prompt_logprobs,
                                  " prompt tokens can be scored; ",
                                  range.count,
                                  " were asked for."),
                     {.reason = std::string(reason::kInvalidParameter),
                      .field = std::string(kField),
                      .metadata = {{"count", absl::StrCat(range.count)},
                                   {"max", absl::StrCat(limits.max_prompt_logprobs)}}});
  }
  if (range.count == 0) return absl::OkStatus();
  if (range.first < 1 || range.first > prompt_len - range.count) {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("The scored tokens must lie in [1, ", prompt_len, ") of the prompt."),
        {.reason = std::string(reason::kInvalidParameter),
         .field = std::string(kField),
         .metadata = {{"first", absl::StrCat(range.first)},
                      {"count", absl::StrCat(range.count)},
                      {"prompt_tokens", absl::StrCat(prompt_len)}}});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTokenIds(std::span<const TokenId> tokens,
                           std::int32_t vocab_size,
                           std::string_view field) {
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [vocab_size](TokenId token) {
    return token < 0 || token >= vocab_size;
  });
  if (bad == tokens.end()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument,
                   absl::StrCat("A token id is outside the vocabulary: ", *bad, "."),
                   {.reason = std::string(reason::kInvalidParameter),
                    .field = std::string(field),
                    .metadata = {{"token_id", absl::StrCat(*bad)},
                                 {"vocabulary_size", absl::StrCat(vocab_size)}}});
}

absl::Status CheckPromptLength(std::int64_t prompt_len, std::int32_t max_prompt) {
  if (prompt_len == 0) return InvalidParameterError("prompt", "The prompt has no tokens.");
  if (prompt_len <= max_prompt) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      absl::StrCat(
          "The prompt has ", prompt_len, " tokens; the longest allowed has ", max_prompt, "."),
      {.reason = std::string(reason::kPromptTooLong),
       .field = "prompt",
       .metadata = {{"prompt_tokens", absl::StrCat(prompt_len)},
                    {"max_prompt_tokens", absl::StrCat(max_prompt)}}});
}

absl::Status CheckRequest(const Request& request,
                          std::span<const TokenId> prompt,
                          const RequestLimits& limits) {
  KEYHOLE_RETURN_IF_ERROR(CheckPromptLength(std::ssize(prompt), limits.max_context - 1));
  KEYHOLE_RETURN_IF_ERROR(CheckAllIds(request, prompt, limits.vocab_size));
  const auto prompt_len = static_cast<std::int32_t>(prompt.size());
  KEYHOLE_RETURN_IF_ERROR(CheckOutputBudget(request.stopping, prompt_len, limits));
  if (!request.output.prompt_logprobs) return absl::OkStatus();
  return CheckPromptLogprobs(*request.output.prompt_logprobs, prompt_len, limits);
}

OutputBudget ResolveOutputBudget(const StoppingParams& stopping,
                                 std::int32_t prompt_len,
                                 const RequestLimits& limits) {
  if (stopping.max_output_tokens) return {.max_output = *stopping.max_output_tokens};
  const std::int32_t wanted = std::min(limits.default_max_output, limits.max_output);
  // A prompt that fills every page is refused by admission, with KV_CAPACITY.
  const std::int32_t room =
      std::max(1, std::min(limits.max_context, limits.kv_capacity) - prompt_len);
  if (room < wanted) return {.max_output = room, .when_reached = FinishReason::kContextLength};
  return {.max_output = wanted};
}

}  // namespace keyhole
