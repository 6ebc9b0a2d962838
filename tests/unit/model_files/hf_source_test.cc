#include "engine/model/hf_source.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/model/hf_shards.h"
#include "engine/sha256.h"
#include "tests/unit/model_files/safetensors_builder.h"
#include "tests/unit/model_files/temporary_directory.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

constexpr char kConfig[] =
    R"({"architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":16,)"
    R"("num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":20,)"
    R"("max_position_embeddings":64,"tie_word_embeddings":true})";

struct Tensor {
  std::string name;
  std::vector<int> shape;
};

const std::string kLayer = "model.layers.0.";

std::vector<Tensor> TinyTensors() {
  return {{"model.embed_tokens.weight", {20, 8}},
          {"model.norm.weight", {8}},
          {kLayer + "input_layernorm.weight", {8}},
          {kLayer + "self_attn.q_proj.weight", {8, 8}},
          {kLayer + "self_attn.k_proj.weight", {4, 8}},
          {kLayer + "self_attn.v_proj.weight", {4, 8}},
          {kLayer + "self_attn.o_proj.weight", {8, 8}},
          {kLayer + "post_attention_layernorm.weight", {8}},
          {kLayer + "mlp.gate_proj.weight", {16, 8}},
          {kLayer + "mlp.up_proj.weight", {16, 8}},
          {kLayer + "mlp.down_proj.weight", {8, 16}}};
}

std::string WriteShard(const std::vector<Tensor>& tensors, const std::string& dtype = "BF16") {
  std::string header = "{";
  std::size_t offset = 0;
  for (const Tensor& tensor : tensors) {
    std::size_t size = 2;
    for (const int dim : tensor.shape) size *= dim;
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          header.size() > 1 ? "," : "",
                          tensor.name,
                          dtype,
                          fmt::join(tensor.shape, ","),
                          offset,
                          offset + size);
    offset += size;
  }
  return Safetensors(header + "}", std::string(offset, '\0'));
}

absl::Status OpenWith(const std::vector<Tensor>& tensors) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kConfig);
  directory.Write("model.safetensors", WriteShard(tensors));
  return OpenModel(directory.path(), {}).status();
}

TEST(HfSourceTest, OneFile) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kConfig);
  const std::string weights = WriteShard(TinyTensors());
  directory.Write("model.safetensors", weights);
  const auto source = OpenModel(directory.path(), {});
  ASSERT_TRUE(source.ok()) << source.status();
  const auto down = (*source)->Get("layers.0.down");
  ASSERT_TRUE(down.ok()) << down.status();
  EXPECT_EQ(down->n_rows, 8);
  EXPECT_EQ(down->n_cols, 16);
  EXPECT_EQ(down->type, WeightType::kBF16);
  EXPECT_EQ((*source)->RowOf("layers.0.q", 5), 5);
  EXPECT_EQ((*source)->tokenizer().kind, TokenizerSource::Kind::kHuggingFace);
  EXPECT_EQ((*source)->content_hash(),
            Sha256Hex(fmt::format("{}  config.json\n{}  model.safetensors\n",
                                  Sha256Hex(std::string_view(kConfig)),
                                  Sha256Hex(weights))));
}

class ShardedTest : public testing::Test {
 protected:
  ShardedTest() {
    directory_.Write("config.json", kConfig);
    const std::vector<Tensor> all = TinyTensors();
    directory_.Write("m-1.safetensors", WriteShard({all.begin(), all.begin() + 4}));
    directory_.Write("m-2.safetensors", WriteShard({all.begin() + 4, all.end()}));
  }

  absl::Status OpenWithIndex(const std::string& index) {
    directory_.Write("model.safetensors.index.json", index);
    return OpenModel(directory_.path(), {}).status();
  }

  TemporaryDirectory directory_;
};

TEST_F(ShardedTest, TensorsComeFromTheirShards) {
  std::string map;
  const std::vector<Tensor> all = TinyTensors();
  for (std::size_t i = 0; i < all.size(); ++i) {
    map += fmt::format(R"({}"{}":"m-{}.safetensors")", i ? "," : "", all[i].name, i < 4 ? 1 : 2);
  }
  EXPECT_TRUE(OpenWithIndex("{\"weight_map\":{" + map + "}}").ok());
}

TEST_F(ShardedTest, IndexesThatDisagree) {
  const std::string first = "\"model.norm.weight\"";
  EXPECT_THAT(
      std::string(OpenWithIndex("{\"weight_map\":{" + first + ":\"m-2.safetensors\"}}").message()),
      HasSubstr("does not have it"));
  EXPECT_TRUE(
      absl::IsNotFound(OpenWithIndex("{\"weight_map\":{" + first + ":\"m-3.safetensors\"}}")));
  EXPECT_THAT(
      std::string(OpenWithIndex("{\"weight_map\":{" + first + ":\"m-1.safetensors\"}}").message()),
      HasSubstr("which its config implies"));
}

TEST(HfShardsTest, NamesThatCouldLeaveTheDirectory) {
  for (const char* name : {"../m.safetensors",
                           "/m.safetensors",
                           "a/m.safetensors",
                           ".safetensors",
                           "..safetensors",
                           "m.bin",
                           "m\\\\n.safetensors",
                           "a b.safetensors",
                           ""}) {
    const auto index = HfShards::ParseIndex(fmt::format(R"({{"weight_map":{{"t":"{}"}}}})", name));
    EXPECT_TRUE(absl::IsInvalidArgument(index.status())) << name;
  }
  for (const char* index : {"{}",
                            R"({"weight_map":[]})",
                            R"({"weight_map":{}})",
                            R"({"weight_map":{"t":3}})",
                            "[",
                            "3"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(HfShards::ParseIndex(index).status())) << index;
  }
}

TEST(HfSourceTest, ExtraTensors) {
  std::vector<Tensor> tensors = TinyTensors();
  tensors.push_back({kLayer + "self_attn.rotary_emb.inv_freq", {2}});
  tensors.push_back({"lm_head.weight", {20, 8}});
  EXPECT_TRUE(OpenWith(tensors).ok());
  tensors.push_back({kLayer + "self_attn.o_proj.bias", {8}});
  const absl::Status status = OpenWith(tensors);
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("o_proj.bias"));
}

TEST(HfSourceTest, MissingAndMisshapenTensors) {
  std::vector<Tensor> tensors = TinyTensors();
  tensors.back().shape = {16, 8};
  EXPECT_THAT(std::string(OpenWith(tensors).message()), HasSubstr("[16, 8]"));
  tensors.back().shape = {8, 16, 1};
  EXPECT_TRUE(absl::IsInvalidArgument(OpenWith(tensors)));
  tensors.pop_back();
  EXPECT_THAT(std::string(OpenWith(tensors).message()), HasSubstr("mlp.down_proj.weight"));
}

TEST(HfSourceTest, DtypesThatWeightsCannotHave) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kConfig);
  directory.Write("model.safetensors", WriteShard(TinyTensors(), "I16"));
  EXPECT_TRUE(absl::IsUnimplemented(OpenModel(directory.path(), {}).status()));
}

TEST(HfSourceTest, MissingFiles) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(absl::IsNotFound(OpenModel(directory.path(), {}).status()));
  directory.Write("config.json", kConfig);
  const absl::Status status = OpenModel(directory.path(), {}).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.safetensors"));
}

}  // namespace
}  // namespace keyhole
