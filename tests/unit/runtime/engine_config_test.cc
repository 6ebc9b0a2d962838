#include "engine/engine_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace keyhole {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(EngineConfigTest, DefaultsAreValid) { EXPECT_TRUE(Validate(EngineConfig{}).ok()); }

TEST(EngineConfigTest, ErrorsNameTheSetting) {
  EngineConfig config;
  config.scheduler.chunk_size = 100;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("kv.page_size"));
  config = {};
  config.scheduler.max_running = 0;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("max-running is 0"));
  config = {};
  config.text_workers = 0;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("text_workers"));
  config = {};
  config.selection.coarse_dims = 6;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("coarse-dims"));
}

TEST(EngineConfigTest, SelectionHasBounds) {
  const auto refused = [](auto&& change) {
    EngineConfig config;
    change(config.selection);
    return Message(Validate(config));
  };
  for (const float bias : {std::nanf(""), 100.5F, -HUGE_VALF}) {
    EXPECT_THAT(refused([=](SelectionSettings& s) { s.recall_bias = bias; }),
                HasSubstr("recall-bias"));
  }
  EXPECT_THAT(refused([](SelectionSettings& s) { s.recall_selected = -1; }),
              HasSubstr("recall-selected is -1"));
  EXPECT_THAT(refused([](SelectionSettings& s) { s.selected = 1 << 28; }),
              HasSubstr("selected is 268435456"));
  EXPECT_EQ(refused([](SelectionSettings& s) { s.recall_bias = -100; }), "");
  EXPECT_EQ(refused([](SelectionSettings& s) { s.selected = 1 << 27; }), "");
}

TEST(EngineConfigTest, ErrorsNameTheSettingOfRanks) {
  EngineConfig config;
  TensorParallelSettings& ranks = config.tensor_parallel;
  ranks.rank = 1;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("tensor-parallel-rank"));
  ranks = {};
  ranks.size = 2;
  EXPECT_TRUE(Validate(config).ok());
  for (const char* address : {"", "8481", ":8481", "host", "host:0", "host:65536", "host:x"}) {
    ranks.address = address;
    EXPECT_THAT(Message(Validate(config)), HasSubstr("tensor-parallel-address")) << address;
  }
  ranks = {};
  ranks.backend = RankBackend::kNccl;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("tensor-parallel-backend"));
  config.device.compute = ComputeDevice::kCuda;
  EXPECT_TRUE(Validate(config).ok());
  config.device.compute = ComputeDevice::kCpu;
  ranks = {};
  ranks.timeout = absl::ZeroDuration();
  EXPECT_THAT(Message(Validate(config)), HasSubstr("tensor-parallel-timeout"));
}

TEST(EngineConfigTest, SettingsOfTheAcceleratorNeedOne) {
  EngineConfig config;
  config.device.residency = Residency::kDevice;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("device cuda"));
  config.device.compute = ComputeDevice::kCuda;
  EXPECT_TRUE(Validate(config).ok());
  config.model.weights = WeightMode::kF32;
  EXPECT_THAT(Message(Validate(config)), HasSubstr("weights f32"));
  config.model.weights = WeightMode::kAuto;
  config.trace.path = "trace.json";
  EXPECT_THAT(Message(Validate(config)), HasSubstr("trace-file"));
}

TEST(EngineConfigTest, DescribesEverySetting) {
  const auto lines = Describe(EngineConfig{});
  EXPECT_THAT(lines, Contains("chunk-size = 512"));
  EXPECT_THAT(lines, Contains("policy = esa"));
  EXPECT_THAT(lines, Contains("weights = auto"));
  EXPECT_THAT(lines, Contains("device = cpu"));
  EXPECT_THAT(lines, Contains("kv-residency = auto"));
}

TEST(EngineConfigTest, ContextDefaultsToTheTrainedLength) {
  const auto limits = ResolveContext({}, 2048, false);
  ASSERT_TRUE(limits.ok());
  EXPECT_EQ(limits->max_context, 2048);
  EXPECT_EQ(limits->max_output, 2047);
  EXPECT_EQ(limits->default_max_output, 256);
  EXPECT_EQ(limits->positions, PositionMode::kNative);
}

TEST(EngineConfigTest, LongerContextNeedsRectifiedPositions) {
  EngineConfig config;
  config.scheduler.max_context = 4096;
  EXPECT_THAT(Message(ResolveContext(config, 2048, false).status()), HasSubstr("2048"));
  EXPECT_EQ(ResolveContext(config, 2048, true)->positions, PositionMode::kRectified);
  config.selection.positions = PositionMode::kNative;
  EXPECT_FALSE(ResolveContext(config, 2048, true).ok());
  config.selection.positions = PositionMode::kRectified;
  EXPECT_FALSE(ResolveContext(config, 2048, false).ok());
}

}  // namespace
}  // namespace keyhole
