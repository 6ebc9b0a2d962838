#include "engine/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "engine/kv/kv_layout.h"
#include "engine/kv/page_pool.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Sequences, pages and the part of the step loop that a scheduler sees.
class SchedulerTest : public ::testing::Test {
 protected:
  void Use(const SchedulerLimits& limits, std::int32_t n_pages = 1000) {
    scheduler_ = std::make_unique<Scheduler>(limits);
    page_size_ = limits.page_size;
    pool_ = std::make_unique<PagePool>(n_pages);
  }

  Sequence* Add(std::int32_t prompt_len, std::int32_t max_output = 4, std::int32_t priority = 0) {
    Request request;
    request.priority = priority;
    sequences_.push_back(std::make_unique<Sequence>(sequences_.size() + 1,
                                                    request,
                                                    std::vector<TokenId>(prompt_len, 1),
                                                    OutputBudget{.max_output = max_output}));
    scheduler_->Enqueue(sequences_.back().get());
    return sequences_.back().get();
  }

  struct Planned : StepPlan {
    std::vector<Sequence*> started;
  };

  // Plans a step and does what it says. Answers never end by themselves.
  Planned Step() {
    std::vector<Sequence*> started;
    const StepPlan plan = scheduler_->Plan([&](Sequence& sequence) {
      auto pages = pool_->Allocate(PagesForTokens(sequence.max_len(), page_size_));
      if (!pages.ok()) return false;
      sequence.Start(PageTable(pool_.get(), *std::move(pages)), cached_len_);
      started.push_back(&sequence);
      return true;
    });
    for (Sequence* sequence : plan.decode) sequence->CommitToken(1, {});
    if (plan.prefill) {
      plan.prefill->sequence->CommitPrefill(plan.prefill->tokens.count, {});
      if (plan.prefill->sequence->prompt_left() == 0) plan.prefill->sequence->CommitToken(1, {});
    }
    return {plan, started};
  }

  void End(Sequence* sequence) {
    scheduler_->Remove(*sequence);
    sequence->End();
    sequence->ReleasePages();
  }

  std::int32_t page_size_ = 0;
  std::int32_t cached_len_ = 0;  // of the prompts of sequences that start
  std::unique_ptr<PagePool> pool_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTest, OneChunkAtMostAndDecodeBesideIt) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4, .decode_steps_between_chunks = 0});
  Sequence* first = Add(5);
  EXPECT_EQ(Step().prefill->sequence, first);
  Sequence* second = Add(20);
  Sequence* third = Add(20);
  const Planned plan = Step();
  EXPECT_THAT(plan.decode, ElementsAre(first));
  EXPECT_THAT(plan.started, ElementsAre(second, third));
  EXPECT_EQ(plan.prefill->tokens, (TokenRange{0, 8}));
}

TEST_F(SchedulerTest, DecodeStepsRunBetweenTwoChunks) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4, .decode_steps_between_chunks = 3});
  Add(5, 1000);
  Step();
  Add(80);
  std::vector<int> gaps;
  int gap = 0;
  while (gaps.size() < 8) {
    const Planned plan = Step();
    ASSERT_THAT(plan.decode, SizeIs(1));  // the running answer never waits
    if (plan.prefill) {
      gaps.push_back(gap);
      gap = 0;
    } else {
      ++gap;
    }
  }
  EXPECT_THAT(gaps, ::testing::Each(3));
}

TEST_F(SchedulerTest, NothingWaitsWhereNothingDecodes) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4, .decode_steps_between_chunks = 3});
  Add(80);
  for (int step = 0; step < 10; ++step) EXPECT_TRUE(Step().prefill);
}

TEST_F(SchedulerTest, ShortPromptsOvertakeALongOneThatStillAdvances) {
  Use({.chunking = {.chunk_size = 8},
       .page_size = 4,
       .max_running = 64,
       .decode_steps_between_chunks = 0});
  Sequence* longest = Add(8 * 40);
  Step();
  int steps_of_long = 0;
  int steps = 0;
  while (longest->prompt_left() > 0) {
    Sequence* late = Add(8);
    int waited = 0;
    while (late->prompt_left() > 0) {
      steps_of_long += Step().prefill->sequence == longest ? 1 : 0;
      ++steps;
      ++waited;
      ASSERT_LE(waited, 3);  // its own chunk, one of the oldest, and one on a tie
    }
    End(late);
  }
  EXPECT_EQ(steps_of_long, 39);
  EXPECT_LE(steps, 39 * Scheduler::kChunksPerTurn);
}

TEST_F(SchedulerTest, StartsByPriorityThenArrivalWithinPlacesAndPages) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4, .max_running = 2}, 100);
  Add(8);
  Sequence* urgent = Add(8, 4, 5);
  Sequence* second = Add(8, 4, 5);
  EXPECT_THAT(Step().started, ElementsAre(urgent, second));
  EXPECT_EQ(scheduler_->n_waiting(), 1);
  EXPECT_EQ(scheduler_->n_running(), 2);
}

TEST_F(SchedulerTest, NoOvercommitOfPages) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4}, 7);
  Sequence* first = Add(8, 8);   // 4 pages
  Sequence* second = Add(8, 8);  // 4 pages
  EXPECT_THAT(Step().started, ElementsAre(first));
  EXPECT_THAT(Step().started, IsEmpty());
  End(first);
  EXPECT_THAT(Step().started, ElementsAre(second));
}

TEST_F(SchedulerTest, AWaitingGiantIsOvertakenOnlySoOften) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4, .max_running = 8}, 10);
  Sequence* running = Add(4, 4);
  Step();
  Sequence* giant = Add(20, 20);  // all 10 pages
  int overtaken = 0;
  for (int i = 0; i < 3 * RequestQueue::kMaxOvertaken; ++i) {
    Sequence* small = Add(4, 4);
    for (Sequence* started : Step().started) {
      ++overtaken;
      End(started);
    }
    if (small->phase() == SequencePhase::kWaiting) End(small);
  }
  EXPECT_EQ(overtaken, RequestQueue::kMaxOvertaken);
  End(running);
  EXPECT_THAT(Step().started, ElementsAre(giant));
}

TEST_F(SchedulerTest, ChunksBeginBehindACachedPrefix) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4, .decode_steps_between_chunks = 0});
  cached_len_ = 16;
  Add(30);
  EXPECT_EQ(Step().prefill->tokens, (TokenRange{16, 8}));
  cached_len_ = 0;
  Sequence* cold = Add(15);
  EXPECT_EQ(Step().prefill->tokens, (TokenRange{24, 6}));  // fewer chunks left than the cold one
  EXPECT_EQ(Step().prefill->sequence, cold);
}

TEST_F(SchedulerTest, RemovedSequencesAreNotPlanned) {
  Use({.chunking = {.chunk_size = 8}, .page_size = 4});
  Sequence* first = Add(8);
  Sequence* second = Add(8);
  scheduler_->Remove(*first);
  EXPECT_THAT(Step().started, ElementsAre(second));
  scheduler_->Remove(*second);
  EXPECT_TRUE(Step().empty());
}

}  // namespace
}  // namespace keyhole
