#include "engine/runtime/response_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/request/error.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/recording_sink.h"

namespace keyhole {
namespace {

using testing::ByteTokenizer;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::Recording;
using testing::RecordingSink;
using ::testing::SizeIs;

class RecordingObserver final : public EngineObserver {
 public:
  void OnStep(const StepRecord&) override {}
  void OnInterToken(absl::Duration gap) override { gaps.push_back(gap); }
  void OnRequestEnd(const RequestRecord& record) override { records.push_back(record); }
  std::vector<absl::Duration> gaps;
  std::vector<RequestRecord> records;
};

class ResponseStreamTest : public ::testing::Test {
 protected:
  void Open(const Request& request) {
    stream_ = std::make_unique<ResponseStream>(
        7,
        request,
        At(0),
        std::make_unique<RecordingSink>(recording_),
        StreamContext{.tokenizer = &tokenizer_, .observer = &observer_, .n_layers = 4});
  }

  static Instant At(int seconds) { return Instant(std::chrono::seconds(1000 + seconds)); }

  static StreamEvent Start(int seconds) {
    return StartEvent{.started = {.request_id = 7, .prompt_tokens = 5}, .time = At(seconds)};
  }
  static StreamEvent Token(TokenId token, int seconds) {
    TokenEvent event;
    event.token.chosen.token = token;
    event.time = At(seconds);
    return event;
  }
  static StreamEvent End(FinishReason reason, int seconds) {
    EndEvent event;
    event.reason = reason;
    event.time = At(seconds);
    return event;
  }

  void Send(std::vector<StreamEvent> events) {
    stream_->Handle(std::move(events));
    if (stream_->ended()) stream_->SendEnd();
  }

  ByteTokenizer tokenizer_;
  RecordingObserver observer_;
  std::shared_ptr<Recording> recording_ = std::make_shared<Recording>();
  std::unique_ptr<ResponseStream> stream_;
};

TEST_F(ResponseStreamTest, TokensThatWaitTogetherAreOneChunk) {
  Open({});
  Send({Start(1), Token('a', 2), Token('b', 3)});
  Send({Token('c', 4), End(FinishReason::kMaxOutputTokens, 4)});
  const auto events = recording_->events();
  ASSERT_THAT(events.chunks, SizeIs(2));
  EXPECT_EQ(events.chunks[0].text, "ab");
  EXPECT_EQ(events.chunks[1].text, "c");
  EXPECT_THAT(events.chunks[0].token_ids, IsEmpty());  // not asked for
}

TEST_F(ResponseStreamTest, MeasuresThePhases) {
  Open({});
  Send({Start(2), Token('a', 5), Token('b', 6), Token('c', 8), End(FinishReason::kStopToken, 8)});
  const FinishedEvent finished = *recording_->events().finished;
  EXPECT_EQ(finished.queue_time, absl::Seconds(2));
  EXPECT_EQ(finished.prefill_time, absl::Seconds(3));
  EXPECT_EQ(finished.decode_time, absl::Seconds(3));
  EXPECT_EQ(finished.prompt_tokens, 5);
  EXPECT_EQ(finished.output_tokens, 3);
  EXPECT_THAT(observer_.gaps, ElementsAre(absl::Seconds(1), absl::Seconds(2)));
  ASSERT_THAT(observer_.records, SizeIs(1));
  EXPECT_EQ(observer_.records[0].time_to_first_token, absl::Seconds(5));
  EXPECT_EQ(observer_.records[0].time_per_output_token, absl::Milliseconds(1500));
}

TEST_F(ResponseStreamTest, ACharacterIsNeverCut) {
  Open({});
  Send({Start(1), Token(0xC3, 2)});
  EXPECT_THAT(recording_->events().chunks, IsEmpty());
  Send({Token(0xB6, 2), Token(0xE2, 3), End(FinishReason::kMaxOutputTokens, 3)});
  EXPECT_EQ(recording_->events().text(), "ö\uFFFD");
}

TEST_F(ResponseStreamTest, AfterAStopStringNothingCounts) {
  Request request;
  request.stopping.stop = {"bc"};
  Open(request);
  Send({Start(1),
        Token('a', 2),
        Token('b', 3),
        Token('c', 4),
        Token('d', 5),
        End(FinishReason::kMaxOutputTokens, 5)});
  const auto events = recording_->events();
  EXPECT_EQ(events.text(), "a");
  EXPECT_EQ(events.finished->reason, FinishReason::kStopSequence);
  EXPECT_EQ(events.finished->output_tokens, 3);
  EXPECT_TRUE(stream_->ended_by_text());
}

TEST_F(ResponseStreamTest, HeldBackTextComesAtTheEnd) {
  Request request;
  request.stopping.stop = {"bcd"};
  Open(request);
  Send({Start(1), Token('a', 2), Token('b', 3)});
  EXPECT_EQ(recording_->events().text(), "a");
  Send({End(FinishReason::kTimeLimit, 4)});
  EXPECT_EQ(recording_->events().text(), "ab");
  EXPECT_EQ(recording_->events().finished->reason, FinishReason::kTimeLimit);
}

TEST_F(ResponseStreamTest, AFailureLosesWhatWasHeldBack) {
  Open({});
  EndEvent end;
  end.status = CancelledError();
  end.time = At(3);
  Send({StreamEvent(end)});
  EXPECT_TRUE(recording_->events().failed);
  EXPECT_EQ(observer_.records[0].finished.queue_time, absl::Seconds(3));
  EXPECT_FALSE(observer_.records[0].started);
}

TEST_F(ResponseStreamTest, SelectionStatsAreMeansOverLayersAndSteps) {
  Request request;
  request.output.return_selection_stats = true;
  Open(request);
  EndEvent end;
  end.selection = {.steps = 3, .rows = 120, .seconds = 0.5};
  Send({Start(1), StreamEvent(end)});
  const SelectionStats stats = *recording_->events().finished->selection;
  EXPECT_EQ(stats.steps, 3);
  EXPECT_DOUBLE_EQ(stats.mean_selected_tokens, 10);
  EXPECT_EQ(stats.selection_time, absl::Milliseconds(500));
}

}  // namespace
}  // namespace keyhole
