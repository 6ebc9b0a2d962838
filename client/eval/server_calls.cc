#include "client/eval/server_calls.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/eval/profile.h"
#include "client/eval/status.h"
#include "client/profile_names.h"

namespace keyhole::eval {
namespace {

constexpr int kWrittenTokens = 2;  // beyond the expected answer
constexpr int kChatTokens = 32;

// REQUIRES: CheckSettings took the profile.
void SetProfile(const std::string& text, v1::SelectionOptions* selection) {
  const Profile profile = ParseProfile(text).value_or(Profile());
  selection->set_profile(FindProfile(profile.name));
  if (profile.selected_tokens) selection->set_selected_tokens(*profile.selected_tokens);
}

v1::GenerateRequest MakeRequest(const Document& document,
                                const Question& question,
                                const std::string& profile) {
  v1::GenerateRequest request;
  auto* ids = request.mutable_token_ids()->mutable_ids();
  ids->Add(document.ids.begin(), document.ids.end());
  ids->Add(question.prompt.begin(), question.prompt.end());
  SetProfile(profile, request.mutable_selection());
  return request;
}

void FillUsage(const v1::Finished& finished, Row* row) {
  const auto& prefill = finished.timings().prefill();
  row->prefill_seconds += static_cast<double>(prefill.seconds()) + prefill.nanos() * 1e-9;
  if (row->prompt_tokens == 0) row->cached_tokens = finished.usage().cached_prompt_token_count();
  row->prompt_tokens = std::max(row->prompt_tokens, finished.usage().prompt_token_count());
}

// Whether `text` begins with the answer and the answer ends there.
bool BeginsWith(absl::string_view text, absl::string_view answer) {
  text = absl::StripLeadingAsciiWhitespace(text);
  if (!absl::ConsumePrefix(&text, absl::StripAsciiWhitespace(answer))) return false;
  return text.empty() || !absl::ascii_isalnum(static_cast<unsigned char>(text.front()));
}

}  // namespace

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const CallError error = DescribeError(status);
  const std::string reason = error.reason.empty() ? "" : absl::StrCat(" [", error.reason, "]");
  return {static_cast<absl::StatusCode>(error.code), absl::StrCat(error.message, reason)};
}

absl::StatusOr<TokenIds> ServerTokenizer::Tokenize(const std::string& text, Options options) {
  v1::TokenizeRequest request;
  request.set_text(text);
  request.set_add_special_tokens(options.add_special_tokens);
  request.set_parse_special_tokens(options.parse_special_tokens);
  v1::TokenizeResponse response;
  if (auto status = client_->Tokenize(request, call_, &response); !status.ok()) {
    return ToStatus(status);
  }
  return TokenIds(response.token_ids().begin(), response.token_ids().end());
}

absl::StatusOr<v1::GenerateResponse> Examiner::Call(const v1::GenerateRequest& request) {
  v1::GenerateResponse answer;
  const auto status =
      client_->StreamGenerate(request, call_, [&](const v1::StreamGenerateResponse& event) {
        if (event.has_progress() && reading_) {
          reading_(event.progress().done_token_count(), event.progress().total_token_count());
        }
        if (event.has_finished()) *answer.mutable_finished() = event.finished();
        if (!event.has_chunk()) return;
        answer.mutable_output()->mutable_text()->append(event.chunk().text());
        answer.mutable_output()->mutable_prompt_logprobs()->MergeFrom(
            event.chunk().prompt_logprobs());
      });
  if (!status.ok()) return ToStatus(status);
  return answer;
}

absl::Status Examiner::Score(const Document& document,
                             const Question& question,
                             const std::string& profile,
                             Row* row) {
  if (max_scored_ < 1) return absl::FailedPreconditionError("the server scores no prompt tokens");
  v1::GenerateRequest request = MakeRequest(document, question, profile);
  request.mutable_stopping()->set_max_output_tokens(1);
  request.mutable_output()->set_top_logprob_count(1);
  request.mutable_output()->set_report_progress(true);
  auto* ids = request.mutable_token_ids()->mutable_ids();
  const int size = static_cast<int>(question.answer.size());
  double sum = 0;
  bool exact = true;
  for (int begin = 0; begin < size; begin += max_scored_) {
    const int count = std::min(max_scored_, size - begin);
    request.mutable_output()->mutable_prompt_logprobs()->set_first(ids->size());
    request.mutable_output()->mutable_prompt_logprobs()->set_count(count);
    ids->Add(question.answer.begin() + begin, question.answer.begin() + begin + count);
    KEYHOLE_EVAL_ASSIGN(const v1::GenerateResponse answer, Call(request));
    if (answer.output().prompt_logprobs_size() != count) {
      return absl::InternalError(absl::StrCat(
          "asked for ", count, " scores, got ", answer.output().prompt_logprobs_size()));
    }
    for (const v1::TokenInfo& token : answer.output().prompt_logprobs()) {
      sum += token.chosen().logprob();
      exact = exact && token.top_size() > 0 && token.top(0).token_id() == token.chosen().token_id();
    }
    FillUsage(answer.finished(), row);
  }
  row->answer_tokens = size;
  row->exact = exact;
  row->logprob = sum / std::max(1, size);
  return absl::OkStatus();
}

absl::Status Examiner::Write(const Document& document,
                             const Question& question,
                             const std::string& profile,
                             Row* row) {
  v1::GenerateRequest request = MakeRequest(document, question, profile);
  request.mutable_stopping()->set_max_output_tokens(static_cast<int>(question.answer.size()) +
                                                    kWrittenTokens);
  KEYHOLE_EVAL_ASSIGN(const v1::GenerateResponse answer, Call(request));
  row->generated = answer.output().text();
  row->generated_exact = BeginsWith(row->generated, question.answer_text);
  FillUsage(answer.finished(), row);
  return absl::OkStatus();
}

absl::Status Examiner::Chat(const Document& document,
                            const Question& question,
                            const std::string& profile,
                            Row* row) {
  v1::DetokenizeRequest ids;
  ids.mutable_token_ids()->Add(document.ids.begin(), document.ids.end());
  v1::DetokenizeResponse text;
  if (auto status = client_->Detokenize(ids, call_, &text); !status.ok()) return ToStatus(status);
  v1::ChatRequest request;
  auto* message = request.add_messages();
  message->set_role("user");
  message->set_content(absl::StrCat(text.text(), "\n\n", question.text));
  request.mutable_stopping()->set_max_output_tokens(kChatTokens);
  SetProfile(profile, request.mutable_selection());
  v1::ChatResponse answer;
  if (auto status = client_->Chat(request, call_, &answer); !status.ok()) return ToStatus(status);
  row->generated = answer.message().content();
  row->generated_exact =
      absl::StrContains(row->generated, absl::StripAsciiWhitespace(question.answer_text));
  FillUsage(answer.finished(), row);
  return absl::OkStatus();
}

}  // namespace keyhole::eval
