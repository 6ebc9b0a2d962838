#include "engine/kv/residency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace keyhole {
namespace {

using testing::HasSubstr;

// Pages of 256 bytes, two layers of 4 rows of 32.
constexpr KvLayout kLayout = {
    .n_layers = 2, .n_kv_heads = 1, .head_dim = 4, .page_size = 4, .type = KvType::kF32};
constexpr std::int32_t kPages = 10;

ResidencySettings Settings(Residency mode, std::size_t bytes) {
  return {.mode = mode, .device_bytes = bytes, .held_pages = 2, .fetched_rows = 3};
}

TEST(ResidencyTest, NamesAreReadAsTheyAreWritten) {
  for (const Residency mode : {Residency::kHost, Residency::kDevice, Residency::kAuto}) {
    EXPECT_EQ(ParseResidency(ResidencyName(mode)).value(), mode);
  }
  const absl::Status status = ParseResidency("gpu").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"gpu\": expected host, device or auto"));
}

TEST(ResidencyTest, HostGivesWhatPagesOfAStepLeaveToHotRows) {
  const ResidencyPlan plan = PlanResidency(Settings(Residency::kHost, 1000), kLayout, 10).value();
  EXPECT_EQ(plan.n_page_slots, 2);
  EXPECT_EQ(plan.n_hot_rows, (1000 - 2 * 256) / 64);
  EXPECT_TRUE(plan.spills);
  const ResidencyPlan wide =
      PlanResidency(Settings(Residency::kHost, 1 << 20), kLayout, 10).value();
  EXPECT_EQ(wide.n_page_slots, 2) << "also where all would fit";
  EXPECT_EQ(wide.n_hot_rows, kPages * 4) << "no more than there are rows";
}

TEST(ResidencyTest, AutoGivesWhatRowsOfAStepLeaveToPages) {
  const ResidencyPlan plan = PlanResidency(Settings(Residency::kAuto, 2000), kLayout, 10).value();
  EXPECT_EQ(plan.n_hot_rows, 3);
  EXPECT_EQ(plan.n_page_slots, (2000 - 3 * 64) / 256);
  EXPECT_TRUE(plan.spills);
}

TEST(ResidencyTest, AutoIsDeviceWhereAllFits) {
  for (const Residency mode : {Residency::kAuto, Residency::kDevice}) {
    const ResidencyPlan plan = PlanResidency(Settings(mode, 2560), kLayout, kPages).value();
    EXPECT_EQ(plan.n_page_slots, kPages);
    EXPECT_EQ(plan.n_hot_rows, 0);
    EXPECT_FALSE(plan.spills);
  }
}

TEST(ResidencyTest, TooLittleMemoryIsRefusedWithBothNumbers) {
  for (const auto& [mode, needed] : {std::pair{Residency::kHost, std::size_t{704}},
                                     {Residency::kAuto, std::size_t{704}},
                                     {Residency::kDevice, std::size_t{2560}}}) {
    EXPECT_TRUE(PlanResidency(Settings(mode, needed), kLayout, kPages).ok());
    const absl::Status status = PlanResidency(Settings(mode, needed - 1), kLayout, kPages).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(
        std::string(status.message()),
        HasSubstr(std::string(ResidencyName(mode)) + " needs " + std::to_string(needed) +
                  " bytes of the device for KV rows and has " + std::to_string(needed - 1)));
    EXPECT_EQ(PlanResidency(Settings(mode, 0), kLayout, kPages).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(ResidencyTest, AStepWithoutRoomIsRefused) {
  for (const ResidencySettings& settings :
       {ResidencySettings{Residency::kHost, 5000, 0, 3}, {Residency::kAuto, 5000, 2, 0}}) {
    EXPECT_EQ(PlanResidency(settings, kLayout, kPages).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(PlanResidency(Settings(Residency::kAuto, 5000), kLayout, 0).ok());
  EXPECT_FALSE(PlanResidency(Settings(Residency::kAuto, 5000), KvLayout{}, 4).ok());
}

TEST(ResidencyTest, RowsThatCannotBeNumberedAreRefused) {
  const absl::Status status =
      PlanResidency(Settings(Residency::kHost, 1 << 20), kLayout, 1 << 28).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("numbered"));
}

}  // namespace
}  // namespace keyhole
