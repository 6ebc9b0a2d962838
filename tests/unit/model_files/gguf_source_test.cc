#include "engine/model/gguf_source.h"
#include "engine/sha256.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "tests/unit/model_files/temporary_directory.h"
#include "tests/unit/model_files/tiny_model.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kGolden[] = KEYHOLE_GOLDEN_DIR "/tiny_llama.gguf";

// The golden's rows hold their logical numbers.
void ExpectLogicalOrder(const WeightSource& source, const std::string& name) {
  const auto view = source.Get(name);
  ASSERT_TRUE(view.ok()) << view.status();
  std::vector<float> row(static_cast<std::size_t>(view->n_cols));
  for (std::int64_t i = 0; i < view->n_rows; ++i) {
    DequantizeRow(*view, source.RowOf(name, i), row);
    EXPECT_EQ(row.front(), i) << name;
    EXPECT_EQ(row.back(), i) << name;
  }
}

TEST(GgufSourceTest, ReadsWhatTheReferenceWriterWrote) {
  const auto source = OpenModel(kGolden, {});
  ASSERT_TRUE(source.ok()) << source.status();
  const ModelConfig& config = (*source)->config();
  EXPECT_EQ(config.name, "Tiny");
  EXPECT_EQ(config.n_heads, 4);
  EXPECT_EQ(config.n_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.ffn_size, 40);
  EXPECT_EQ(config.vocab_size, 300);
  EXPECT_EQ(config.trained_length, 1024);
  EXPECT_EQ(config.rope_theta, 5e5);
  EXPECT_EQ(config.rope_scaling.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(config.rope_scaling.factor, 4);
  EXPECT_EQ(config.rope_scaling.original_length, 256);
  EXPECT_THAT(config.rope_frequency_factors, ElementsAre(1, 2, 4, 8));
  EXPECT_TRUE(config.tied_embeddings);
  for (const char* name : {"token_embedding",
                           "layers.0.q",
                           "layers.0.k",
                           "layers.0.v",
                           "layers.0.o",
                           "layers.0.gate",
                           "layers.0.up",
                           "layers.0.down"}) {
    ExpectLogicalOrder(**source, name);
  }
  EXPECT_FALSE((*source)->Has("output"));
  EXPECT_TRUE(absl::IsNotFound((*source)->Get("output").status()));
}

TEST(GgufSourceTest, ContentHashIsTheFilesSha256) {
  const auto source = OpenModel(kGolden, {});
  ASSERT_TRUE(source.ok()) << source.status();
  std::ifstream file(kGolden, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ((*source)->content_hash(), Sha256Hex(content));
  EXPECT_EQ(Sha256Hex(std::string_view("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(GgufSourceTest, SettingsByHandReplaceTheFiles) {
  ModelFileOptions options;
  options.rope_theta = 1e6;
  options.rope_scaling = RopeScaling{.kind = RopeScalingKind::kLinear, .factor = 2};
  const auto source = OpenModel(kGolden, options);
  ASSERT_TRUE(source.ok()) << source.status();
  const ModelConfig& config = (*source)->config();
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.rope_scaling.kind, RopeScalingKind::kLinear);
  EXPECT_TRUE(config.rope_frequency_factors.empty());
  EXPECT_EQ(config.trained_length, 2048);
  EXPECT_FALSE(config.own_rope);
  options.rope_theta = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(OpenModel(kGolden, options).status()));
}

TEST(GgufSourceTest, OtherArchitecturesAreNotPermuted) {
  const TemporaryDirectory directory;
  GgufBuilder builder = TinyMetadata("qwen2");
  const auto source = OpenModel(directory.Write("m.gguf", AddTinyTensors(builder).Build()), {});
  ASSERT_TRUE(source.ok()) << source.status();
  for (std::int64_t row = 0; row < 8; ++row) EXPECT_EQ((*source)->RowOf("layers.0.q", row), row);
}

TEST(GgufSourceTest, WrongTensorsAreRefusedByName) {
  const TemporaryDirectory directory;
  const auto open = [&directory](const GgufBuilder& builder) {
    return OpenModel(directory.Write("m.gguf", builder.Build()), {}).status();
  };
  GgufBuilder extra = TinyMetadata();
  AddTinyTensors(extra).F32("blk.0.attn_output.bias", {8});
  EXPECT_TRUE(absl::IsUnimplemented(open(extra)));
  EXPECT_THAT(std::string(open(extra).message()), HasSubstr("attn_output.bias"));

  GgufBuilder missing = TinyMetadata();
  missing.F32("token_embd.weight", {8, 20}).F32("output_norm.weight", {8});
  EXPECT_TRUE(absl::IsInvalidArgument(open(missing)));
  EXPECT_THAT(std::string(open(missing).message()), HasSubstr("blk.0.attn_norm.weight"));

  GgufBuilder transposed = TinyMetadata();
  transposed.F32("token_embd.weight", {8, 20}).F32("output_norm.weight", {9});
  EXPECT_TRUE(absl::IsInvalidArgument(open(transposed)));
  EXPECT_THAT(std::string(open(transposed).message()), HasSubstr("[9]"));
}

TEST(GgufSourceTest, BiasesAreWantedInEveryLayer) {
  const TemporaryDirectory directory;
  GgufBuilder builder = TinyMetadata("qwen2");
  builder.F32("blk.0.attn_q.bias", {8}).F32("blk.0.attn_k.bias", {4});
  const std::string path = directory.Write("m.gguf", AddTinyTensors(builder).Build());
  EXPECT_THAT(std::string(OpenModel(path, {}).status().message()), HasSubstr("attn_v.bias"));
}

}  // namespace
}  // namespace keyhole
