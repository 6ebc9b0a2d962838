// Sequences that come, grow, share prefixes and go, at random, over a device that is too small:
// whatever the residency, the order in which copies end and the copies that fail, the same bytes
// are read.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>

#include "engine/kv/page_pool.h"
#include "tests/support/fake_device/fake_device.h"
#include "tests/unit/residency/step_harness.h"

namespace keyhole {
namespace {

using fake_device::Call;

constexpr std::int32_t kPages = 40;
constexpr std::int32_t kMaxRows = 60;
constexpr std::int32_t kPageSize = kTinyLayout.page_size;
constexpr std::int32_t kMaxSelected = 6;  // of a sequence; two of them run at a time

struct Outcome {
  std::vector<std::byte> log;
  std::int64_t n_spilled = 0;
  std::int64_t n_fetched = 0;
  int n_failed = 0;
};

class Simulation {
 public:
  // `failures`: of 1000 steps, so many have a failure ahead of them.
  Simulation(const ResidencySettings& settings, unsigned seed, int failures)
      : harness_(settings, kPages), random_(seed), chaos_(seed + 1), failures_(failures) {
    harness_.interlude = [this] {
      fake_device::Run(static_cast<int>(chaos_() % 6),
                       [this](int n) { return static_cast<int>(chaos_() % n); });
    };
  }

  Outcome Run(int n_steps) {
    for (int i = 0; i < n_steps && !testing::Test::HasFailure(); ++i) {
      const auto event = random_() % 8;
      if (event == 0) Start();
      if (event == 1 && sequences_.size() > 2) End(random_() % sequences_.size());
      Step();
    }
    ResidentKv& kv = harness_.kv();
    return {harness_.log(), kv.residency().n_spilled(), kv.fetch_stats().n_fetched, n_failed_};
  }

 private:
  // All that decides what is read comes from random_, which failures must not touch.
  std::int32_t Draw(std::int32_t n) { return static_cast<std::int32_t>(random_() % n); }

  void Start() {
    auto sequence = std::make_unique<TestSequence>();
    if (!sequences_.empty() && Draw(2) == 0) {
      const TestSequence& other = *sequences_[Draw(static_cast<std::int32_t>(sequences_.size()))];
      const std::int32_t n = Draw(other.n_rows() / kPageSize + 1);
      sequence->pages.assign(other.pages.begin(), other.pages.begin() + n);
      for (const PageId page : sequence->pages) pool_.Retain(page);
      for (std::int32_t layer = 0; layer < kTinyLayout.n_layers; ++layer) {
        const auto first = other.rows[layer].begin();
        sequence->rows[layer].assign(first, first + std::ptrdiff_t{n} * kPageSize);
      }
    }
    sequences_.push_back(std::move(sequence));
  }

