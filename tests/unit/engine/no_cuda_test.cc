// Part of builds without CUDA only.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"

namespace keyhole {
namespace {

TEST(NoCudaEngineTest, SaysThatTheBuildHasNoCuda) {
  EngineConfig config;
  config.model.path = "synthetic:tiny";
  config.device.compute = ComputeDevice::kCuda;
  const absl::Status status = Engine::Create(config, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("this build has no CUDA"));
}

}  // namespace
}  // namespace keyhole
