#include <stdexcept>

#include "engine/device/device_error.h"
#include "engine/device/graph.h"
#include "engine/device/graph_cache.h"
#include "engine/ops/cuda/row_ops.h"
#include "tests/gpu/gpu_fixture.h"

namespace keyhole {
namespace {

class GraphGpuTest : public GpuTest {
 protected:
  // x += y, `times` times.
  Graph Capture(int times) {
    absl::StatusOr<Graph> graph = Graph::Capture(stream(), [&] { return Add(x_, times); });
    EXPECT_TRUE(graph.ok()) << graph.status();
    return *std::move(graph);
  }
  absl::Status Add(float* x, int times) {
    for (int i = 0; i < times; ++i) cuda::AddInPlace(stream(), {.x = x, .y = y_, .n = 3});
    return absl::OkStatus();
  }
  std::vector<float> Values(const float* x) { return FromDevice(x, 3); }

  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(GpuTest::SetUp());
    x_ = ToDevice(std::vector<float>{1, 2, 3});
    y_ = ToDevice(std::vector<float>{10, 20, 30});
  }

  float* x_ = nullptr;
  float* y_ = nullptr;
};

TEST_F(GraphGpuTest, WorkRunsAsOftenAsItIsLaunched) {
  const Graph graph = Capture(2);
  EXPECT_EQ(Values(x_), (std::vector<float>{1, 2, 3})) << "captured, not run";
  ASSERT_TRUE(graph.Launch(stream()).ok());
  EXPECT_EQ(Values(x_), (std::vector<float>{21, 42, 63}));
  const std::vector<float> other = {1, 0, 0};
  ASSERT_TRUE(CopyAsync(stream(), y_, other.data(), 3 * sizeof(float)).ok());
  ASSERT_TRUE(graph.Launch(stream()).ok());
  EXPECT_EQ(Values(x_), (std::vector<float>{23, 42, 63})) << "what lies there now";
}

TEST_F(GraphGpuTest, AnUpdateReplacesTheWork) {
  Graph graph = Capture(1);
  float* other = ToDevice(std::vector<float>{0, 0, 0});
  for (const int times : {1, 3}) {  // of the same form, and of another
    ASSERT_TRUE(graph.Update(stream(), [&] { return Add(other, times); }).ok());
    ASSERT_TRUE(graph.Launch(stream()).ok());
  }
  EXPECT_EQ(Values(x_), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(Values(other), (std::vector<float>{40, 80, 120}));
}

TEST_F(GraphGpuTest, ACaptureThatFailsLeavesStreamAndGraphAsTheyWere) {
  Graph graph = Capture(1);
  absl::Status no = absl::InternalError("no");
  EXPECT_EQ(graph.Update(stream(), [&] { return no; }).message(), "no");
  const auto fail = [&]() -> absl::Status { throw DeviceError(no); };
  EXPECT_EQ(Graph::Capture(stream(), fail).status().message(), "no");
  const auto defect = [&]() -> absl::Status { throw std::logic_error("defect"); };
  EXPECT_THROW(Graph::Capture(stream(), defect).status().IgnoreError(), std::logic_error);
  ASSERT_TRUE(Add(x_, 1).ok());
  ASSERT_TRUE(graph.Launch(stream()).ok());
  EXPECT_EQ(Values(x_), (std::vector<float>{21, 42, 63}));
}

TEST_F(GraphGpuTest, ACacheCapturesTheSecondRunOfAKey) {
  GraphCache<int> cache(2);
  int n_runs = 0;
  const auto run = [&](int key) {
    const absl::Status status = cache.Run(stream(), key, [&] {
      ++n_runs;
      return Add(x_, key);
    });
    EXPECT_TRUE(status.ok()) << status;
  };
  for (int i = 0; i < 4; ++i) run(1);
  EXPECT_EQ(n_runs, 2) << "itself, and while it was captured";
  run(2);
  EXPECT_EQ(Values(x_), (std::vector<float>{61, 122, 183})) << "six times in all";
  run(3);  // in the place of 1
  run(2);
  run(1);
  run(1);
  EXPECT_EQ(cache.n_captures(), 3);
  EXPECT_EQ(n_runs, 7);
  EXPECT_EQ(Values(x_), (std::vector<float>{131, 262, 393}));
}

TEST_F(GraphGpuTest, WorkThatFailsIsNotKept) {
  GraphCache<int> cache(2);
  absl::Status no = absl::InternalError("no");
  EXPECT_EQ(cache.Run(stream(), 1, [&] { return no; }).message(), "no");
  EXPECT_TRUE(cache.Run(stream(), 1, [&] { return Add(x_, 1); }).ok());
  EXPECT_EQ(cache.Run(stream(), 1, [&] { return no; }).message(), "no");
  EXPECT_EQ(cache.n_captures(), 0);
  EXPECT_TRUE(cache.Run(stream(), 1, [&] { return Add(x_, 1); }).ok());
  EXPECT_EQ(Values(x_), (std::vector<float>{21, 42, 63}));
}

TEST_F(GraphGpuTest, WorkThatCannotBeCapturedRunsAsItIs) {
  GraphCache<int> cache(2);
  int n_runs = 0;
  for (int i = 0; i < 4; ++i) {
    const absl::Status status = cache.Run(stream(), 1, [&] {
      ++n_runs;
      Add(x_, 1).IgnoreError();
      return stream().Synchronize();
    });
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(Values(x_), (std::vector<float>{41, 82, 123}));
  EXPECT_EQ(n_runs, 5) << "four times, and while it was captured in vain";
  EXPECT_EQ(cache.n_captures(), 0);
  EXPECT_FALSE(cache.failure().ok());
}

TEST_F(GraphGpuTest, WhatIsClearedIsCapturedAnew) {
  GraphCache<int> cache(2);
  const auto run = [&] { EXPECT_TRUE(cache.Run(stream(), 1, [&] { return Add(x_, 1); }).ok()); };
  for (int i = 0; i < 3; ++i) run();
  cache.Clear();
  run();
  EXPECT_EQ(cache.n_captures(), 1);
  run();
  EXPECT_EQ(cache.n_captures(), 2);
  EXPECT_EQ(Values(x_), (std::vector<float>{51, 102, 153}));
}

TEST_F(GraphGpuTest, WorkThatWaitsCannotBeCaptured) {
  EXPECT_FALSE(Graph::Capture(stream(), [&] { return stream().Synchronize(); }).ok());
  const auto ignores = [&] {
    stream().Synchronize().IgnoreError();
    return absl::OkStatus();
  };
  EXPECT_FALSE(Graph::Capture(stream(), ignores).ok());
  EXPECT_TRUE(stream().Synchronize().ok());
  const auto pins = [&] { return PinnedBuffer::Allocate(64).status(); };
  EXPECT_FALSE(Graph::Capture(stream(), pins).ok());
  EXPECT_TRUE(stream().Synchronize().ok());
}

TEST_F(GraphGpuTest, WorkThatTakesMemoryCannotBeCaptured) {
  const auto takes = [&] { return DeviceBuffer::Allocate(stream(), 64).status(); };
  EXPECT_EQ(Graph::Capture(stream(), takes).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(takes().ok());
}

}  // namespace
}  // namespace keyhole