  void End(std::size_t i) {
    pool_.Release(sequences_[i]->pages);
    sequences_.erase(sequences_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  // Pages for the new rows; false where there are none.
  bool Grow(TestSequence& sequence, std::int32_t n_new) {
    const std::int32_t n = PagesForTokens(sequence.n_rows() + n_new, kPageSize);
    if (n <= static_cast<std::int32_t>(sequence.pages.size())) return true;
    const auto pages = pool_.Allocate(n - static_cast<std::int32_t>(sequence.pages.size()));
    if (!pages.ok()) return false;
    sequence.pages.insert(sequence.pages.end(), pages->begin(), pages->end());
    return true;
  }

  void Step() {
    std::vector<StepPart> parts;
    for (const auto& sequence : sequences_) {
      if (parts.size() == 2 || Draw(3) == 0) continue;
      const std::int32_t n_new = Draw(2) == 0 ? 1 : 1 + Draw(5);
      if (sequence->n_rows() + n_new > kMaxRows || !Grow(*sequence, n_new)) continue;
      StepPart& part = parts.emplace_back(StepPart{sequence.get(), n_new});
      for (std::int32_t i = Draw(kMaxSelected + 1); i > 0 && sequence->n_rows() > 0; --i) {
        part.selected.push_back(Draw(sequence->n_rows()));
      }
    }
    if (parts.empty()) return;
    if (static_cast<int>(chaos_() % 1000) < failures_) PlanFailure();
    absl::Status status = harness_.Step(parts);
    for (int attempt = 0; attempt < 9 && !status.ok(); ++attempt) {
      ++n_failed_;
      status = harness_.Step(parts);
    }
    EXPECT_TRUE(status.ok()) << status;
  }

  void PlanFailure() {
    const absl::Status status = absl::UnavailableError("by chance");
    const auto after = static_cast<int>(chaos_() % 12);
    constexpr Call kCalls[] = {Call::kCopy, Call::kRecord, Call::kWait};
    const auto kind = chaos_() % 6;
    if (kind < 3) return fake_device::FailCall(kCalls[kind], status, after);
    fake_device::FailRunningCopy(status, after);
  }

  StepHarness harness_;
  std::mt19937 random_;
  std::mt19937 chaos_;
  int failures_;
  int n_failed_ = 0;
  PagePool pool_{kPages, [this](PageId page) {
                   // A page that is used again is as good as a forgotten one.
                   if (chaos_() % 2 == 0) harness_.kv().Forget(page);
                 }};
  std::vector<std::unique_ptr<TestSequence>> sequences_;
};

ResidencySettings SettingsOf(Residency mode) {
  constexpr std::int32_t kHeld = 12;  // 2 sequences of 1 + 3 + 2 pages
  constexpr std::int32_t kFetched = 2 * kMaxSelected;
  constexpr std::size_t kHotBytes = kTinyLayout.row_bytes() * kTinyLayout.n_layers;
  std::size_t bytes = kPages * kTinyLayout.page_bytes();
  if (mode == Residency::kHost) bytes = kHeld * kTinyLayout.page_bytes() + 16 * kHotBytes;
  if (mode == Residency::kAuto) bytes = 20 * kTinyLayout.page_bytes() + kFetched * kHotBytes;
  return {mode, bytes, kHeld, kFetched};
}

Outcome Simulate(Residency mode, unsigned seed, int failures) {
  fake_device::Reset(1 << 20);
  Outcome outcome;
  {
    Simulation simulation(SettingsOf(mode), seed, failures);
    outcome = simulation.Run(400);
  }
  EXPECT_EQ(fake_device::BytesInUse(), 0U);
  return outcome;
}

TEST(ResidencySimulation, TheSameBytesAreReadWithEveryResidency) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Outcome device = Simulate(Residency::kDevice, seed, 0);
    EXPECT_EQ(device.n_spilled, 0);
    EXPECT_GT(device.log.size(), 10'000U);
    for (const Residency mode : {Residency::kHost, Residency::kAuto}) {
      const Outcome other = Simulate(mode, seed, 0);
      ASSERT_TRUE(other.log == device.log) << ResidencyName(mode);
      EXPECT_GT(other.n_spilled, 20) << ResidencyName(mode);
      EXPECT_GT(other.n_fetched, 20) << ResidencyName(mode);
      EXPECT_EQ(other.n_failed, 0);
    }
  }
}

TEST(ResidencySimulation, NoRowIsLostWhenTransfersFail) {
  int n_failed = 0;
  for (unsigned seed = 100; seed < 130; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    for (const Residency mode : {Residency::kHost, Residency::kAuto}) {
      n_failed += Simulate(mode, seed, 300).n_failed;
      ASSERT_FALSE(HasFailure());
    }
  }
  EXPECT_GT(n_failed, 500) << "failures have to meet steps";
}

TEST(ResidencySimulation, IsTheSameEachTime) {
  const Outcome first = Simulate(Residency::kAuto, 7, 200);
  const Outcome second = Simulate(Residency::kAuto, 7, 200);
  EXPECT_TRUE(first.log == second.log);
  EXPECT_EQ(first.n_spilled, second.n_spilled);
  EXPECT_EQ(first.n_failed, second.n_failed);
}

}  // namespace
}  // namespace keyhole
