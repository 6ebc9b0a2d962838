#include "engine/model/cuda/device_weights.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/device/device_copy.h"
#include "engine/model/weight_names.h"
#include "engine/ops/half_float.h"
#include "engine/status_macros.h"

namespace keyhole::cuda {
namespace {

using namespace weight_names;  // NOLINT(google-build-using-namespace)

// Columns of a row. What is bf16 in the file keeps its bits, the rest is rounded. `f32`: room for
// the whole row.
void ReadRow(const WeightView& view,
             std::int64_t row,
             const ShardRange& cols,
             std::span<float> f32,
             std::uint16_t* out) {
  if (view.type == WeightType::kBF16) {
    std::memcpy(out,
                view.bytes.data() + row * view.row_bytes() + cols.begin * sizeof(std::uint16_t),
                cols.size * sizeof(std::uint16_t));
    return;
  }
  DequantizeRow(view, row, f32);
  for (const float x : f32.subspan(cols.begin, cols.size)) *out++ = Float32ToBf16(x);
}

// A matrix of the source and what of it is taken; unset: all.
struct Part {
  std::string name;
  std::optional<ShardRange> rows = std::nullopt;
  std::optional<ShardRange> cols = std::nullopt;
};

}  // namespace

class DeviceWeights::Loader {
 public:
  Loader(const Stream& stream,
         const WeightSource& source,
         const ModelShard& shard,
         DeviceWeights& to)
      : stream_(stream), source_(source), shard_(shard), to_(to) {}

  // The parts one below the other, then rows of zeros up to `least_rows`.
  absl::StatusOr<DeviceMatrix> Matrix(const std::vector<Part>& parts, std::int64_t least_rows = 0) {
    std::vector<std::uint16_t> values;
    DeviceMatrix matrix;
    for (const Part& part : parts) {
      KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_.Get(part.name));
      const ShardRange rows = part.rows.value_or(ShardRange{0, view.n_rows});
      const ShardRange cols = part.cols.value_or(ShardRange{0, view.n_cols});
      std::vector<float> f32(view.n_cols);
      std::size_t at = values.size();
      values.resize(at + static_cast<std::size_t>(rows.size) * cols.size);
      for (std::int64_t row = rows.begin; row < rows.end(); ++row, at += cols.size) {
        ReadRow(view, source_.RowOf(part.name, row), cols, f32, values.data() + at);
      }
      matrix.n_out += rows.size;
      matrix.n_in = cols.size;
    }
    matrix.n_out = std::max(matrix.n_out, least_rows);
    values.resize(static_cast<std::size_t>(matrix.n_out) * matrix.n_in);
    KEYHOLE_ASSIGN_OR_RETURN(matrix.data, Copy(values.data(), values.size()));
    return matrix;
  }

  absl::StatusOr<DeviceMatrix> Output() {
    const ModelConfig& config = source_.config();
    const WeightName& name = config.tied_embeddings ? kTokenEmbedding : kOutput;
    return Matrix({{std::string(name.name), shard_.vocab}},
                  VocabWidth(config.vocab_size, shard_.shard.size));
  }

  absl::StatusOr<const float*> Vector(const std::string& name) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_.Get(name));
    std::vector<float> values(view.n_cols);
    DequantizeRow(view, 0, values);
    return Copy(values.data(), values.size());
  }

  // A value for each of these rows of its matrix, in the same order.
  absl::StatusOr<const float*> Bias(const std::string& name, const ShardRange& rows) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_.Get(name));
    std::vector<float> stored(view.n_cols);
    DequantizeRow(view, 0, stored);
    std::vector<float> values(rows.size);
    for (std::int64_t i = 0; i < rows.size; ++i) {
      values[i] = stored[source_.RowOf(name, rows.begin + i)];
    }
    return Copy(values.data(), values.size());
  }

  absl::StatusOr<DeviceLayerWeights> Layer(std::int64_t layer) {
    const auto name = [layer](const WeightName& part) { return LayerWeight(layer, part); };
    const std::int64_t head_dim = source_.config().head_dim;
    const ShardRange q = shard_.heads * head_dim;
    const ShardRange kv = shard_.kv_heads * head_dim;
    const ShardRange& ffn = shard_.ffn;
    DeviceLayerWeights weights;
    KEYHOLE_ASSIGN_OR_RETURN(weights.attn_norm, Vector(name(kAttnNorm)));
    KEYHOLE_ASSIGN_OR_RETURN(weights.qkv, Matrix({{name(kQ), q}, {name(kK), kv}, {name(kV), kv}}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.o, Matrix({{name(kO), std::nullopt, q}}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.ffn_norm, Vector(name(kFfnNorm)));
    KEYHOLE_ASSIGN_OR_RETURN(weights.gate_up, Matrix({{name(kGate), ffn}, {name(kUp), ffn}}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.down, Matrix({{name(kDown), std::nullopt, ffn}}));
    if (source_.config().qkv_bias) {
      KEYHOLE_ASSIGN_OR_RETURN(weights.q_bias, Bias(name(kQBias), q));
      KEYHOLE_ASSIGN_OR_RETURN(weights.k_bias, Bias(name(kKBias), kv));
      KEYHOLE_ASSIGN_OR_RETURN(weights.v_bias, Bias(name(kVBias), kv));
    }
    if (!source_.config().qk_norm) return weights;
    KEYHOLE_ASSIGN_OR_RETURN(weights.q_norm, Vector(name(kQNorm)));
    KEYHOLE_ASSIGN_OR_RETURN(weights.k_norm, Vector(name(kKNorm)));
    return weights;
  }

 private:
  template <typename T>
  absl::StatusOr<const T*> Copy(const T* values, std::size_t n) {
    KEYHOLE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(stream_, n * sizeof(T)));
    KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream_, buffer.data(), values, n * sizeof(T)));
    KEYHOLE_RETURN_IF_ERROR(stream_.Synchronize());
    to_.memory_.push_back(std::move(buffer));
    return static_cast<const T*>(to_.memory_.back().data<T>());
  }

  const Stream& stream_;
  const WeightSource& source_;
  const ModelShard& shard_;
  DeviceWeights& to_;
};

absl::StatusOr<DeviceWeights> DeviceWeights::Load(const Stream& stream,
                                                  const WeightSource& source,
                                                  const ModelShard& shard,
                                                  std::int64_t n_layers) {
  const ModelConfig& config = source.config();
  DeviceWeights weights;
  Loader loader(stream, source, shard, weights);
  KEYHOLE_ASSIGN_OR_RETURN(weights.embedding_,
                           loader.Matrix({{std::string(kTokenEmbedding.name)}}));
  weights.output_ = weights.embedding_;
  if (!config.tied_embeddings || !shard.shard.whole()) {
    KEYHOLE_ASSIGN_OR_RETURN(weights.output_, loader.Output());
  }
  KEYHOLE_ASSIGN_OR_RETURN(weights.output_norm_, loader.Vector(std::string(kOutputNorm.name)));
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    KEYHOLE_ASSIGN_OR_RETURN(DeviceLayerWeights made, loader.Layer(layer % config.n_layers));
    weights.layers_.push_back(made);
  }
  return weights;
}

std::size_t DeviceWeights::bytes() const {
  std::size_t bytes = 0;
  for (const DeviceBuffer& buffer : memory_) bytes += buffer.size();
  return bytes;
}

}  // namespace keyhole::cuda
