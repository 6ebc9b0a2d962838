// Part of builds without CUDA only: in the others the same calls need a GPU.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/device/device_error.h"
#include "engine/device/event.h"
#include "engine/device/gpu.h"
#include "engine/device/pinned_buffer.h"
#include "engine/device/stream.h"

namespace keyhole {
namespace {

TEST(NoCudaTest, EveryObjectOfTheDeviceSaysThatTheBuildHasNoCuda) {
  EXPECT_FALSE(BuiltWithCuda());
  for (const absl::Status& status : {OpenGpu(0).status(),
                                     FreeGpuBytes().status(),
                                     Stream::Create().status(),
                                     Event::Create().status(),
                                     Event::Create(Event::Timing::kYes).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(status.message().find("KEYHOLE_CUDA=ON"), std::string_view::npos) << status;
    EXPECT_FALSE(IsSticky(status));
  }
}

TEST(NoCudaTest, HostMemoryIsThereAndSaysWhyItIsPageable) {
  absl::StatusOr<PinnedBuffer> buffer = PinnedBuffer::Allocate(1 << 20);
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  ASSERT_EQ(buffer->size(), 1U << 20);
  EXPECT_FALSE(buffer->pinned());
  EXPECT_NE(buffer->why_pageable().find("no CUDA"), std::string::npos);
  std::memset(buffer->data(), 7, buffer->size());
  const PinnedBuffer moved = *std::move(buffer);
  EXPECT_EQ(moved.data()[moved.size() - 1], std::byte{7});
  ASSERT_TRUE(PinnedBuffer::Allocate(0).ok());
  EXPECT_EQ(PinnedBuffer::Allocate(0)->data(), nullptr);
}

TEST(NoCudaTest, TooMuchHostMemoryIsRecoverable) {
  const absl::Status status = PinnedBuffer::Allocate(~std::size_t{0} - (1 << 20)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace keyhole
