// Every method over a real connection: answers, errors, deadlines, cancellation.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "engine/request/error.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/scripted_engine.h"
#include "tests/integration/test_server.h"

namespace keyhole::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

FakeEngineOptions Endless(absl::Duration step_delay = absl::Milliseconds(2)) {
  FakeEngineOptions options;
  options.model.answer = FakeModelOptions::Answer::kHash;
  options.model.step_delay = step_delay;
  return options;
}

v1::GenerateRequest Echo(const std::string& text) {
  v1::GenerateRequest request;
  request.set_text(text);
  return request;
}

TEST(GenerateTest, WholeAnswer) {
  TestServer server;
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.stub().Generate(&context, Echo("hello"), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.output().text(), "hello");
  EXPECT_EQ(response.started().prompt_token_count(), 5);
  EXPECT_EQ(response.started().model_revision(), std::string(64, 'f'));
  EXPECT_FALSE(response.started().request_id().empty());
  EXPECT_EQ(response.finished().finish_reason(), v1::FINISH_REASON_END_OF_SEQUENCE);
  EXPECT_EQ(response.finished().usage().prompt_token_count(), 5);
  EXPECT_TRUE(server.IsClean());
}

TEST(GenerateTest, IdsAndLogprobsIfAskedFor) {
  TestServer server;
  grpc::ClientContext context;
  v1::GenerateRequest request = Echo("abc");
  request.mutable_output()->set_return_token_ids(true);
  request.mutable_output()->set_return_logprobs(true);
  v1::GenerateResponse response;
  ASSERT_TRUE(server.stub().Generate(&context, request, &response).ok());
  ASSERT_GE(response.output().token_ids_size(), 3);
  EXPECT_EQ(response.output().token_ids(0), 'a');
  EXPECT_EQ(response.output().logprobs_size(), response.output().token_ids_size());
}

TEST(ChatTest, AnswersAsTheAssistant) {
  TestServer server;
  grpc::ClientContext context;
  v1::ChatRequest request;
  auto* message = request.add_messages();
  message->set_role("user");
  message->set_content("hi");
  v1::ChatResponse response;
  const grpc::Status status = server.stub().Chat(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.message().role(), "assistant");
  EXPECT_THAT(response.message().content(), HasSubstr("hi"));
  EXPECT_TRUE(response.output().text().empty());
}

TEST(StreamTest, StartedChunksFinished) {
  TestServer server;
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = Echo("streaming");
  auto reader = server.stub().StreamGenerate(&context, request);
  std::vector<v1::StreamGenerateResponse> messages;
  for (v1::StreamGenerateResponse message; reader->Read(&message);) messages.push_back(message);
  ASSERT_TRUE(reader->Finish().ok());
  ASSERT_GE(messages.size(), 3);
  EXPECT_TRUE(messages.front().has_started());
  EXPECT_TRUE(messages.back().has_finished());
  std::string text;
  for (std::size_t i = 1; i + 1 < messages.size(); ++i) {
    ASSERT_TRUE(messages[i].has_chunk());
    text += messages[i].chunk().text();
  }
  EXPECT_EQ(text, "streaming");
}

TEST(StreamTest, ChatStreamsItsOwnType) {
  TestServer server;
  grpc::ClientContext context;
  v1::StreamChatRequest request;
  auto* message = request.mutable_request()->add_messages();
  message->set_role("user");
  message->set_content("hi");
  auto reader = server.stub().StreamChat(&context, request);
  v1::StreamChatResponse first;
  ASSERT_TRUE(reader->Read(&first));
  EXPECT_TRUE(first.has_started());
  v1::StreamChatResponse last;
  while (reader->Read(&last)) {
  }
  EXPECT_TRUE(last.has_finished());
  EXPECT_TRUE(reader->Finish().ok());
}

TEST(GenerateTest, TooManyIdsAreRefusedAsTooMuchTextIs) {
  TestServer server;
  v1::GenerateRequest request;
  request.mutable_token_ids()->mutable_ids()->Resize(4096, 'x');
  v1::GenerateResponse response;
  grpc::ClientContext c1;
  const grpc::Status ids = server.stub().Generate(&c1, request, &response);
  EXPECT_EQ(ReasonOf(ids), reason::kPromptTooLong);
  grpc::ClientContext c2;
  const grpc::Status text = server.stub().Generate(&c2, Echo(std::string(4096, 'x')), &response);
  EXPECT_EQ(ReasonOf(text), reason::kPromptTooLong);
  EXPECT_EQ(ids.error_message(), text.error_message());
}

