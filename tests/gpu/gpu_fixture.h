// A GPU, a stream, and arrays on their way there and back. Without a GPU every test fails.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "engine/device/device_buffer.h"
#include "engine/device/device_copy.h"
#include "engine/device/gpu.h"
#include "engine/device/pinned_buffer.h"
#include "engine/device/stream.h"
#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole {

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<GpuInfo> gpu = OpenGpu(0);
    ASSERT_TRUE(gpu.ok()) << gpu.status();
    absl::StatusOr<Stream> stream = Stream::Create();
    ASSERT_TRUE(stream.ok()) << stream.status();
    stream_ = *std::move(stream);
    workspace_.emplace(*stream_);
  }

  const Stream& stream() const { return *stream_; }
  cuda::Workspace& workspace() { return *workspace_; }

  // Device memory until the end of the test.
  std::byte* TakeBytes(std::size_t bytes) {
    absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Allocate(stream(), bytes);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    buffers_.push_back(*std::move(buffer));
    return buffers_.back().data();
  }
  template <typename T>
  T* Take(std::size_t n) {
    return reinterpret_cast<T*>(TakeBytes(n * sizeof(T)));
  }
  template <typename T>
  T* ToDevice(const T* values, std::size_t n) {
    T* copy = Take<T>(n);
    EXPECT_TRUE(CopyAsync(stream(), copy, values, n * sizeof(T)).ok());
    EXPECT_TRUE(stream().Synchronize().ok());
    return copy;
  }
  template <typename T>
  T* ToDevice(const std::vector<T>& values) {
    return ToDevice(values.data(), values.size());
  }
  template <typename T>
  std::vector<T> FromDevice(const T* values, std::size_t n) {
    std::vector<T> copy(n);
    EXPECT_TRUE(CopyAsync(stream(), copy.data(), values, n * sizeof(T)).ok());
    const absl::Status status = stream().Synchronize();
    EXPECT_TRUE(status.ok()) << status;
    return copy;
  }
  // Pinned memory until the end of the test.
  std::byte* ToPinned(const std::byte* values, std::size_t bytes) {
    absl::StatusOr<PinnedBuffer> buffer = PinnedBuffer::Allocate(bytes);
    EXPECT_TRUE(buffer.ok() && buffer->pinned()) << buffer.status();
    pinned_.push_back(*std::move(buffer));
    std::memcpy(pinned_.back().data(), values, bytes);
    return pinned_.back().data();
  }
  cuda::DevicePageTable Pages(const std::vector<PageId>& pages) {
    return {ToDevice(pages), static_cast<std::int32_t>(pages.size())};
  }

 private:
  std::optional<Stream> stream_;
  std::optional<cuda::Workspace> workspace_;
  std::deque<DeviceBuffer> buffers_;
  std::deque<PinnedBuffer> pinned_;
};

}  // namespace keyhole
