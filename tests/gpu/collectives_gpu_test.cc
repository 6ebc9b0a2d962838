// NCCL with one rank, all that one GPU allows: it loads and joins; its collectives only copy. More
// ranks: emulated_collectives_test.cc.
#include "engine/device/device_error.h"
#include "engine/device/graph.h"
#include "engine/parallel/nccl_collectives.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/parallel/rank_threads.h"

namespace keyhole {
namespace {

using CollectivesGpuTest = GpuTest;

TEST_F(CollectivesGpuTest, OneRankSumsGathersAndReplays) {
  const std::vector<float> values = {1, -2, 3};
  float* x = ToDevice(values);
  float* all = Take<float>(3);
  testing::RunRanks(1, [&](std::unique_ptr<ProcessGroup> group) {
    ASSERT_TRUE(OpenGpu(0).ok());  // of this thread
    const auto ranks = MakeNcclCollectives(group.get(), {.start = absl::Minutes(1)});
    ASSERT_TRUE(ranks.ok()) << ranks.status();
    const auto work = [&] {
      try {
        (*ranks)->AllReduce(stream(), x, 3);
        (*ranks)->AllGather(stream(), x, 3, all);
      } catch (const DeviceError& error) {
        return error.status();
      }
      return absl::OkStatus();
    };
    absl::Status status = work();
    status.Update((*ranks)->Synchronize(stream()));
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(FromDevice(x, 3), values);
    EXPECT_EQ(FromDevice(all, 3), values);

    const absl::StatusOr<Graph> graph = Graph::Capture(stream(), work);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const std::vector<float> others = {4, 5, -6};
    ASSERT_TRUE(CopyAsync(stream(), x, others.data(), 3 * sizeof(float)).ok());
    ASSERT_TRUE(graph->Launch(stream()).ok());
    ASSERT_TRUE((*ranks)->Synchronize(stream()).ok());
    EXPECT_EQ(FromDevice(all, 3), others);
  });
}

}  // namespace
}  // namespace keyhole
