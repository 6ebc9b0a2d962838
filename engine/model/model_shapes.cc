#include "engine/model/model_shapes.h"

#include <algorithm>

#include "engine/model/file_error.h"

namespace keyhole {
namespace {

struct Heads {
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_dim;
};

struct Width {
  std::int64_t n_layers;
  std::int64_t hidden_size;
  std::int64_t ffn_size;
  std::int64_t vocab_size;
};

struct Positions {
  std::int64_t trained_length;
  double theta;
  double llama3_factor = 1;  // 1: no scaling
};

struct Shape {
  std::string_view name;
  std::string_view architecture;
  Heads heads;
  Width width;
  Positions positions;
  bool tied = false;
};

constexpr Shape kShapes[] = {
    {"tiny", "llama", {4, 2, 16}, {2, 64, 160, 512}, {256, 10000}, true},
    {"tiny-qwen2", "qwen2", {4, 2, 16}, {2, 64, 160, 512}, {256, 10000}, false},
    {"tiny-qwen3", "qwen3", {4, 2, 16}, {2, 48, 160, 512}, {256, 10000}, false},
    {"smollm2-135m", "llama", {9, 3, 64}, {30, 576, 1536, 49152}, {8192, 1e5}, true},
    {"smollm2-1.7b", "llama", {32, 32, 64}, {24, 2048, 8192, 49152}, {8192, 1.3e5}, true},
    {"llama-3.2-1b", "llama", {32, 8, 64}, {16, 2048, 8192, 128256}, {131072, 5e5, 32}, true},
    {"llama-3.2-3b", "llama", {24, 8, 128}, {28, 3072, 8192, 128256}, {131072, 5e5, 32}, true},
    {"llama-2-7b", "llama", {32, 32, 128}, {32, 4096, 11008, 32000}, {4096, 1e4}, false},
    {"llama-3-8b", "llama", {32, 8, 128}, {32, 4096, 14336, 128256}, {8192, 5e5}, false},
    {"llama-3.1-8b", "llama", {32, 8, 128}, {32, 4096, 14336, 128256}, {131072, 5e5, 8}, false},
    {"llama-3-70b", "llama", {64, 8, 128}, {80, 8192, 28672, 128256}, {8192, 5e5}, false},
    {"mistral-7b", "mistral", {32, 8, 128}, {32, 4096, 14336, 32768}, {32768, 1e6}, false},
    {"qwen2.5-0.5b", "qwen2", {14, 2, 64}, {24, 896, 4864, 151936}, {32768, 1e6}, true},
    {"qwen2.5-7b", "qwen2", {28, 4, 128}, {28, 3584, 18944, 152064}, {32768, 1e6}, false},
    {"qwen3-0.6b", "qwen3", {16, 8, 128}, {28, 1024, 3072, 151936}, {40960, 1e6}, true},
    {"qwen3-8b", "qwen3", {32, 8, 128}, {36, 4096, 12288, 151936}, {40960, 1e6}, false},
};

ModelConfig MakeConfig(const Shape& shape) {
  ModelConfig config;
  config.architecture = shape.architecture;
  config.name = shape.name;
  config.n_layers = shape.width.n_layers;
  config.n_heads = shape.heads.n_heads;
  config.n_kv_heads = shape.heads.n_kv_heads;
  config.head_dim = shape.heads.head_dim;
  config.hidden_size = shape.width.hidden_size;
  config.ffn_size = shape.width.ffn_size;
  config.vocab_size = shape.width.vocab_size;
  config.trained_length = shape.positions.trained_length;
  config.rope_theta = shape.positions.theta;
  if (shape.positions.llama3_factor != 1) {
    config.rope_scaling.kind = RopeScalingKind::kLlama3;
    config.rope_scaling.factor = shape.positions.llama3_factor;
    config.rope_scaling.original_length = 8192;
  }
  config.qkv_bias = shape.architecture == "qwen2";
  config.qk_norm = shape.architecture == "qwen3";
  config.norm_eps = shape.architecture.substr(0, 4) == "qwen" ? 1e-6 : 1e-5;
  config.tied_embeddings = shape.tied;
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> FindModelShape(std::string_view name) {
  const Shape* shape = std::ranges::find(kShapes, name, &Shape::name);
  if (shape != std::end(kShapes)) return MakeConfig(*shape);
  std::string known;
  for (const Shape& each : kShapes) {
    if (!known.empty()) known += ", ";
    known += each.name;
  }
  return absl::NotFoundError(
      fmt::format("no model shape \"{}\"; there are {}", Printable(name), known));
}

}  // namespace keyhole
