#include "engine/model/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace keyhole {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Base(const std::string& architecture = "LlamaForCausalLM") {
  return {{"architectures", {architecture}},
          {"hidden_size", 64},
          {"intermediate_size", 160},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"vocab_size", 512},
          {"max_position_embeddings", 8192},
          {"rms_norm_eps", 1e-5},
          {"sliding_window", nullptr}};
}

json With(json config, const json& changes) {
  config.update(changes);
  return config;
}

absl::StatusOr<ModelConfig> Parse(const json& config) {
  auto parsed = ParseHfConfig(config.dump());
  if (parsed.ok()) {
    EXPECT_TRUE(Validate(*parsed).ok()) << Validate(*parsed);
  }
  return parsed;
}

void ExpectError(const json& config, absl::StatusCode code, const std::string& reason) {
  const auto parsed = ParseHfConfig(config.dump());
  EXPECT_EQ(parsed.status().code(), code) << parsed.status();
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(reason));
}

TEST(HfConfigTest, Llama) {
  const auto config = Parse(Base());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->n_kv_heads, 2);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_EQ(config->trained_length, 8192);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_FALSE(config->tied_embeddings);
}

TEST(HfConfigTest, FamiliesDifferInBiasesNormsAndHeads) {
  const auto qwen2 = Parse(With(Base("Qwen2ForCausalLM"), {{"tie_word_embeddings", true}}));
  ASSERT_TRUE(qwen2.ok()) << qwen2.status();
  EXPECT_TRUE(qwen2->qkv_bias);
  EXPECT_TRUE(qwen2->tied_embeddings);
  const auto qwen3 = Parse(Base("Qwen3ForCausalLM"));
  ASSERT_TRUE(qwen3.ok()) << qwen3.status();
  EXPECT_EQ(qwen3->head_dim, 128);
  EXPECT_TRUE(qwen3->qk_norm);
  EXPECT_FALSE(qwen3->qkv_bias);
  const auto mistral = Parse(With(Base("MistralForCausalLM"), {{"head_dim", 32}}));
  ASSERT_TRUE(mistral.ok()) << mistral.status();
  EXPECT_EQ(mistral->architecture, "mistral");
  EXPECT_EQ(mistral->head_dim, 32);
}

TEST(HfConfigTest, Llama3Scaling) {
  const auto config = Parse(With(Base(),
                                 {{"rope_theta", 500000.0},
                                  {"rope_scaling",
                                   {{"rope_type", "llama3"},
                                    {"factor", 8.0},
                                    {"low_freq_factor", 1.0},
                                    {"high_freq_factor", 4.0},
                                    {"original_max_position_embeddings", 2048}}}}));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_scaling.kind, RopeScalingKind::kLlama3);
  EXPECT_EQ(config->rope_scaling.factor, 8);
  EXPECT_EQ(config->rope_scaling.original_length, 2048);
  EXPECT_EQ(config->trained_length, 8192);
}

TEST(HfConfigTest, YarnInTheOldAndTheNewForm) {
  const json yarn = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 8192}};
  const auto old_form = Parse(With(Base("Qwen2ForCausalLM"), {{"rope_scaling", yarn}}));
  ASSERT_TRUE(old_form.ok()) << old_form.status();
  EXPECT_EQ(old_form->rope_scaling.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(old_form->trained_length, 32768);
  EXPECT_EQ(old_form->rope_scaling.attention_factor, 0);
  const json joined = {{"rope_type", "yarn"},
                       {"factor", 4.0},
                       {"rope_theta", 1e6},
                       {"beta_fast", 16},
                       {"mscale", 1.0},
                       {"mscale_all_dim", 0.5}};
  const auto new_form = Parse(With(Base(), {{"rope_parameters", joined}}));
  ASSERT_TRUE(new_form.ok()) << new_form.status();
  EXPECT_EQ(new_form->rope_theta, 1e6);
  EXPECT_EQ(new_form->rope_scaling.beta_fast, 16);
  EXPECT_EQ(new_form->rope_scaling.original_length, 8192);
  EXPECT_NEAR(new_form->rope_scaling.attention_factor, 1.1386294361 / 1.0693147181, 1e-9);
}

