// How an accelerator's memory is shared out: plain arithmetic, without one.
#include "engine/model/cuda/accelerator_memory.h"

#include <gtest/gtest.h>

namespace keyhole::cuda {
namespace {

// A page has 1,000 rows of 4 KiB and 100 KiB of digests.
constexpr KvLayout kLayout = {
    .n_layers = 1, .n_kv_heads = 8, .head_dim = 64, .page_size = 1000, .type = KvType::kF32};
constexpr std::size_t kPage = 4096000;
constexpr std::size_t kDigests = 102400;

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
  const std::size_t on_device = (free - (std::size_t{256} << 20)) / (kPage + kDigests);
  ASSERT_GT(on_device, 1000);  // more than sequences can use
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, Settings(Residency::kDevice, 0))->n_pages, 1000);
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, Settings(Residency::kHost, 50))->n_pages, 50);
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, Settings(Residency::kAuto, 50))->n_pages, 1000);
  const std::size_t little = 100 * (kPage + kDigests);
  const auto device = ShareMemory(kLayout, kDigests, little, Settings(Residency::kDevice, 500));
  EXPECT_EQ(device->n_pages, 93) << "a sixteenth is spare";
  EXPECT_GE(device->device_bytes, 93 * kPage);
  const auto both = ShareMemory(kLayout, kDigests, little, Settings(Residency::kAuto, 500));
  EXPECT_EQ(both->n_pages, 500);
  EXPECT_EQ(both->device_bytes, little - little / 16 - 500 * kDigests);
}

TEST(AcceleratorMemoryTest, AGivenBudgetIsTakenOrRefused) {
  const std::size_t free = 100 * (kPage + kDigests);
  AcceleratorSettings settings = Settings(Residency::kDevice, 0);
  settings.device_bytes = 40 * kPage + 1;
  const auto memory = ShareMemory(kLayout, kDigests, free, settings);
  EXPECT_EQ(memory->n_pages, 40);
  EXPECT_EQ(memory->device_bytes, settings.device_bytes);
  settings.device_bytes = 100 * kPage;
  EXPECT_EQ(ShareMemory(kLayout, kDigests, free, settings).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ShareMemory(kLayout, kDigests, 1000, Settings(Residency::kHost, 50)).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace keyhole::cuda