TEST(StreamTest, ARefusedCallHasNoMessages) {
  TestServer server;
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = Echo(std::string(5000, 'x'));
  auto reader = server.stub().StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  EXPECT_FALSE(reader->Read(&message));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), reason::kPromptTooLong);
}

TEST(TextTest, TokenizeDetokenizeCount) {
  TestServer server;
  v1::TokenizeRequest tokenize;
  tokenize.set_text("abc");
  v1::TokenizeResponse tokens;
  grpc::ClientContext c1;
  ASSERT_TRUE(server.stub().Tokenize(&c1, tokenize, &tokens).ok());
  EXPECT_THAT(tokens.token_ids(), ElementsAre('a', 'b', 'c'));

  v1::DetokenizeRequest detokenize;
  *detokenize.mutable_token_ids() = tokens.token_ids();
  v1::DetokenizeResponse text;
  grpc::ClientContext c2;
  ASSERT_TRUE(server.stub().Detokenize(&c2, detokenize, &text).ok());
  EXPECT_EQ(text.text(), "abc");

  v1::CountTokensRequest count;
  count.set_text("abcd");
  v1::CountTokensResponse counted;
  grpc::ClientContext c3;
  ASSERT_TRUE(server.stub().CountTokens(&c3, count, &counted).ok());
  EXPECT_EQ(counted.token_count(), 4);

  auto* message = count.mutable_conversation()->add_messages();
  message->set_role("user");
  message->set_content("abcd");
  grpc::ClientContext c4;
  ASSERT_TRUE(server.stub().CountTokens(&c4, count, &counted).ok());
  EXPECT_GT(counted.token_count(), 4);
}

TEST(TextTest, IdsOutsideTheVocabularyAreRefused) {
  TestServer server;
  for (const int id : {-1, 259}) {
    v1::DetokenizeRequest request;
    request.add_token_ids(id);
    v1::DetokenizeResponse response;
    grpc::ClientContext context;
    const grpc::Status status = server.stub().Detokenize(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(ReasonOf(status), reason::kInvalidParameter);
  }
}

TEST(TextTest, MoreIdsThanTheContextHasAreRefused) {
  TestServer server;
  v1::DetokenizeRequest request;
  request.mutable_token_ids()->Resize(4096, 'x');
  v1::DetokenizeResponse response;
  grpc::ClientContext c1;
  ASSERT_TRUE(server.stub().Detokenize(&c1, request, &response).ok());
  EXPECT_EQ(response.text(), std::string(4096, 'x'));
  request.add_token_ids('x');
  grpc::ClientContext c2;
  const grpc::Status status = server.stub().Detokenize(&c2, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), reason::kInvalidParameter);
  EXPECT_THAT(status.error_message(), HasSubstr("token_ids takes at most 4096 entries."));
}

TEST(TextTest, AFullQueueRefusesOnce) {
  auto engine = std::make_unique<ScriptedEngine>(nullptr);
  engine->RefuseText(MakeError(absl::StatusCode::kResourceExhausted,
                               "Full.",
                               {.reason = std::string(reason::kQueueFull),
                                .field = "",
                                .retry_after = absl::Seconds(1),
                                .metadata = {}}));
  TestServer server([&](const EngineConfig&, EngineObserver*) { return std::move(engine); },
                    TestServerConfig());
  server.WaitLoaded();
  grpc::ClientContext context;
  v1::TokenizeResponse response;
  const grpc::Status status = server.stub().Tokenize(&context, {}, &response);
  EXPECT_EQ(ReasonOf(status), reason::kQueueFull);
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto pushback = trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, trailers.end());
  EXPECT_EQ(std::string(pushback->second.data(), pushback->second.size()), "1000");
}

