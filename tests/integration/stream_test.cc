// The reactors on their own: slow readers, coalescing, engines that let go.
#include <memory>
#include <mutex>
#include <string>

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

// A server over an engine that hands its requests' sinks to the test.
class ScriptedStreamTest : public ::testing::Test {
 protected:
  // Ready for a stream.
  void Serve(StreamLimits limits) {
    StartServer(limits);
    v1::StreamGenerateRequest request;
    request.mutable_request()->set_text("x");
    reader_ = server_->stub().StreamGenerate(&context_, request);
    WaitForRequest();
  }

  void StartServer(StreamLimits limits) {
    ServerConfig config = TestServerConfigWithMetrics();
    config.stream = limits;
    server_ = std::make_unique<TestServer>(
        [this](const EngineConfig&, EngineObserver*) -> absl::StatusOr<std::unique_ptr<Engine>> {
          auto engine = std::make_unique<ScriptedEngine>(
              [this](RequestId, std::unique_ptr<ResponseSink> sink) {
                const std::lock_guard lock(mutex_);
                sink_ = std::move(sink);
                return absl::OkStatus();
              });
          engine_ = engine.get();
          return engine;
        },
        config);
    server_->WaitLoaded();
  }

  void WaitForRequest() {
    ASSERT_TRUE(Eventually([this] {
      const std::lock_guard lock(mutex_);
      return sink_ != nullptr;
    }));
  }

  // Whether one answer was given up because nobody read it, now or soon.
  bool IsGivenUp() {
    return Eventually(
        [this] { return server_->Scrape().find("cause=\"slow_reader\"} 1") != std::string::npos; });
  }

  void TearDown() override {
    sink_.reset();
    reader_.reset();
    server_.reset();
  }

  std::mutex mutex_;
  std::unique_ptr<ResponseSink> sink_;
  ScriptedEngine* engine_ = nullptr;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::StreamGenerateResponse>> reader_;
  std::unique_ptr<TestServer> server_;
};

ChunkEvent Chunk(std::string text) {
  return {.text = std::move(text), .token_ids = {}, .logprobs = {}, .prompt_logprobs = {}};
}

// Before it pushes back, the transport takes some 4 MB; the rest must stay below what a client
// takes in one message.
constexpr int kPieceBytes = 256 << 10;
constexpr int kPieces = 24;

TEST_F(ScriptedStreamTest, AReaderThatStopsIsCancelledAloneAndLearnsWhy) {
  // A second between being cancelled and being cut off, for the client to begin reading.
  Serve({.stall = absl::Seconds(2), .outbox_bytes = std::size_t{16} << 20});
  sink_->OnStarted({.request_id = 1});
  for (int i = 0; i < kPieces; ++i) {
    sink_->OnChunk(Chunk(std::string(kPieceBytes, 'x')));
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_TRUE(Eventually([this] { return !engine_->cancelled().empty(); }));
  EXPECT_THAT(engine_->cancelled(), ::testing::Each(1));
  sink_->OnFailed(CancelledError());
  for (v1::StreamGenerateResponse message; reader_->Read(&message);) {
  }
  const grpc::Status status = reader_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED) << status.error_message();
  EXPECT_EQ(ReasonOf(status), reason::kSlowReader);
  EXPECT_THAT(server_->Scrape(), HasSubstr("cause=\"slow_reader\"} 1"));
}

