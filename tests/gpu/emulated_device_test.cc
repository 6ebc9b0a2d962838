// Errors of the device, which only an emulated one makes when asked to.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <initializer_list>

#include "engine/device/cuda/cuda_status.h"
#include "engine/device/cuda/shared_library.h"
#include "engine/device/device_error.h"
#include "engine/device/event.h"
#include "engine/device/graph_cache.h"
#include "engine/ops/cuda/linear.h"
#include "engine/ops/cuda/row_ops.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/support/cuda_emulation/emulation.h"

namespace keyhole {
namespace {

using cuda_emulation::Call;
using cuda_emulation::FailCall;

class EmulatedDeviceTest : public GpuTest {
 protected:
  void TearDown() override { cuda_emulation::RestoreContext(); }
};

TEST_F(EmulatedDeviceTest, ShortMemoryIsRecoverable) {
  FailCall(Call::kMalloc, cudaErrorMemoryAllocation);
  const absl::Status status = DeviceBuffer::Allocate(stream(), 64).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(IsSticky(status));
  EXPECT_TRUE(DeviceBuffer::Allocate(stream(), 64).ok());
}

TEST_F(EmulatedDeviceTest, MemoryThatBuffersGaveBackIsFree) {
  const auto of_device = [] {
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
    return free_bytes;
  };
  const std::size_t before = OpenGpu(0)->free_bytes;
  const std::size_t bytes = before - of_device() + 4096;  // more than the pool keeps
  absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Allocate(stream(), bytes);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(OpenGpu(0)->free_bytes, before - bytes);
  *buffer = DeviceBuffer();
  EXPECT_EQ(OpenGpu(0)->free_bytes, before);
  EXPECT_EQ(of_device(), before - bytes) << "the pool keeps it";
}

TEST_F(EmulatedDeviceTest, AnUploadThatFailedIsMadeAgain) {
  const std::vector<std::int32_t> values = {1, 2, 3};
  const std::vector<std::int32_t> others(5000, 7);
  workspace().Upload<std::int32_t>(values);
  for (const Call call : {Call::kCopy, Call::kMalloc}) {
    FailCall(call, cudaErrorInvalidValue);
    EXPECT_THROW(workspace().Upload<std::int32_t>(others), DeviceError);
    EXPECT_EQ(FromDevice(workspace().Upload<std::int32_t>(others), others.size()), others);
    EXPECT_EQ(FromDevice(workspace().Upload<std::int32_t>(values), values.size()), values);
  }
}

TEST_F(EmulatedDeviceTest, MemoryThatCannotBePinnedIsPageableAndSaysWhy) {
  FailCall(Call::kHostAlloc, cudaErrorMemoryAllocation);
  const absl::StatusOr<PinnedBuffer> buffer = PinnedBuffer::Allocate(100);
  ASSERT_TRUE(buffer.ok());
  EXPECT_FALSE(buffer->pinned());
  EXPECT_NE(buffer->why_pageable().find("MemoryAllocation"), std::string::npos);
  EXPECT_TRUE(PinnedBuffer::Allocate(100)->pinned());
}

TEST_F(EmulatedDeviceTest, AStickyErrorIsNoReasonForPageableMemory) {
  FailCall(Call::kHostAlloc, cudaErrorIllegalAddress);
  EXPECT_TRUE(IsSticky(PinnedBuffer::Allocate(100).status()));
}

TEST_F(EmulatedDeviceTest, ErrorsOfWorkAppearWhereItIsWaitedFor) {
  FailCall(Call::kSynchronize, cudaErrorIllegalAddress);
  const absl::Status status = stream().Synchronize();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(IsSticky(status));
  EXPECT_TRUE(IsSticky(stream().Synchronize())) << "and with every later call";
  EXPECT_TRUE(IsSticky(Event::Create().status()));
  EXPECT_TRUE(IsSticky(DeviceBuffer::Allocate(stream(), 64).status()));
}

TEST_F(EmulatedDeviceTest, OperatorsThrowTheStatusOfALaunch) {
  float* x = Take<float>(4);
  for (const cudaError_t error : {cudaErrorLaunchFailure, cudaErrorNoKernelImageForDevice}) {
    cuda_emulation::RestoreContext();
    FailCall(Call::kLaunch, error);
    try {
      cuda::AddInPlace(stream(), {.x = x, .y = x, .n = 4});
      FAIL() << "no exception";
    } catch (const DeviceError& caught) {
      EXPECT_EQ(IsSticky(caught.status()), error == cudaErrorLaunchFailure);
      EXPECT_NE(caught.status().message().find("AddInPlace"), std::string_view::npos);
    }
  }
}

TEST_F(EmulatedDeviceTest, AProductOnALostDeviceSaysSo) {
  cuda::LinearOp linear(stream());
  auto* x = Take<std::uint16_t>(4);
  float* out = Take<float>(1);
  FailCall(Call::kProduct, cudaErrorIllegalAddress);
  try {
    linear.Run(x, 1, {.data = x, .n_out = 1, .n_in = 4}, out);
    FAIL() << "no exception";
  } catch (const DeviceError& caught) {
    EXPECT_TRUE(IsSticky(caught.status())) << caught.status();
  }
}

// Each call of the cache does the work once, whatever fails.
TEST_F(EmulatedDeviceTest, WorkWhoseGraphFailsRunsAsItIsFromThenOn) {
  for (const Call call : {Call::kInstantiate, Call::kGraphLaunch}) {
    GraphCache<int> cache(2);
    int n_runs = 0;
    float* x = ToDevice(std::vector<float>{1});
    const auto run = [&] {
      return cache.Run(stream(), 7, [&] {
        ++n_runs;
        cuda::AddInPlace(stream(), {.x = x, .y = x, .n = 1});
        return absl::OkStatus();
      });
    };
    ASSERT_TRUE(run().ok());
    FailCall(call, cudaErrorMemoryAllocation);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(run().ok());
    EXPECT_EQ(FromDevice(x, 1).front(), 16);
    EXPECT_EQ(n_runs, 5) << "four times, and while it was captured";
    EXPECT_EQ(cache.failure().code(), absl::StatusCode::kResourceExhausted);
  }
}

// Graphs of 1,000 bytes where two and a half may be kept.
class GraphMemoryTest : public EmulatedDeviceTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(EmulatedDeviceTest::SetUp());
    cuda_emulation::SetGraphBytes(1000);
  }
  void TearDown() override {
    cuda_emulation::SetGraphBytes(0);
    EmulatedDeviceTest::TearDown();
  }

