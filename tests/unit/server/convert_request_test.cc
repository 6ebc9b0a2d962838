#include "server/convert_request.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "engine/request/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/request_bounds.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// With the limits of a small model.
template <typename Message>
absl::StatusOr<Request> Convert(Message message) {
  ModelInfo model;
  model.name = "tiny";
  model.max_prompt = 9;
  return ConvertRequest(std::move(message), model);
}

v1::GenerateRequest TextRequest() {
  v1::GenerateRequest message;
  message.set_text("once");
  return message;
}

// One change of a request: within the bounds if `field` is empty, else refused with that field's
// name.
struct BoundCase {
  std::string name;
  std::function<void(v1::GenerateRequest*)> change;
  std::string field;
};

class BoundTest : public ::testing::TestWithParam<BoundCase> {};

TEST_P(BoundTest, IsEnforced) {
  v1::GenerateRequest message = TextRequest();
  GetParam().change(&message);
  const auto request = Convert(std::move(message));
  if (GetParam().field.empty()) {
    EXPECT_TRUE(request.ok()) << request.status();
    return;
  }
  ASSERT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
  const ErrorDetail detail = GetErrorDetail(request.status());
  EXPECT_EQ(detail.reason, reason::kInvalidParameter);
  EXPECT_EQ(detail.field, GetParam().field);
  EXPECT_EQ(request.status().message().find("once"), std::string::npos);
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

template <typename Setter>
BoundCase Sampling(std::string name, Setter set, std::string field) {
  return {std::move(name),
          [set](v1::GenerateRequest* r) { set(r->mutable_sampling()); },
          std::move(field)};
}

template <typename Setter>
BoundCase Stopping(std::string name, Setter set, std::string field) {
  return {std::move(name),
          [set](v1::GenerateRequest* r) { set(r->mutable_stopping()); },
          std::move(field)};
}

template <typename Setter>
BoundCase Output(std::string name, Setter set, std::string field) {
  return {std::move(name),
          [set](v1::GenerateRequest* r) { set(r->mutable_output()); },
          std::move(field)};
}

template <typename Setter>
BoundCase Top(std::string name, Setter set, std::string field) {
  return {std::move(name), set, std::move(field)};
}

std::string CaseName(const ::testing::TestParamInfo<BoundCase>& info) { return info.param.name; }

using S = v1::SamplingOptions;
const std::string kTemperature = "sampling.temperature";
const std::string kTopP = "sampling.top_p";
const std::string kMinP = "sampling.min_p";
const std::string kRepetition = "sampling.repetition_penalty";

INSTANTIATE_TEST_SUITE_P(
    Sampling,
    BoundTest,
    ::testing::Values(
        Sampling(
            "TemperatureLow", [](S* s) { s->set_temperature(0); }, ""),
        Sampling(
            "TemperatureHigh", [](S* s) { s->set_temperature(2); }, ""),
        Sampling(
            "TemperatureBelow", [](S* s) { s->set_temperature(-0.001F); }, kTemperature),
        Sampling(
            "TemperatureAbove", [](S* s) { s->set_temperature(2.001F); }, kTemperature),
        Sampling(
            "TemperatureNan", [](S* s) { s->set_temperature(kNan); }, kTemperature),
        Sampling(
            "TemperatureInf", [](S* s) { s->set_temperature(kInf); }, kTemperature),
        Sampling(
            "TopKZero", [](S* s) { s->set_top_k(0); }, ""),
        Sampling(
            "TopKBelow", [](S* s) { s->set_top_k(-1); }, "sampling.top_k"),
        Sampling(
            "TopPOne", [](S* s) { s->set_top_p(1); }, ""),
        Sampling(
            "TopPZero", [](S* s) { s->set_top_p(0); }, kTopP),
        Sampling(
            "TopPAbove", [](S* s) { s->set_top_p(1.001F); }, kTopP),
        Sampling(
            "TopPNan", [](S* s) { s->set_top_p(kNan); }, kTopP),
        Sampling(
            "MinPZero", [](S* s) { s->set_min_p(0); }, ""),
        Sampling(
            "MinPOne", [](S* s) { s->set_min_p(1); }, kMinP),
        Sampling(
            "MinPNan", [](S* s) { s->set_min_p(kNan); }, kMinP),
        Sampling(
            "RepetitionHigh", [](S* s) { s->set_repetition_penalty(2); }, ""),
        Sampling(
            "RepetitionZero", [](S* s) { s->set_repetition_penalty(0); }, kRepetition),
        Sampling(
            "RepetitionAbove", [](S* s) { s->set_repetition_penalty(2.1F); }, kRepetition),
        Sampling(
            "FrequencyLow", [](S* s) { s->set_frequency_penalty(-2); }, ""),
        Sampling(
            "FrequencyAbove",
            [](S* s) { s->set_frequency_penalty(2.1F); },
            "sampling.frequency_penalty"),
        Sampling(
            "PresenceLow", [](S* s) { s->set_presence_penalty(-2); }, ""),
        Sampling(
            "PresenceBelow",
            [](S* s) { s->set_presence_penalty(-2.1F); },
            "sampling.presence_penalty"),
        Sampling(
            "Biases300",
            [](S* s) {
              for (int i = 0; i < 300; ++i) s->add_logit_bias();
            },
            ""),
        Sampling(
            "Biases301",
            [](S* s) {
              for (int i = 0; i < 301; ++i) s->add_logit_bias();
            },
            "sampling.logit_bias"),
        Sampling(
            "BiasHigh", [](S* s) { s->add_logit_bias()->set_bias(100); }, ""),
        Sampling(
            "BiasAbove",
            [](S* s) { s->add_logit_bias()->set_bias(100.1F); },
            "sampling.logit_bias.bias"),
        Sampling(
            "BiasNan",
            [](S* s) { s->add_logit_bias()->set_bias(kNan); },
            "sampling.logit_bias.bias")),
    CaseName);

using T = v1::StoppingOptions;
const std::string kTimeLimit = "stopping.time_limit";

INSTANTIATE_TEST_SUITE_P(
    Stopping,
    BoundTest,
    ::testing::Values(
        Stopping(
            "MaxOne", [](T* s) { s->set_max_output_tokens(1); }, ""),
        Stopping(
            "MaxZero", [](T* s) { s->set_max_output_tokens(0); }, "stopping.max_output_tokens"),
        Stopping(
            "MaxNegative",
            [](T* s) { s->set_max_output_tokens(-5); },
            "stopping.max_output_tokens"),
        Stopping(
            "MinZero", [](T* s) { s->set_min_output_tokens(0); }, ""),
        Stopping(
            "MinNegative",
            [](T* s) { s->set_min_output_tokens(-1); },
            "stopping.min_output_tokens"),
        Stopping(
            "MinIsMax",
            [](T* s) {
              s->set_max_output_tokens(3);
              s->set_min_output_tokens(3);
            },
            ""),
        Stopping(
            "MinAboveMax",
            [](T* s) {
              s->set_max_output_tokens(3);
              s->set_min_output_tokens(4);
            },
            "stopping.min_output_tokens"),
        Stopping(
            "TimeShort", [](T* s) { s->mutable_time_limit()->set_nanos(1); }, ""),
        Stopping(
            "TimeDay", [](T* s) { s->mutable_time_limit()->set_seconds(86400); }, ""),
        Stopping(
            "TimeZero", [](T* s) { s->mutable_time_limit(); }, kTimeLimit),
        Stopping(
            "TimeNegative", [](T* s) { s->mutable_time_limit()->set_seconds(-1); }, kTimeLimit),
        Stopping(
            "TimeAbove", [](T* s) { s->mutable_time_limit()->set_seconds(86401); }, kTimeLimit),
        Stopping(
            "TimeHuge",
            [](T* s) {
              s->mutable_time_limit()->set_seconds(std::numeric_limits<std::int64_t>::max());
            },
            kTimeLimit),
        Stopping(
            "TimeBadNanos",
            [](T* s) { s->mutable_time_limit()->set_nanos(1'000'000'000); },
            kTimeLimit),
        Stopping(
            "Stops16",
            [](T* s) {
              for (int i = 0; i < 16; ++i) s->add_stop("x");
            },
            ""),
        Stopping(
            "Stops17",
            [](T* s) {
              for (int i = 0; i < 17; ++i) s->add_stop("x");
            },
            "stopping.stop"),
        Stopping(
            "Stop256", [](T* s) { s->add_stop(std::string(256, 'x')); }, ""),
        Stopping(
            "Stop257", [](T* s) { s->add_stop(std::string(257, 'x')); }, "stopping.stop"),
        Stopping(
            "StopEmpty", [](T* s) { s->add_stop(""); }, "stopping.stop"),
        Stopping(
            "StopIds16",
            [](T* s) {
              for (int i = 0; i < 16; ++i) s->add_stop_token_ids(i);
            },
            ""),
        Stopping(
            "StopIds17",
            [](T* s) {
              for (int i = 0; i < 17; ++i) s->add_stop_token_ids(i);
            },
            "stopping.stop_token_ids")),
    CaseName);

using O = v1::OutputOptions;
using R = v1::GenerateRequest;

INSTANTIATE_TEST_SUITE_P(
    OutputAndRest,
    BoundTest,
    ::testing::Values(
        Output(
            "Top20", [](O* o) { o->set_top_logprob_count(20); }, ""),
        Output(
            "Top21", [](O* o) { o->set_top_logprob_count(21); }, "output.top_logprob_count"),
        Output(
            "TopNegative", [](O* o) { o->set_top_logprob_count(-1); }, "output.top_logprob_count"),
        Top(
            "Id128", [](R* r) { r->set_client_request_id(std::string(128, 'i')); }, ""),
        Top(
            "Id129",
            [](R* r) { r->set_client_request_id(std::string(129, 'i')); },
            "client_request_id"),
        Top(
            "Scope128", [](R* r) { r->set_cache_scope(std::string(128, 'i')); }, ""),
        Top(
            "Scope129", [](R* r) { r->set_cache_scope(std::string(129, 'i')); }, "cache_scope"),
        Top(
            "PriorityLow", [](R* r) { r->set_priority(-10); }, ""),
        Top(
            "PriorityHigh", [](R* r) { r->set_priority(10); }, ""),
        Top(
            "PriorityBelow", [](R* r) { r->set_priority(-11); }, "priority"),
        Top(
            "PriorityAbove", [](R* r) { r->set_priority(11); }, "priority"),
        Top(
            "SelectedOne", [](R* r) { r->mutable_selection()->set_selected_tokens(1); }, ""),
        Top(
            "SelectedZero",
            [](R* r) { r->mutable_selection()->set_selected_tokens(0); },
            "selection.selected_tokens"),
        Top(
            "ProfileUnknown",
            [](R* r) { r->mutable_selection()->set_profile(static_cast<v1::AttentionProfile>(9)); },
            "selection.profile"),
        Top(
            "NoPrompt", [](R* r) { r->clear_prompt(); }, "prompt")),
    CaseName);

TEST(ConvertRequestTest, UnsetFieldsKeepTheEnginesDefaults) {
  const auto request = Convert(TextRequest());
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(std::get<std::string>(request->prompt), "once");
  EXPECT_EQ(request->sampling.temperature, 0);
  EXPECT_EQ(request->sampling.top_p, 1);
  EXPECT_EQ(request->sampling.repetition_penalty, 1);
  EXPECT_FALSE(request->sampling.has_penalties());
  EXPECT_FALSE(request->seed_given);
  EXPECT_FALSE(request->stopping.max_output_tokens.has_value());
  EXPECT_FALSE(request->stopping.time_limit.has_value());
  EXPECT_FALSE(request->output.prompt_logprobs.has_value());
  EXPECT_FALSE(request->selection.profile.has_value());
}

TEST(ConvertRequestTest, EveryFieldArrives) {
  v1::GenerateRequest message;
  message.mutable_token_ids()->add_ids(5);
  message.mutable_token_ids()->add_ids(6);
  message.set_client_request_id("me");
  message.set_cache_scope("scope");
  message.set_priority(3);
  message.mutable_sampling()->set_seed(7);
  message.mutable_sampling()->set_min_p(0.5F);
  auto* bias = message.mutable_sampling()->add_logit_bias();
  bias->set_token_id(9);
  bias->set_bias(-1.5F);
  message.mutable_stopping()->mutable_time_limit()->set_seconds(2);
  message.mutable_stopping()->mutable_time_limit()->set_nanos(500'000'000);
  message.mutable_stopping()->add_stop("end");
  message.mutable_stopping()->add_stop_token_ids(11);
  message.mutable_stopping()->set_ignore_eos(true);
  message.mutable_output()->set_top_logprob_count(2);
  message.mutable_output()->mutable_prompt_logprobs()->set_first(1);
  message.mutable_output()->mutable_prompt_logprobs()->set_count(1);
  message.mutable_selection()->set_profile(v1::ATTENTION_PROFILE_PROSE);
  const auto request = Convert(std::move(message));
  ASSERT_TRUE(request.ok());
  EXPECT_THAT(std::get<std::vector<TokenId>>(request->prompt), ElementsAre(5, 6));
  EXPECT_EQ(request->client_request_id, "me");
  EXPECT_EQ(request->cache_scope, "scope");
  EXPECT_EQ(request->priority, 3);
  EXPECT_TRUE(request->seed_given);
  EXPECT_EQ(request->sampling.seed, 7);
  EXPECT_EQ(request->sampling.logit_bias.at(0).token, 9);
  EXPECT_EQ(request->sampling.logit_bias.at(0).bias, -1.5F);
  EXPECT_EQ(request->stopping.time_limit, absl::Milliseconds(2500));
  EXPECT_THAT(request->stopping.stop, ElementsAre("end"));
  EXPECT_THAT(request->stopping.stop_token_ids, ElementsAre(11));
  EXPECT_TRUE(request->stopping.ignore_eos);
  EXPECT_TRUE(request->output.return_logprobs) << "implied by top_logprob_count";
  EXPECT_EQ(request->output.prompt_logprobs->first, 1);
  EXPECT_EQ(request->selection.profile, AttentionProfile::kProse);
}

TEST(ConvertRequestTest, ErrorsRepeatTheirNumbers) {
  v1::GenerateRequest message = TextRequest();
  message.mutable_sampling()->set_top_p(1.5F);
  EXPECT_THAT(GetErrorDetail(Convert(message).status()).metadata,
              ElementsAre(Pair("value", "1.5"), Pair("min", "0"), Pair("max", "1")));
  message = TextRequest();
  message.mutable_stopping()->mutable_time_limit()->set_seconds(86401);
  EXPECT_THAT(
      GetErrorDetail(Convert(message).status()).metadata,
      ElementsAre(
          Pair("seconds", "86401"), Pair("nanos", "0"), Pair("min", "0"), Pair("max", "24h")));
  message = TextRequest();
  message.set_cache_scope(std::string(129, 'i'));
  EXPECT_THAT(GetErrorDetail(Convert(message).status()).metadata,
              ElementsAre(Pair("bytes", "129"), Pair("max", "128")));
}

TEST(ConvertRequestTest, TooManyIdsAreRefusedUnread) {
  v1::GenerateRequest message;
  for (int i = 0; i < 9; ++i) message.mutable_token_ids()->add_ids(-1);
  EXPECT_TRUE(Convert(message).ok()) << "the vocabulary is the engine's to check";
  message.mutable_token_ids()->add_ids(-1);
  const ErrorDetail detail = GetErrorDetail(Convert(message).status());
  EXPECT_EQ(detail.reason, reason::kPromptTooLong);
  EXPECT_EQ(detail.field, "prompt");
  EXPECT_THAT(detail.metadata,
              ElementsAre(Pair("prompt_tokens", "10"), Pair("max_prompt_tokens", "9")));
  message.mutable_token_ids()->clear_ids();
  EXPECT_EQ(GetErrorDetail(Convert(message).status()).field, "prompt");
}

TEST(ConvertRequestTest, AnotherModelsNameIsNotFound) {
  v1::GenerateRequest message = TextRequest();
  message.set_model("tiny");
  EXPECT_TRUE(Convert(message).ok());
  message.set_model("other");
  EXPECT_EQ(Convert(message).status().code(), absl::StatusCode::kNotFound);
}

TEST(ConvertRequestTest, EveryOptionTellsUnsetFromZero) {
  for (const auto* type : {v1::SamplingOptions::descriptor(),
                           v1::StoppingOptions::descriptor(),
                           v1::OutputOptions::descriptor(),
                           v1::SelectionOptions::descriptor()}) {
    for (int i = 0; i < type->field_count(); ++i) {
      EXPECT_TRUE(type->field(i)->is_repeated() || type->field(i)->has_presence())
          << type->field(i)->full_name();
    }
  }
}

v1::ChatRequest Conversation(int messages, const std::string& role) {
  v1::ChatRequest request;
  for (int i = 0; i < messages; ++i) {
    auto* message = request.add_messages();
    message->set_role(role);
    message->set_content("hi");
  }
  return request;
}

TEST(ConvertChatTest, BoundsOfMessages) {
  EXPECT_TRUE(Convert(Conversation(1024, "user")).ok());
  EXPECT_EQ(GetErrorDetail(Convert(Conversation(1025, "user")).status()).field, "messages");
  EXPECT_EQ(GetErrorDetail(Convert(Conversation(0, "user")).status()).field, "messages");
  EXPECT_TRUE(Convert(Conversation(1, std::string(64, 'r'))).ok());
  EXPECT_EQ(GetErrorDetail(Convert(Conversation(1, std::string(65, 'r'))).status()).field,
            "messages.role");
  EXPECT_EQ(GetErrorDetail(Convert(Conversation(1, "")).status()).field, "messages.role");
}

TEST(CheckModelNameTest, EmptyOrTheServedName) {
  ModelInfo model;
  model.name = "tiny";
  EXPECT_TRUE(CheckModelName("", model).ok());
  EXPECT_TRUE(CheckModelName("tiny", model).ok());
  const absl::Status status = CheckModelName("other", model);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetErrorDetail(status).reason, reason::kModelNotFound);
}

TEST(MaxReceiveBytesTest, IsAboveTheLongestPromptAsIds) {
  EXPECT_GE(MaxReceiveBytes(2048), std::int64_t{8} << 20);
  for (const std::int64_t context : {2048, 131072, 1 << 20, 16 << 20}) {
    EXPECT_GT(MaxReceiveBytes(context), context * 5);
  }
  EXPECT_EQ(MaxReceiveBytes(0), MaxReceiveBytes(1 << 20));
}

}  // namespace
}  // namespace keyhole
