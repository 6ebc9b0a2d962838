#include "engine/kv/resident_kv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "tests/support/fake_device/fake_device.h"
#include "tests/unit/residency/step_harness.h"

namespace keyhole {
namespace {

using fake_device::Call;
using testing::ElementsAre;

constexpr std::size_t kPageBytes = kTinyLayout.page_bytes();
constexpr std::size_t kHotBytes = kTinyLayout.row_bytes() * kTinyLayout.n_layers;
constexpr Residency kModes[] = {Residency::kHost, Residency::kDevice, Residency::kAuto};

// Room for `slots` pages, and hot rows for four.
ResidencySettings RoomFor(Residency mode, std::int32_t slots) {
  return {.mode = mode,
          .device_bytes = slots * kPageBytes + 4 * kHotBytes,
          .held_pages = mode == Residency::kHost ? slots : 1,
          .fetched_rows = 4};
}

class ResidentKvTest : public testing::Test {
 protected:
  ResidentKvTest() { fake_device::Reset(1 << 20); }

  absl::Status Step(StepHarness& harness,
                    TestSequence& sequence,
                    std::int32_t n_new,
                    std::vector<std::int32_t> selected = {}) {
    const StepPart part = {&sequence, n_new, std::move(selected)};
    return harness.Step({&part, 1});
  }