  void Run(std::initializer_list<int> keys) {
    for (const int key : keys) {
      const absl::Status status = cache_.Run(stream(), key, [&] {
        ++n_runs_;
        return absl::OkStatus();
      });
      EXPECT_TRUE(status.ok()) << status;
    }
  }

  GraphCache<int> cache_{8, 2500};
  int n_runs_ = 0;
};

TEST_F(GraphMemoryTest, GraphsTakeNoMoreThanTheyMay) {
  Run({1, 1, 2, 2});
  EXPECT_EQ(n_runs_, 4);
  Run({1, 2});
  EXPECT_EQ(n_runs_, 4) << "both are captured";
  Run({3, 3, 2, 3});
  EXPECT_EQ(n_runs_, 6) << "in the place of 1";
  Run({1});
  EXPECT_EQ(n_runs_, 7) << "in the place of 2";
  Run({3, 1});
  EXPECT_EQ(n_runs_, 7);
  Run({2});
  EXPECT_EQ(n_runs_, 8);
  EXPECT_EQ(cache_.n_captures(), 5);
}

TEST_F(GraphMemoryTest, AGraphThatIsGoneTakesNone) {
  Run({1, 1, 2, 2});
  FailCall(Call::kGraphLaunch, cudaErrorMemoryAllocation);
  Run({1, 3, 3});
  EXPECT_EQ(n_runs_, 7);
  Run({2});
  EXPECT_EQ(n_runs_, 7) << "there is room for 2 and 3";
}

TEST_F(EmulatedDeviceTest, AGraphThatMeetsALostDeviceIsNotTriedAgain) {
  GraphCache<int> cache(2);
  int n_runs = 0;
  const auto work = [&] {
    ++n_runs;
    return absl::OkStatus();
  };
  ASSERT_TRUE(cache.Run(stream(), 7, work).ok());
  FailCall(Call::kGraphLaunch, cudaErrorIllegalAddress);
  EXPECT_TRUE(IsSticky(cache.Run(stream(), 7, work)));
  EXPECT_EQ(n_runs, 2) << "itself, and while it was captured";
}

TEST(SharedLibraryTest, TheLoaderSaysWhyAFunctionIsNotThere) {
  constexpr const char* kAbsent = "libkeyhole-of-nobody.so.1";
  EXPECT_EQ(FindFunction(kAbsent, "f"), nullptr);
  EXPECT_NE(LoadProblem(kAbsent, "f").find(kAbsent), std::string::npos)
      << LoadProblem(kAbsent, "f");
  EXPECT_NE(LoadProblem("libc.so.6", "keyhole_of_nobody").find("keyhole_of_nobody"),
            std::string::npos);
  EXPECT_EQ(LoadProblem("libc.so.6", "abort"), "");
}

TEST(CudaStatusTest, ClassesOfErrors) {
  EXPECT_TRUE(CudaStatus(cudaSuccess, "x").ok());
  EXPECT_EQ(CudaStatus(cudaErrorNoDevice, "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CudaStatus(cudaErrorMemoryAllocation, "x").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(IsSticky(CudaStatus(cudaErrorInvalidValue, "x")));
  EXPECT_TRUE(IsSticky(CudaStatus(cudaErrorECCUncorrectable, "x")));
}

TEST(GpuInfoTest, ThereIsNoSecondEmulatedGpu) {
  EXPECT_EQ(OpenGpu(1).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(OpenGpu(0)->name, "emulated on the CPU");
}

}  // namespace
}  // namespace keyhole
