// How an accelerator's memory is shared out: plain arithmetic, without one.
#include "engine/model/cuda/accelerator_memory.h"

#include <gtest/gtest.h>

namespace keyhole::cuda {
namespace {

// A page has 1,000 rows of 4 KiB and 100 KiB of digests, and 4 bytes a row to find what spilled.
constexpr KvLayout kLayout = {
    .n_layers = 1, .n_kv_heads = 8, .head_dim = 64, .page_size = 1000, .type = KvType::kF32};
constexpr std::size_t kPage = 4096000;
constexpr std::size_t kDigests = 102400;
constexpr std::size_t kTables = 4000;
constexpr std::size_t kLittle = 100 * (kPage + kDigests);
constexpr std::size_t kLittleRoom = kLittle - kLittle / 8;

AcceleratorSettings Settings(Residency residency, std::int64_t host_pages) {
  AcceleratorSettings settings;
  settings.page_size = 1000;
  settings.max_context = 10000;
  settings.max_running = 100;
  settings.residency = residency;
  settings.host_bytes = host_pages * static_cast<std::int64_t>(kPage);
  return settings;
}

TEST(AcceleratorMemoryTest, PagesAreThoseOfTheHostOrOfTheDevice) {
  const std::size_t free = std::size_t{100} << 30;
  const std::size_t on_device = (free - (std::size_t{768} << 20)) / (kPage + kDigests);
  ASSERT_GT(on_device, 1000);  // more than sequences can use
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, Settings(Residency::kDevice, 0))->n_pages, 1000);
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, Settings(Residency::kHost, 50))->n_pages, 50);
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, Settings(Residency::kAuto, 50))->n_pages, 1000);
  const auto device = ShareMemory(kLayout, kDigests, kLittle, Settings(Residency::kDevice, 500));
  EXPECT_EQ(device->n_pages, 87) << "an eighth is spare";
  EXPECT_EQ(device->device_bytes, kLittleRoom - 87 * kDigests) << "and nothing spills";
  const auto both = ShareMemory(kLayout, kDigests, kLittle, Settings(Residency::kAuto, 500));
  EXPECT_EQ(both->n_pages, 500);
  const std::size_t for_rows = kLittleRoom - 500 * (kDigests + kTables);
  EXPECT_EQ(both->device_bytes, for_rows / (4096 + 8) * 4096) << "8 bytes to find a hot row";
}

// Whatever the plan makes hot rows of.
TEST(AcceleratorMemoryTest, RowsDigestsAndTablesFitTheRoomAndFillIt) {
  for (const Residency mode : {Residency::kHost, Residency::kAuto, Residency::kDevice}) {
    const auto memory = ShareMemory(kLayout, kDigests, kLittle, Settings(mode, 500));
    ASSERT_TRUE(memory.ok());
    const std::int32_t n_pages = memory->n_pages;
    const ResidencyPlan plan = PlanResidency({.mode = mode,
                                              .device_bytes = memory->device_bytes,
                                              .held_pages = 10,
                                              .fetched_rows = 3000},
                                             kLayout,
                                             n_pages)
                                   .value();
    EXPECT_EQ(plan.spills, mode != Residency::kDevice);
    const std::size_t taken = n_pages * (kDigests + (plan.spills ? kTables : 0)) +
                              plan.n_page_slots * kPage + plan.n_hot_rows * std::size_t{4096 + 8};
    EXPECT_LE(taken, kLittleRoom) << ResidencyName(mode);
    EXPECT_GE(taken + kPage + kDigests, kLittleRoom) << ResidencyName(mode);
  }
}

TEST(AcceleratorMemoryTest, AGivenBudgetIsTakenOrRefused) {
  AcceleratorSettings settings = Settings(Residency::kDevice, 0);
  settings.device_bytes = 40 * kPage + 1;
  const auto memory = ShareMemory(kLayout, kDigests, kLittle, settings);
  EXPECT_EQ(memory->n_pages, 40);
  EXPECT_EQ(memory->device_bytes, settings.device_bytes);
  settings.device_bytes = 100 * kPage;
  EXPECT_EQ(ShareMemory(kLayout, kDigests, kLittle, settings).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ShareMemory(kLayout, kDigests, 1000, Settings(Residency::kHost, 50)).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace keyhole::cuda