TEST(ModelTest, TellsLimitsAndRefusesOtherNames) {
  TestServer server;
  v1::GetModelResponse model;
  grpc::ClientContext c1;
  ASSERT_TRUE(server.stub().GetModel(&c1, {}, &model).ok());
  EXPECT_EQ(model.name(), "fake");
  EXPECT_EQ(model.limits().max_context_tokens(), 4096);
  EXPECT_EQ(model.limits().kv_capacity_tokens(), 1024 * EngineConfig().kv.page_size);

  v1::GetModelRequest other;
  other.set_model("other");
  grpc::ClientContext c2;
  EXPECT_EQ(ReasonOf(server.stub().GetModel(&c2, other, &model)), reason::kModelNotFound);

  v1::GenerateRequest request = Echo("x");
  request.set_model("other");
  grpc::ClientContext c3;
  v1::GenerateResponse response;
  const grpc::Status status = server.stub().Generate(&c3, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(ErrorTest, TheEnginesChecksReachTheClient) {
  TestServer server;
  v1::GenerateResponse response;
  grpc::ClientContext c1;
  v1::GenerateRequest too_much = Echo("x");
  too_much.mutable_stopping()->set_max_output_tokens(4096);
  EXPECT_EQ(ReasonOf(server.stub().Generate(&c1, too_much, &response)),
            reason::kOutputBudgetTooLong);

  grpc::ClientContext c2;
  v1::GenerateRequest bad_id;
  bad_id.mutable_token_ids()->add_ids(259);
  EXPECT_EQ(ReasonOf(server.stub().Generate(&c2, bad_id, &response)), reason::kInvalidParameter);

  grpc::ClientContext c3;
  EXPECT_EQ(ReasonOf(server.stub().Generate(&c3, {}, &response)), reason::kInvalidParameter);

  grpc::ClientContext c4;
  EXPECT_EQ(ReasonOf(server.stub().Generate(&c4, Echo(""), &response)), reason::kInvalidParameter);
}

TEST(ErrorTest, AFaultOfTheEngineIsInternalWithoutItsText) {
  std::atomic<RequestId> id{0};
  FakeEngineOptions options;
  options.model.before_sequence = [&id](const SequenceSlice& slice) {
    id = slice.id;
    return absl::InternalError("secret cause");
  };
  TestServer server(std::move(options));
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.stub().Generate(&context, Echo("x"), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(ReasonOf(status), reason::kInternal);
  EXPECT_EQ(status.error_message().find("secret"), std::string::npos);
  const google::rpc::ErrorInfo info = ErrorInfoOf(status);
  ASSERT_TRUE(info.metadata().contains("request_id"));
  EXPECT_EQ(info.metadata().at("request_id"), std::to_string(id.load()));
  EXPECT_TRUE(server.IsClean());
}

TEST(ErrorTest, ARequestBeyondTheKvCapacityIsToldNoTimeToComeBack) {
  FakeEngineOptions options;
  options.n_pages = 2;
  TestServer server(std::move(options));
  v1::GetModelResponse model;
  grpc::ClientContext c1;
  ASSERT_TRUE(server.stub().GetModel(&c1, {}, &model).ok());
  v1::GenerateRequest request = Echo("x");
  request.mutable_stopping()->set_max_output_tokens(
      static_cast<std::int32_t>(model.limits().kv_capacity_tokens()));
  v1::GenerateResponse response;
  grpc::ClientContext c2;
  const grpc::Status status = server.stub().Generate(&c2, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), reason::kKvCapacity);
  EXPECT_EQ(c2.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 0);
}

TEST(ErrorTest, ARunningIdIsRefused) {
  TestServer server(Endless());
  v1::StreamGenerateRequest request;
  *request.mutable_request() = EndlessRequest();
  request.mutable_request()->set_client_request_id("same");
  grpc::ClientContext first;
  auto reader = server.stub().StreamGenerate(&first, request);
  v1::StreamGenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  grpc::ClientContext second;
  v1::GenerateResponse response;
  const grpc::Status status = server.stub().Generate(&second, request.request(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ReasonOf(status), reason::kRequestIdInUse);
  first.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(ErrorTest, AFullQueueTellsWhenToComeBack) {
  FakeEngineOptions options = Endless(absl::Milliseconds(20));
  options.config.scheduler.max_running = 1;
  options.config.scheduler.max_queued_requests = 1;
  TestServer server(std::move(options));
  constexpr int kCalls = 6;
  grpc::ClientContext contexts[kCalls];
  grpc::Status statuses[kCalls];
  std::atomic<int> ended{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kCalls; ++i) {
    clients.emplace_back([&, i] {
      v1::GenerateResponse response;
      statuses[i] = server.stub().Generate(&contexts[i], EndlessRequest(), &response);
      ++ended;
    });
  }
  // One runs, one waits, one may just be on its way; the rest are refused while those go on.
  EXPECT_TRUE(Eventually([&] { return ended >= kCalls - 3; }));
  const int refused = ended;
  for (grpc::ClientContext& context : contexts) context.TryCancel();
  for (std::thread& client : clients) client.join();
  int with_reason = 0;
  for (int i = 0; i < kCalls; ++i) {
    if (statuses[i].error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) continue;
    EXPECT_EQ(ReasonOf(statuses[i]), reason::kQueueFull);
    EXPECT_EQ(contexts[i].GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1);
    ++with_reason;
  }
  EXPECT_GE(with_reason, refused);
  EXPECT_TRUE(server.IsClean());
}

TEST(CancelTest, FreesPagesAtOnce) {
  TestServer server(Endless(), TestServerConfigWithMetrics());
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = EndlessRequest();
  auto reader = server.stub().StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  // The state is published after the output of a step.
  EXPECT_TRUE(Eventually([&] { return server.engine().Snapshot().kv_pages_used > 0; }));
  context.TryCancel();
  EXPECT_TRUE(server.IsClean());  // though the answer would never end
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] {
    return server.Scrape().find("keyhole_stream_aborted_total{cause=\"cancel\"} 1") !=
           std::string::npos;
  }));
}

// Where a call is when its deadline passes.
struct DeadlineCase {
  std::string name;
  absl::Duration step_delay;
  int prompt_bytes;
  bool behind_another;  // one request runs at a time, and one runs
};

class DeadlineTest : public ::testing::TestWithParam<DeadlineCase> {};

TEST_P(DeadlineTest, EndsTheCallAndFreesPages) {
  FakeEngineOptions options = Endless(GetParam().step_delay);
  options.config.scheduler.max_running = 1;
  options.config.scheduler.chunk_size = 64;
  TestServer server(std::move(options));
  grpc::ClientContext other_context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = EndlessRequest();
  std::unique_ptr<grpc::ClientReader<v1::StreamGenerateResponse>> other;
  if (GetParam().behind_another) {
    other = server.stub().StreamGenerate(&other_context, request);
    v1::StreamGenerateResponse message;
    ASSERT_TRUE(other->Read(&message));
  }
  request.mutable_request()->set_text(std::string(GetParam().prompt_bytes, 'x'));
  request.mutable_request()->mutable_stopping()->set_max_output_tokens(1000);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(300)));
  auto reader = server.stub().StreamGenerate(&context, request);
  for (v1::StreamGenerateResponse message; reader->Read(&message);) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  other_context.TryCancel();
  EXPECT_TRUE(server.IsClean());
  if (other) {
    EXPECT_EQ(other->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Where,
    DeadlineTest,
    ::testing::Values(DeadlineCase{"Queue", absl::Milliseconds(5), 10, true},
                      DeadlineCase{"Prefill", absl::Milliseconds(50), 3000, false},
                      DeadlineCase{"Decode", absl::Milliseconds(5), 10, false}),
    [](const auto& test) { return test.param.name; });

TEST(TimeLimitTest, EndsWithOkAndTheTextSoFar) {
  TestServer server(Endless());
  v1::GenerateRequest request = EndlessRequest();
  request.mutable_stopping()->mutable_time_limit()->set_nanos(200'000'000);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  ASSERT_TRUE(server.stub().Generate(&context, request, &response).ok());
  EXPECT_EQ(response.finished().finish_reason(), v1::FINISH_REASON_TIME_LIMIT);
  EXPECT_GT(response.finished().usage().output_token_count(), 0);
}

TEST(TwoClientsTest, GetTheSameBytesAsEachAlone) {
  FakeEngineOptions options = Endless(absl::Milliseconds(1));
  TestServer server(std::move(options));
  const auto ask = [&server](const std::string& text) {
    v1::GenerateRequest request = Echo(text);
    request.mutable_sampling()->set_seed(1);
    request.mutable_stopping()->set_max_output_tokens(200);
    request.mutable_stopping()->set_ignore_eos(true);
    grpc::ClientContext context;
    v1::GenerateResponse response;
    EXPECT_TRUE(server.stub().Generate(&context, request, &response).ok());
    return response.output().text();
  };
  const std::string one = ask("first prompt");
  const std::string two = ask("second prompt");
  std::string one_again;
  std::string two_again;
  std::thread other([&] { two_again = ask("second prompt"); });
  one_again = ask("first prompt");
  other.join();
  EXPECT_EQ(one, one_again);
  EXPECT_EQ(two, two_again);
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace keyhole::testing