TEST(HfConfigTest, OtherScalings) {
  const auto scaled = [](const json& scaling) {
    return Parse(With(Base(), {{"rope_scaling", scaling}}));
  };
  EXPECT_EQ(scaled({{"type", "linear"}, {"factor", 2}})->rope_scaling.kind,
            RopeScalingKind::kLinear);
  EXPECT_EQ(scaled({{"type", "ntk"}, {"factor", 2}})->rope_scaling.kind, RopeScalingKind::kNtk);
  EXPECT_EQ(scaled({{"type", "dynamic"}, {"factor", 2}})->rope_scaling.kind,
            RopeScalingKind::kNone);
  EXPECT_EQ(scaled({{"rope_type", "default"}})->rope_scaling.kind, RopeScalingKind::kNone);
  EXPECT_EQ(scaled(nullptr)->rope_scaling.kind, RopeScalingKind::kNone);
  EXPECT_TRUE(absl::IsUnimplemented(scaled({{"type", "longrope"}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(scaled({{"type", "linear"}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(scaled("linear").status()));
}

TEST(HfConfigTest, SlidingWindows) {
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  ExpectError(With(Base("MistralForCausalLM"), {{"sliding_window", 4096}}), unimplemented, "4096");
  json absent = Base("MistralForCausalLM");
  absent.erase("sliding_window");
  ExpectError(absent, unimplemented, "4096 of 8192");
  EXPECT_TRUE(Parse(With(Base("MistralForCausalLM"), {{"sliding_window", 8192}})).ok());
  const json window = {{"sliding_window", 1024}};
  EXPECT_TRUE(Parse(With(Base("Qwen2ForCausalLM"), window)).ok());
  ExpectError(With(With(Base("Qwen2ForCausalLM"), window), {{"use_sliding_window", true}}),
              unimplemented,
              "sliding");
  ExpectError(With(Base("Qwen3ForCausalLM"), {{"layer_types", {"sliding_attention"}}}),
              unimplemented,
              "layer_types");
  EXPECT_TRUE(Parse(With(Base("Qwen3ForCausalLM"), {{"layer_types", {"full_attention"}}})).ok());
}

TEST(HfConfigTest, UnsupportedFeaturesAreNamed) {
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  ExpectError(Base("GemmaForCausalLM"), unimplemented, "GemmaForCausalLM");
  ExpectError(With(Base(), {{"hidden_act", "gelu"}}), unimplemented, "gelu");
  ExpectError(With(Base(), {{"mlp_bias", true}}), unimplemented, "mlp_bias");
  ExpectError(With(Base(), {{"partial_rotary_factor", 0.5}}), unimplemented, "partial_rotary");
  ExpectError(
      With(Base(), {{"quantization_config", {{"bits", 4}}}}), unimplemented, "quantization_config");
}

TEST(HfConfigTest, MalformedFields) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  ExpectError(With(Base(), {{"hidden_size", "64"}}), invalid, "hidden_size");
  ExpectError(With(Base(), {{"hidden_size", 64.5}}), invalid, "hidden_size");
  ExpectError(With(Base(), {{"hidden_size", nullptr}}), invalid, "hidden_size");
  ExpectError(With(Base(), {{"vocab_size", ~std::uint64_t{0}}}), invalid, "vocab_size");
  ExpectError(With(Base(), {{"architectures", json::array()}}), invalid, "architectures");
  ExpectError(With(Base(), {{"architectures", "LlamaForCausalLM"}}), invalid, "architectures");
  ExpectError(With(Base(), {{"tie_word_embeddings", 1}}), invalid, "tie_word_embeddings");
  ExpectError(With(Base(), {{"layer_types", 3}}), invalid, "layer_types");
}

TEST(HfConfigTest, HostileJson) {
  for (const std::string& text : {std::string(),
                                  std::string("[]"),
                                  std::string("{"),
                                  std::string("{\"a\": \xFF\"}"),
                                  std::string(1 << 19, '['),
                                  std::string(2 << 20, ' '),
                                  "{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}",
                                  std::string("{\"rope_theta\": 1e999}")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseHfConfig(text).status())) << text.substr(0, 20);
  }
}

}  // namespace
}  // namespace keyhole
