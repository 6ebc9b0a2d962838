#include "engine/kv/device_windows.h"

#include <gtest/gtest.h>

#include "tests/support/fake_device/fake_device.h"

namespace keyhole {
namespace {

constexpr KvLayout kLayout = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 8, .type = KvType::kF32};
constexpr DeviceWindowSizes kSizes = {.capacity = 12, .n_sequences = 2};

TEST(DeviceWindowsTest, WindowsAreApartAndTheirNumberIsLimited) {
  fake_device::Reset(1 << 20);
  const Stream stream = Stream::Create().value();
  DeviceWindows windows = DeviceWindows::Create(stream, kLayout, kSizes).value();
  EXPECT_EQ(fake_device::BytesInUse(), 2 * WindowBytes(kLayout, 12));
  KeyWindow* first = windows.Open(71).value();
  KeyWindow* second = windows.Open(5).value();
  EXPECT_EQ(windows.Open(71).value(), first);
  EXPECT_EQ(second->Ring(0).base - first->Ring(0).base, WindowBytes(kLayout, 12));
  EXPECT_EQ(first->Ring(2).base - first->Ring(0).base, 2 * 12 * 64);
  EXPECT_EQ(windows.Open(6).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(first->Advance(1, {0, 4}, 0), (RowRange{0, 4}));
  const std::byte* base = first->Ring(0).base;
  windows.Close(71);
  windows.Close(71);
  KeyWindow* third = windows.Open(6).value();
  EXPECT_EQ(third->Ring(0).base, base);
  EXPECT_EQ(third->Advance(1, {0, 8}, 4), (RowRange{0, 8})) << "what another sequence left";
}

TEST(DeviceWindowsTest, SizesThatDoNotFitAreRefused) {
  fake_device::Reset(1000);
  const Stream stream = Stream::Create().value();
  const auto code = [&](const DeviceWindowSizes& sizes) {
    return DeviceWindows::Create(stream, kLayout, sizes).status().code();
  };
  EXPECT_EQ(code({0, 1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1, 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(kSizes), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace keyhole
