#include "engine/model/weight_table.h"

#include <cmath>
#include <utility>

#include "engine/model/file_error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

using namespace weight_names;

WeightShape Matrix(const WeightName& name, std::int64_t n_rows, std::int64_t n_cols) {
  return {&name, kNoLayer, n_rows, n_cols, false};
}

WeightShape Vector(const WeightName& name, std::int64_t size) {
  return {&name, kNoLayer, 1, size, true};
}

std::vector<WeightShape> LayerShapes(const ModelConfig& config) {
  const std::int64_t hidden = config.hidden_size;
  std::vector<WeightShape> shapes = {
      Vector(kAttnNorm, hidden),
      Matrix(kQ, config.q_size(), hidden),
      Matrix(kK, config.kv_size(), hidden),
      Matrix(kV, config.kv_size(), hidden),
      Matrix(kO, hidden, config.q_size()),
      Vector(kFfnNorm, hidden),
      Matrix(kGate, config.ffn_size, hidden),
      Matrix(kUp, config.ffn_size, hidden),
      Matrix(kDown, hidden, config.ffn_size),
  };
  if (config.qkv_bias) {
    shapes.push_back(Vector(kQBias, config.q_size()));
    shapes.push_back(Vector(kKBias, config.kv_size()));
    shapes.push_back(Vector(kVBias, config.kv_size()));
  }
  if (config.qk_norm) {
    shapes.push_back(Vector(kQNorm, config.head_dim));
    shapes.push_back(Vector(kKNorm, config.head_dim));
  }
  return shapes;
}

absl::Status CheckShape(const WeightShape& wanted,
                        const StoredTensor& stored,
                        const std::string& name) {
  const bool fits = wanted.is_vector
                        ? stored.shape == std::vector<std::int64_t>{wanted.n_cols}
                        : stored.shape == std::vector<std::int64_t>{wanted.n_rows, wanted.n_cols};
  if (fits) return absl::OkStatus();
  const std::string expected = wanted.is_vector
                                   ? fmt::format("[{}]", wanted.n_cols)
                                   : fmt::format("[{}, {}]", wanted.n_rows, wanted.n_cols);
  return InvalidFile("tensor {} has the shape [{}], the model's sizes imply {}",
                     name,
                     fmt::join(stored.shape, ", "),
                     expected);
}

}  // namespace

std::string WeightShape::FullName() const {
  return layer == kNoLayer ? std::string(name->name) : LayerWeight(layer, *name);
}

std::vector<WeightShape> WeightShapes(const ModelConfig& config) {
  std::vector<WeightShape> shapes = {
      Matrix(kTokenEmbedding, config.vocab_size, config.hidden_size),
      Vector(kOutputNorm, config.hidden_size),
  };
  if (!config.tied_embeddings) {
    shapes.push_back(Matrix(kOutput, config.vocab_size, config.hidden_size));
  }
  const std::vector<WeightShape> of_one_layer = LayerShapes(config);
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    for (WeightShape shape : of_one_layer) {
      shape.layer = layer;
      shapes.push_back(shape);
    }
  }
  return shapes;
}

absl::StatusOr<WeightTable> WeightTable::Build(const ModelConfig& config,
                                               const FileName& file_name,
                                               const Lookup& lookup) {
  WeightTable table;
  for (const WeightShape& shape : WeightShapes(config)) {
    const std::string stored_name = file_name(shape);
    absl::StatusOr<StoredTensor> stored = lookup(stored_name);
    if (absl::IsNotFound(stored.status())) {
      return InvalidFile("the model has no tensor {}, which its config implies", stored_name);
    }
    KEYHOLE_RETURN_IF_ERROR(stored.status());
    KEYHOLE_RETURN_IF_ERROR(CheckShape(shape, *stored, stored_name));
    table.views_.emplace(shape.FullName(),
                         WeightView{stored->type, shape.n_rows, shape.n_cols, stored->bytes});
  }
  return table;
}

absl::StatusOr<WeightView> WeightTable::Get(std::string_view name) const {
  const auto found = views_.find(name);
  if (found == views_.end()) return absl::NotFoundError(fmt::format("no tensor {}", name));
  return found->second;
}

absl::Status ApplyOptions(const ModelFileOptions& options, ModelConfig* config) {
  KEYHOLE_RETURN_IF_ERROR(Validate(*config));
  const std::string own_rope = DescribeRope(*config);
  if (options.rope_theta) config->rope_theta = *options.rope_theta;
  if (options.rope_scaling) {
    config->rope_scaling = *options.rope_scaling;
    config->rope_frequency_factors.clear();
    RopeScaling& scaling = config->rope_scaling;
    if (scaling.original_length == 0) scaling.original_length = config->trained_length;
    KEYHOLE_RETURN_IF_ERROR(Validate(*config));
    if (scaling.kind != RopeScalingKind::kNone) {
      config->trained_length =
          std::llround(static_cast<double>(scaling.original_length) * scaling.factor);
    }
  }
  config->own_rope = DescribeRope(*config) == own_rope;
  return Validate(*config);
}

}  // namespace keyhole
