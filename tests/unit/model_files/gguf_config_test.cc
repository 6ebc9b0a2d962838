#include "engine/model/gguf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/model_files/tiny_model.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<ModelConfig> ReadConfig(GgufBuilder builder) {
  const std::string bytes = AddTinyTensors(builder).Build();
  const auto file = GgufFile::Parse(AsBytes(bytes));
  if (!file.ok()) return file.status();
  return ReadGgufConfig(*file);
}

void ExpectUnsupported(const GgufBuilder& builder, const std::string& reason) {
  const auto config = ReadConfig(builder);
  ASSERT_TRUE(absl::IsUnimplemented(config.status())) << config.status();
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(reason));
}

TEST(GgufConfigTest, DefaultsFollowFromTheSizes) {
  const auto config = ReadConfig(TinyMetadata());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->head_dim, 4);
  EXPECT_EQ(config->n_kv_heads, 1);
  EXPECT_EQ(config->vocab_size, 20);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_EQ(config->rope_scaling.kind, RopeScalingKind::kNone);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_FALSE(config->qk_norm);
  EXPECT_TRUE(Validate(*config).ok());
}

TEST(GgufConfigTest, TensorsDeclareBiasesNormsAndOutput) {
  GgufBuilder builder = TinyMetadata("qwen3");
  builder.F32("blk.0.attn_q.bias", {8}).F32("blk.0.attn_q_norm.weight", {4});
  builder.F32("output.weight", {8, 20});
  const auto config = ReadConfig(builder);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_TRUE(config->qk_norm);
  EXPECT_FALSE(config->tied_embeddings);
}

TEST(GgufConfigTest, LinearScaling) {
  const auto config = ReadConfig(TinyMetadata()
                                     .String("llama.rope.scaling.type", "linear")
                                     .Float("llama.rope.scaling.factor", 4));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_scaling.kind, RopeScalingKind::kLinear);
  EXPECT_EQ(config->rope_scaling.factor, 4);
  const auto legacy = ReadConfig(TinyMetadata().Float("llama.rope.scale_linear", 2));
  ASSERT_TRUE(legacy.ok()) << legacy.status();
  EXPECT_EQ(legacy->rope_scaling.kind, RopeScalingKind::kLinear);
  EXPECT_EQ(legacy->rope_scaling.factor, 2);
}

TEST(GgufConfigTest, YarnScaling) {
  const auto config = ReadConfig(TinyMetadata("qwen2")
                                     .String("qwen2.rope.scaling.type", "yarn")
                                     .Float("qwen2.rope.scaling.factor", 4)
                                     .Uint("qwen2.rope.scaling.original_context_length", 16)
                                     .Float("qwen2.rope.scaling.yarn_beta_fast", 24)
                                     .Float("qwen2.rope.scaling.attn_factor", 2));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_scaling.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(config->rope_scaling.original_length, 16);
  EXPECT_EQ(config->rope_scaling.beta_fast, 24);
  EXPECT_EQ(config->rope_scaling.beta_slow, 1);
  EXPECT_NEAR(config->rope_scaling.attention_factor, 2 * (0.1 * std::log(4.0) + 1), 1e-12);
}

TEST(GgufConfigTest, FrequencyFactorsMustFitTheHead) {
  const auto config = ReadConfig(TinyMetadata().F32("rope_freqs.weight", {2}));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_frequency_factors.size(), 2);
  // The builder's tensors are zero: not a divisor.
  EXPECT_TRUE(absl::IsInvalidArgument(Validate(*config)));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ReadConfig(TinyMetadata().F32("rope_freqs.weight", {3})).status()));
}

TEST(GgufConfigTest, UnsupportedFeaturesAreNamed) {
  ExpectUnsupported(TinyMetadata("gemma3"), "architecture \"gemma3\"");
  ExpectUnsupported(TinyMetadata().Uint("llama.expert_count", 8), "experts");
  ExpectUnsupported(TinyMetadata().Uint("llama.attention.sliding_window", 16), "sliding-window");
  ExpectUnsupported(TinyMetadata().Uint("llama.rope.dimension_count", 2), "rotation of 2 of 4");
  ExpectUnsupported(TinyMetadata().Uint("llama.attention.value_length", 8), "values of 8");
  ExpectUnsupported(TinyMetadata().Float("llama.final_logit_softcapping", 30), "softcapping");
  ExpectUnsupported(TinyMetadata().Uint("split.count", 2), "split into 2");
  ExpectUnsupported(TinyMetadata().String("llama.rope.scaling.type", "longrope"), "longrope");
}

TEST(GgufConfigTest, AWindowOfTheWholeContextIsNone) {
  EXPECT_TRUE(ReadConfig(TinyMetadata().Uint("llama.attention.sliding_window", 64)).ok());
}

TEST(GgufConfigTest, MissingAndMistypedKeys) {
  EXPECT_TRUE(absl::IsInvalidArgument(ReadConfig(GgufBuilder()).status()));
  const auto missing = ReadConfig(GgufBuilder().String("general.architecture", "llama"));
  EXPECT_TRUE(absl::IsInvalidArgument(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("llama.context_length"));
  const auto mistyped = ReadConfig(TinyMetadata().String("llama.attention.key_length", "four"));
  EXPECT_TRUE(absl::IsInvalidArgument(mistyped.status()));
}

}  // namespace
}  // namespace keyhole
