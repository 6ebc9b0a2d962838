#include "engine/runtime/response_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <utility>

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

// A sink within whose calls other things happen, as they do while a text worker is in one.
class InterruptedSink final : public ResponseSink {
 public:
  InterruptedSink(std::shared_ptr<Recording> recording, std::function<void()> meanwhile)
      : sink_(std::move(recording)), meanwhile_(std::move(meanwhile)) {}

  void OnStarted(const StartedEvent& event) override { sink_.OnStarted(event), Interrupt(); }
  void OnProgress(const ProgressEvent& event) override { sink_.OnProgress(event), Interrupt(); }
  void OnChunk(ChunkEvent event) override { sink_.OnChunk(std::move(event)), Interrupt(); }
  void OnFinished(const FinishedEvent& event) override { sink_.OnFinished(event), Interrupt(); }
  void OnFailed(const absl::Status& status) override { sink_.OnFailed(status), Interrupt(); }

 private:
  void Interrupt() {
    if (auto meanwhile = std::exchange(meanwhile_, nullptr)) meanwhile();
  }

  RecordingSink sink_;
  std::function<void()> meanwhile_;  // once
};

class ResponseHubTest : public ::testing::Test {
 protected:
  RequestId Open(const Request& request = {}, std::function<void()> meanwhile = nullptr) {
    const RequestId id = *registry_.Open(request.client_request_id);
    hub_.Open(id,
              std::make_unique<ResponseStream>(
                  id,
                  request,
                  Instant(),
                  std::make_unique<InterruptedSink>(recording_, std::move(meanwhile)),
                  StreamContext{.tokenizer = &tokenizer_}));
    return id;
  }

  static StreamEvent Start(RequestId id) {
    return StartEvent{.started = {.request_id = id}, .time = {}};
  }
  static StreamEvent Token(TokenId token) {
    TokenEvent event;
    event.token.chosen.token = token;
    return event;
  }
  static StreamEvent End(absl::Status status = absl::OkStatus()) {
    EndEvent event;
    event.status = std::move(status);
    return event;
  }

  void RunOne() {
    ResponseHub::Task task = std::move(tasks_.front());
    tasks_.pop_front();
    std::move(task)();
  }
  void RunAll() {
    while (!tasks_.empty()) RunOne();
  }

  ByteTokenizer tokenizer_;
  std::shared_ptr<Recording> recording_ = std::make_shared<Recording>();
  RequestRegistry registry_{AdmissionLimits{.max_queued_requests = 8, .max_queued_tokens = 100}};
  EngineInbox inbox_;
  std::deque<ResponseHub::Task> tasks_;
  ResponseHub hub_{
      &registry_, &inbox_, [this](ResponseHub::Task task) { tasks_.push_back(std::move(task)); }};
};

TEST_F(ResponseHubTest, EventsThatWaitAreOneDelivery) {
  const RequestId id = Open();
  hub_.Send(id, Start(id));
  hub_.Send(id, Token('a'));
  hub_.Send(id, Token('b'));
  ASSERT_THAT(tasks_, SizeIs(1));
  RunOne();
  EXPECT_THAT(tasks_, IsEmpty());
  EXPECT_THAT(recording_->events().chunks, SizeIs(1));
  hub_.Send(id, Token('c'));
  EXPECT_THAT(tasks_, SizeIs(1));
}

TEST_F(ResponseHubTest, WhatComesDuringADeliveryIsDeliveredNext) {
  const RequestId id = Open({}, [this] {
    hub_.Send(1, Token('a'));
    hub_.Send(1, Token('b'));
    EXPECT_THAT(tasks_, IsEmpty());  // one worker at a time
  });
  ASSERT_EQ(id, 1);
  hub_.Send(id, Start(id));
  RunOne();
  ASSERT_THAT(tasks_, SizeIs(1));
  RunAll();
  EXPECT_EQ(recording_->events().text(), "ab");
}

TEST_F(ResponseHubTest, OtherStreamsOpenAndEndDuringADelivery) {
  const RequestId id = Open({}, [this] {
    auto other = std::make_shared<Recording>();
    for (int i = 0; i < 7; ++i) {  // enough for the table to move
      const RequestId next = *registry_.Open("");
      hub_.Open(next,
                std::make_unique<ResponseStream>(next,
                                                 Request(),
                                                 Instant(),
                                                 std::make_unique<RecordingSink>(other),
                                                 StreamContext{.tokenizer = &tokenizer_}));
    }
    hub_.Send(1, End());
  });
  ASSERT_EQ(id, 1);
  hub_.Send(id, Start(id));
  RunAll();
  EXPECT_TRUE(recording_->events().finished);
  EXPECT_THAT(recording_->events().violations, IsEmpty());
}

TEST_F(ResponseHubTest, AnEndedRequestIsForgotten) {
  const RequestId id = Open({.client_request_id = "name"}, nullptr);
  hub_.Send(id, Start(id));
  hub_.Send(id, End());
  RunAll();
  EXPECT_TRUE(recording_->events().finished);
  EXPECT_TRUE(registry_.WaitEmpty(absl::InfinitePast()));
  hub_.Send(id, Token('x'));
  EXPECT_THAT(tasks_, IsEmpty());
  EXPECT_THAT(inbox_.Take().stopped, IsEmpty());  // the engine ended it, and knows
}

TEST_F(ResponseHubTest, TheNameIsFreeWhenTheLastEventComes) {
  absl::Status reopened = absl::UnknownError("no event came");
  const RequestId id =
      Open({.client_request_id = "name"}, [&] { reopened = registry_.Open("name").status(); });
  hub_.Send(id, End(absl::CancelledError()));
  RunAll();
  EXPECT_TRUE(reopened.ok()) << reopened;
}

TEST_F(ResponseHubTest, AStopStringStopsTheEngine) {
  Request request;
  request.stopping.stop = {"b"};
  const RequestId id = Open(request);
  hub_.Send(id, Start(id));
  hub_.Send(id, Token('a'));
  hub_.Send(id, Token('b'));
  RunAll();
  EXPECT_EQ(recording_->events().text(), "a");
  EXPECT_EQ(recording_->events().finished->reason, FinishReason::kStopSequence);
  EXPECT_THAT(inbox_.Take().stopped, ElementsAre(id));
}

TEST_F(ResponseHubTest, ADroppedStreamIsNeverCalled) {
  const RequestId id = Open();
  hub_.Drop(id);
  hub_.Send(id, Start(id));
  RunAll();
  EXPECT_FALSE(recording_->events().started);
}

}  // namespace
}  // namespace keyhole