TEST_F(ScriptedStreamTest, AReaderThatNeverComesBackIsCutOff) {
  Serve({.stall = absl::Milliseconds(200), .outbox_bytes = std::size_t{16} << 20});
  sink_->OnStarted({.request_id = 1});
  for (int i = 0; i < kPieces; ++i) {
    sink_->OnChunk(Chunk(std::string(kPieceBytes, 'x')));
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_TRUE(Eventually([this] { return !engine_->cancelled().empty(); }));
  sink_.reset();
  // The engine's work is over and the count says so although nobody reads.
  EXPECT_TRUE(IsGivenUp());
}

// Of one message: far more than the transport takes, no more than a write may have.
constexpr std::size_t kHugeBytes = std::size_t{48} << 20;
constexpr StreamLimits kShortStall = {.stall = absl::Milliseconds(200),
                                      .outbox_bytes = std::size_t{64} << 20};

TEST_F(ScriptedStreamTest, AReaderThatLeavesTheLastMessageIsCutOff) {
  Serve(kShortStall);
  sink_->OnStarted({.request_id = 1});
  FinishedEvent finished;
  finished.matched_stop = std::string(kHugeBytes, 'x');
  sink_->OnFinished(finished);
  sink_.reset();
  EXPECT_TRUE(IsGivenUp());
  for (v1::StreamGenerateResponse message; reader_->Read(&message);) {
  }
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ScriptedStreamTest, AWholeAnswerThatNobodyReadsIsCutOff) {
  StartServer(kShortStall);
  grpc::CompletionQueue queue;
  v1::GenerateRequest request;
  request.set_text("x");
  auto call = server_->stub().PrepareAsyncGenerate(&context_, request, &queue);
  call->StartCall();
  call->ReadInitialMetadata(nullptr);  // sends the request; the answer is not asked for yet
  WaitForRequest();
  sink_->OnStarted({.request_id = 1});
  sink_->OnChunk(Chunk(std::string(kHugeBytes, 'x')));
  sink_->OnFinished({});
  sink_.reset();
  EXPECT_TRUE(IsGivenUp());
  v1::GenerateResponse response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok) && queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ScriptedStreamTest, AnAnswerThatWaitsBeyondTheOutboxIsCancelled) {
  Serve({.stall = absl::Seconds(60), .outbox_bytes = std::size_t{2} << 20});
  sink_->OnStarted({.request_id = 1});
  for (int i = 0; i < 64 && engine_->cancelled().empty(); ++i) {
    sink_->OnChunk(Chunk(std::string(kPieceBytes, 'x')));
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_THAT(engine_->cancelled(), ElementsAre(1));
  for (v1::StreamGenerateResponse message; reader_->Read(&message);) {
  }
  EXPECT_EQ(ReasonOf(reader_->Finish()), reason::kSlowReader);
}

TEST_F(ScriptedStreamTest, TokensThatWaitJoinTheNextChunk) {
  Serve({});
  sink_->OnStarted({.request_id = 1});
  for (int i = 0; i < 5000; ++i) sink_->OnChunk(Chunk("x"));
  sink_->OnFinished({});
  int messages = 0;
  std::string text;
  for (v1::StreamGenerateResponse message; reader_->Read(&message); ++messages) {
    text += message.chunk().text();
  }
  EXPECT_TRUE(reader_->Finish().ok());
  EXPECT_EQ(text, std::string(5000, 'x'));
  EXPECT_LT(messages, 4000);
}

TEST_F(ScriptedStreamTest, AnEngineThatDropsItsRequestEndsTheCall) {
  Serve({});
  sink_->OnStarted({.request_id = 1});
  sink_.reset();
  for (v1::StreamGenerateResponse message; reader_->Read(&message);) {
  }
  EXPECT_EQ(ReasonOf(reader_->Finish()), reason::kDraining);
}

TEST_F(ScriptedStreamTest, EventsAfterACancelAreIgnored) {
  Serve({});
  sink_->OnStarted({.request_id = 1});
  context_.TryCancel();
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([this] { return !engine_->cancelled().empty(); }));
  sink_->OnChunk(Chunk("late"));
  sink_->OnFinished({});
  sink_.reset();
}

TEST_F(ScriptedStreamTest, AFailureAfterTextKeepsItsStatus) {
  Serve({});
  sink_->OnStarted({.request_id = 1});
  sink_->OnChunk(Chunk("part"));
  sink_->OnFailed(InternalError());
  for (v1::StreamGenerateResponse message; reader_->Read(&message);) {
  }
  EXPECT_EQ(ReasonOf(reader_->Finish()), reason::kInternal);
}

}  // namespace
}  // namespace keyhole::testing