  static TestSequence SequenceOf(PageId first, std::int32_t n) {
    TestSequence sequence;
    sequence.pages.resize(n);
    std::iota(sequence.pages.begin(), sequence.pages.end(), first);
    return sequence;
  }
};

TEST_F(ResidentKvTest, TheDeviceResolvesNoRowsOfPageableMemory) {
  const Stream stream = Stream::Create().value();
  const std::unique_ptr<HostStore> host = HostStore::Create(kTinyLayout, 8).value();
  const absl::Status status =
      ResidentKv::Create(
          RoomFor(Residency::kHost, 2), kTinyLayout, 8, {.stream = &stream, .host = host.get()})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ResidentKvTest, FetchedRowsOfPagesAreVoidOnceTheyAreWrittenOrForgotten) {
  const Stream stream = Stream::Create().value();
  const std::unique_ptr<HostStore> host = HostStore::CreatePinned(kTinyLayout, 8).value();
  ASSERT_TRUE(host->pinned()) << host->why_pageable();
  const std::unique_ptr<ResidentKv> kv =
      ResidentKv::Create(
          RoomFor(Residency::kHost, 2), kTinyLayout, 8, {.stream = &stream, .host = host.get()})
          .value();
  const auto write = [&](PageId page) {
    ASSERT_TRUE(kv->Hold({&page, 1}).ok());
    kv->Write({&page, 1});
    ASSERT_TRUE(kv->Save({&page, 1}).ok());
    kv->Release({&page, 1});
  };
  for (const PageId page : {0, 1, 2, 3}) write(page);  // the first two have left
  EXPECT_THAT(kv->TakeVoided(), ElementsAre()) << "nothing of them was there to be fetched";
  write(0);
  EXPECT_THAT(kv->TakeVoided(), ElementsAre(0));
  kv->Forget(1);
  EXPECT_THAT(kv->TakeVoided(), ElementsAre(1));
  write(1);
  EXPECT_THAT(kv->TakeVoided(), ElementsAre()) << "it is new";
}

TEST_F(ResidentKvTest, ADeviceWithoutRoomIsRefused) {
  const Stream stream = Stream::Create().value();
  const auto create = [&](const ResidencySettings& settings) {
    return ResidentKv::Create(settings, kTinyLayout, 8, {.stream = &stream}).status();
  };
  EXPECT_EQ(
      create({.mode = Residency::kHost, .device_bytes = 0, .held_pages = 1, .fetched_rows = 1})
          .message(),
      "residency host needs 256 bytes of the device for KV rows and has 0");
  EXPECT_EQ(create(RoomFor(Residency::kHost, 2)).code(), absl::StatusCode::kInvalidArgument)
      << "there is no host";
  EXPECT_TRUE(create(RoomFor(Residency::kAuto, 8)).ok()) << "and no need for one";
}

TEST_F(ResidentKvTest, ADeviceThatHasLessThanItSaysIsTold) {
  fake_device::Reset(kPageBytes);
  const Stream stream = Stream::Create().value();
  EXPECT_EQ(
      ResidentKv::Create(RoomFor(Residency::kDevice, 8), kTinyLayout, 8, {&stream}).status().code(),
      absl::StatusCode::kResourceExhausted);
}

TEST_F(ResidentKvTest, HeldPagesStayAndTheLeastRecentlyUsedOfTheOthersSpill) {
  StepHarness harness(RoomFor(Residency::kAuto, 3), 8);
  ResidentKv& kv = harness.kv();
  const auto hold = [&](std::vector<PageId> pages) { return kv.Hold(pages); };
  const auto on_device = [&] {
    std::vector<PageId> pages;
    for (PageId page = 0; page < 8; ++page) {
      if (kv.pages().slot(page) >= 0) pages.push_back(page);
    }
    return pages;
  };
  ASSERT_TRUE(hold({4, 1, 6}).ok());
  kv.Write(std::vector<PageId>{4, 1, 6});
  EXPECT_EQ(hold({2}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(kv.pages().pins(2), 0);
  kv.Release(std::vector<PageId>{4, 1, 6});
  ASSERT_TRUE(hold({4}).ok());
  ASSERT_TRUE(hold({2}).ok());
  EXPECT_THAT(on_device(), ElementsAre(2, 4, 6)) << "1 was used before 6";
  ASSERT_TRUE(hold({3}).ok());
  EXPECT_THAT(on_device(), ElementsAre(2, 3, 4));
  EXPECT_EQ(hold({1}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(kv.residency().n_spilled(), 2);
}

TEST_F(ResidentKvTest, APageOfTheCallMakesNoRoomForAnother) {
  StepHarness harness(RoomFor(Residency::kAuto, 2), 8);
  ResidentKv& kv = harness.kv();
  ASSERT_TRUE(kv.Hold(std::vector<PageId>{0, 1}).ok());
  kv.Release(std::vector<PageId>{0, 1});
  ASSERT_TRUE(kv.Hold(std::vector<PageId>{5, 0}).ok()) << "0 is the oldest";
  EXPECT_GE(kv.pages().slot(0), 0);
  EXPECT_GE(kv.pages().slot(5), 0);
  EXPECT_EQ(kv.residency().n_spilled(), 1);
}

TEST_F(ResidentKvTest, AFetchCountsAsUseOfAPage) {
  StepHarness harness(RoomFor(Residency::kAuto, 2), 8);
  ResidentKv& kv = harness.kv();
  const std::vector<PageId> pages = {0, 1};
  ASSERT_TRUE(kv.Hold(pages).ok());
  kv.Write(pages);
  kv.Release(pages);
  const std::vector<std::int32_t> rows = {1, 2};
  std::vector<std::int32_t> places(2);
  const FetchParams params = {pages, rows, places.data()};
  ASSERT_TRUE(kv.Fetch(0, {&params, 1}).ok());
  EXPECT_THAT(places, ElementsAre(1, 2)) << "of page 0, in slot 0";
  ASSERT_TRUE(kv.Hold(std::vector<PageId>{5}).ok());
  EXPECT_GE(kv.pages().slot(0), 0);
  EXPECT_EQ(kv.pages().slot(1), DevicePages::kNone);
}

TEST_F(ResidentKvTest, TheHostsCopyStaysUntilWhatCameFromItIsKnownToBeWhole) {
  StepHarness harness(RoomFor(Residency::kAuto, 1), 4);
  ResidentKv& kv = harness.kv();
  TestSequence sequence = SequenceOf(0, 1);
  TestSequence other = SequenceOf(1, 1);
  ASSERT_TRUE(Step(harness, sequence, 2).ok());
  ASSERT_TRUE(Step(harness, other, 1).ok());
  fake_device::FailRunningCopy(absl::InternalError("bus"), 1);  // after the one that makes room
  ASSERT_TRUE(kv.Hold(sequence.pages).ok());
  kv.Write(sequence.pages);
  EXPECT_EQ(kv.Save(sequence.pages).message(), "bus");
  kv.Release(sequence.pages);
  EXPECT_TRUE(Step(harness, sequence, 1).ok()) << "which reads the rows before";
}

TEST_F(ResidentKvTest, APageLeavesOnlyAfterItsCopyIsDone) {
  StepHarness harness(RoomFor(Residency::kAuto, 1), 4);
  ResidentKv& kv = harness.kv();
  const std::vector<PageId> first = {0};
  ASSERT_TRUE(kv.Hold(first).ok());
  kv.Write(first);
  std::byte* row = kv.arena().Page(0);
  fake_device::Enqueue(harness.stream(), [row] { *row = std::byte{77}; });
  ASSERT_TRUE(kv.Save(first).ok());
  EXPECT_FALSE(kv.pages().saved(0)) << "queued, not done";
  kv.Release(first);
  ASSERT_TRUE(kv.Hold(std::vector<PageId>{1}).ok());
  EXPECT_TRUE(kv.pages().saved(0));
  // What comes after in the stream may overwrite the slot.
  fake_device::Enqueue(harness.stream(), [row] { *row = std::byte{1}; });
  kv.Release(std::vector<PageId>{1});
  ASSERT_TRUE(kv.Hold(first).ok());
  ASSERT_TRUE(kv.Settle().ok());
  EXPECT_EQ(*kv.arena().Page(0), std::byte{77});
}

TEST_F(ResidentKvTest, ADirtyPageStaysWhereItsCopyFails) {
  StepHarness harness(RoomFor(Residency::kAuto, 1), 4);
  ResidentKv& kv = harness.kv();
  const std::vector<PageId> first = {0};
  const std::vector<PageId> second = {1};
  ASSERT_TRUE(kv.Hold(first).ok());
  kv.Write(first);
  kv.Release(first);
  fake_device::FailCall(Call::kCopy, absl::InternalError("refused"));
  EXPECT_EQ(kv.Hold(second).message(), "refused");
  fake_device::FailRunningCopy(absl::InternalError("bus"));
  EXPECT_EQ(kv.Hold(second).message(), "bus");
  EXPECT_EQ(kv.pages().slot(0), 0);
  EXPECT_EQ(kv.pages().pins(1), 0);
  EXPECT_TRUE(kv.Hold(second).ok());
}

TEST_F(ResidentKvTest, AFailedCopyInTheBackgroundIsTold) {
  StepHarness harness(RoomFor(Residency::kAuto, 2), 4);
  ResidentKv& kv = harness.kv();
  const std::vector<PageId> first = {0};
  ASSERT_TRUE(kv.Hold(first).ok());
  kv.Write(first);
  fake_device::FailRunningCopy(absl::InternalError("bus"));
  ASSERT_TRUE(kv.Save(first).ok());
  EXPECT_TRUE(kv.Collect().ok()) << "it has not run";
  fake_device::Run(100, [](int) { return 0; });
  EXPECT_EQ(kv.Collect().message(), "bus");
  EXPECT_TRUE(kv.Collect().ok());
  EXPECT_FALSE(kv.pages().saved(0));
  ASSERT_TRUE(kv.Save(first).ok());
  fake_device::Run(100, [](int) { return 0; });
  EXPECT_TRUE(kv.Collect().ok());
  EXPECT_TRUE(kv.pages().saved(0));
}

TEST_F(ResidentKvTest, OnlyRowsThatAreNowhereOnTheDeviceAreFetched) {
  StepHarness harness(RoomFor(Residency::kHost, 5), 16);
  TestSequence sequence = SequenceOf(3, 8);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Step(harness, sequence, 4).ok());
  ASSERT_TRUE(Step(harness, sequence, 1, {9, 10, 27}).ok());
  const FetchStats first = harness.kv().fetch_stats();
  EXPECT_EQ(first.n_rows, 3 * 2);
  EXPECT_EQ(first.n_in_pages, 2) << "row 27, of both layers";
  EXPECT_EQ(first.n_fetched, 2 * 2);
  ASSERT_TRUE(Step(harness, sequence, 1, {10}).ok());
  EXPECT_EQ(harness.kv().fetch_stats().n_fetched, first.n_fetched) << "it is hot";
}

TEST_F(ResidentKvTest, MoreRowsThanFitAreRefusedAndTheStepCanBeMadeSmaller) {
  StepHarness harness(RoomFor(Residency::kHost, 5), 16);
  TestSequence sequence = SequenceOf(0, 8);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Step(harness, sequence, 4).ok());
  const std::vector<std::int32_t> many = {5, 6, 7, 8, 9};
  EXPECT_EQ(Step(harness, sequence, 1, many).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(sequence.n_rows(), 28);
  EXPECT_TRUE(Step(harness, sequence, 1, {5, 6, 7, 8}).ok());
}

TEST_F(ResidentKvTest, ARowThatNobodyWroteIsAnError) {
  for (const Residency mode : kModes) {
    StepHarness harness(RoomFor(mode, 8), 8);
    const std::vector<PageId> pages = {1};
    const std::vector<std::int32_t> rows = {2};
    std::int32_t place = 0;
    const FetchParams params = {pages, rows, &place};
    EXPECT_EQ(harness.kv().Fetch(0, {&params, 1}).status().code(), absl::StatusCode::kInternal);
  }
}

TEST_F(ResidentKvTest, AFetchHoldsUpAnotherStreamOnlyIfItCopies) {
  StepHarness harness(RoomFor(Residency::kHost, 5), 16);
  TestSequence sequence = SequenceOf(0, 8);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Step(harness, sequence, 4).ok());
  const Stream other = Stream::Create().value();
  const std::vector<std::int32_t> rows = {9};
  std::int32_t place = -1;
  const FetchParams params = {sequence.pages, rows, &place};
  const FetchTicket ticket = harness.kv().Fetch(1, {&params, 1}).value();
  EXPECT_FALSE(ticket.ready());
  ASSERT_TRUE(ticket.Gate(other).ok());
  RowBytes got;
  const std::byte* from = harness.kv().arena().base() + place * kTinyLayout.row_bytes();
  fake_device::Enqueue(other, [&] { got.assign(from, from + kTinyLayout.row_bytes()); });
  ASSERT_TRUE(other.Synchronize().ok());
  EXPECT_EQ(got, sequence.rows[1][9]);
  EXPECT_TRUE(harness.kv().Fetch(1, {&params, 1})->ready());
  EXPECT_TRUE(FetchTicket().Gate(other).ok());
}

TEST_F(ResidentKvTest, ADeviceOfOnePageServesSequencesInTurn) {
  for (const Residency mode : {Residency::kHost, Residency::kAuto}) {
    StepHarness harness(RoomFor(mode, 1), 4);
    ASSERT_EQ(harness.kv().plan().n_page_slots, 1);
    std::vector<TestSequence> sequences;
    for (PageId page = 0; page < 4; ++page) sequences.push_back(SequenceOf(page, 1));
    for (int round = 0; round < 4; ++round) {
      for (TestSequence& sequence : sequences) ASSERT_TRUE(Step(harness, sequence, 1).ok());
    }
    EXPECT_EQ(harness.kv().residency().n_spilled(), 15);
    EXPECT_EQ(harness.kv().residency().n_loaded(), 12);
  }
}

TEST_F(ResidentKvTest, AForgottenPageLeavesNoRowBehind) {
  StepHarness harness(RoomFor(Residency::kHost, 5), 16);
  TestSequence first = SequenceOf(0, 8);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Step(harness, first, 4).ok());
  ASSERT_TRUE(Step(harness, first, 1, {9, 10}).ok());
  for (const PageId page : first.pages) harness.kv().Forget(page);
  EXPECT_EQ(harness.kv().pages().n_free(), 5);
  TestSequence second = SequenceOf(0, 8);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Step(harness, second, 4).ok());
  ASSERT_TRUE(Step(harness, second, 1, {9, 10}).ok()) << "its own rows, not the first one's";
}

// Prefill over several pages, other sequences that push them out, and decode that needs them again.
absl::Status Scenario(StepHarness& harness, int& n_failed) {
  std::vector<TestSequence> sequences(3);
  for (int i = 0; i < 3; ++i) {
    sequences[i].pages.resize(6);
    std::iota(sequences[i].pages.begin(), sequences[i].pages.end(), i * 6);
  }
  const auto step = [&](std::vector<StepPart> parts) {
    absl::Status status;
    for (int attempt = 0; attempt < 3; ++attempt) {
      status = harness.Step(parts);
      if (status.ok()) break;
      ++n_failed;
    }
    return status;
  };
  absl::Status status;
  for (TestSequence& sequence : sequences) {
    for (int chunk = 0; chunk < 5 && status.ok(); ++chunk) status = step({{&sequence, 4}});
  }
  for (int round = 0; round < 3 && status.ok(); ++round) {
    status = step({{&sequences[0], 1, {4, 5, 9}}, {&sequences[1], 1, {8}}});
    if (status.ok()) status = step({{&sequences[2], 1, {4 + round, 10}}});
  }
  return status;
}

class FailureTest : public testing::TestWithParam<Residency> {};

// One failure at the first, second, ... call of a kind, until the scenario has no more calls.
TEST_P(FailureTest, AnyTransferMayFailOnce) {
  const std::vector<std::pair<std::string, std::function<void(int)>>> kinds = {
      {"copy", [](int n) { FailCall(Call::kCopy, absl::UnavailableError("once"), n); }},
      {"record", [](int n) { FailCall(Call::kRecord, absl::UnavailableError("once"), n); }},
      {"wait", [](int n) { FailCall(Call::kWait, absl::UnavailableError("once"), n); }},
      {"create", [](int n) { FailCall(Call::kCreate, absl::UnavailableError("once"), n); }},
      {"running copy", [](int n) { fake_device::FailRunningCopy(absl::DataLossError("once"), n); }},
  };
  for (const auto& [name, fail] : kinds) {
    int n_points = 0;
    for (bool failed = true; failed; ++n_points) {
      fake_device::Reset(1 << 20);
      StepHarness harness(RoomFor(GetParam(), GetParam() == Residency::kDevice ? 18 : 9), 18);
      fail(n_points);
      int n_failed = 0;
      const absl::Status status = Scenario(harness, n_failed);
      ASSERT_TRUE(status.ok()) << name << " " << n_points << ": " << status;
      failed = fake_device::AllFailuresHappened();
      fake_device::ClearFailures();
      ASSERT_LE(n_failed, 1) << name << " " << n_points;
    }
    if (GetParam() == Residency::kDevice) {
      EXPECT_EQ(n_points, 1) << name << ": nothing moves";
    } else if (name != "create") {
      EXPECT_GT(n_points, 10) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, FailureTest, testing::ValuesIn(kModes), [](const auto& mode) {
  return std::string(ResidencyName(mode.param));
});

}  // namespace
}  // namespace keyhole
