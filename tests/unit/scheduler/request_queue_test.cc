#include "engine/scheduler/request_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace keyhole {
namespace {

class RequestQueueTest : public ::testing::Test {
 protected:
  // Ids count from 1.
  Sequence* Push(std::int32_t priority = 0) {
    Request request;
    request.priority = priority;
    sequences_.push_back(std::make_unique<Sequence>(
        sequences_.size() + 1, request, std::vector<TokenId>{1}, OutputBudget{.max_output = 1}));
    queue_.Push(sequences_.back().get());
    return sequences_.back().get();
  }

  Sequence* Take() {
    return queue_.TakeNext([](const Sequence&) { return true; });
  }
  Sequence* TakeOtherThan(const Sequence* giant) {
    return queue_.TakeNext([giant](const Sequence& sequence) { return &sequence != giant; });
  }

  std::vector<std::unique_ptr<Sequence>> sequences_;
  RequestQueue queue_;
};

TEST_F(RequestQueueTest, LargerPriorityThenArrival) {
  Sequence* low = Push(-1);
  Sequence* first = Push();
  Sequence* second = Push();
  Sequence* high = Push(5);
  EXPECT_EQ(queue_.size(), 4);
  EXPECT_EQ(Take(), high);
  EXPECT_EQ(Take(), first);
  EXPECT_EQ(Take(), second);
  EXPECT_EQ(Take(), low);
  EXPECT_EQ(Take(), nullptr);
  EXPECT_EQ(queue_.size(), 0);
}

TEST_F(RequestQueueTest, OneThatDoesNotFitIsOvertakenExactlySoOften) {
  Sequence* giant = Push();
  for (int i = 0; i < RequestQueue::kMaxOvertaken; ++i) {
    Push();
    ASSERT_NE(TakeOtherThan(giant), nullptr) << i;
  }
  Push();
  EXPECT_EQ(TakeOtherThan(giant), nullptr);
  EXPECT_EQ(Take(), giant);
}

TEST_F(RequestQueueTest, OnlyThoseBeforeTheTakenOneAreOvertaken) {
  Sequence* giant = Push(1);
  Sequence* other_giant = Push(0);
  const auto fits = [&](const Sequence& sequence) {
    return &sequence != giant && &sequence != other_giant;
  };
  for (int i = 0; i < RequestQueue::kMaxOvertaken; ++i) {
    Push(1);  // between the two
    ASSERT_NE(queue_.TakeNext(fits), nullptr);
  }
  queue_.Remove(*giant);
  Push(0);  // behind the other, which nobody has overtaken yet
  EXPECT_NE(queue_.TakeNext(fits), nullptr);
}

TEST_F(RequestQueueTest, ATryThatTakesNothingOvertakesNobody) {
  Sequence* giant = Push();
  for (int i = 0; i < 2 * RequestQueue::kMaxOvertaken; ++i) {
    EXPECT_EQ(TakeOtherThan(giant), nullptr);
  }
  Push();
  EXPECT_NE(TakeOtherThan(giant), nullptr);
}

TEST_F(RequestQueueTest, RemoveTakesOutThatOne) {
  Sequence* first = Push();
  Sequence* second = Push();
  queue_.Remove(*first);
  queue_.Remove(*first);
  EXPECT_EQ(Take(), second);
  queue_.Remove(*second);
  EXPECT_EQ(queue_.size(), 0);
}

}  // namespace
}  // namespace keyhole
