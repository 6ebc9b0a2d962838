#include "engine/model/cuda/device_weights.h"

#include <cstring>
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

// Rows that are bf16 in the file keep their bits, the others are rounded.
void ReadRow(const WeightView& view, std::int64_t row, std::span<float> f32, std::uint16_t* out) {
  if (view.type == WeightType::kBF16) {
    std::memcpy(out, view.bytes.data() + row * view.row_bytes(), view.row_bytes());
    return;
  }
  DequantizeRow(view, row, f32);
  for (const float x : f32) *out++ = Float32ToBf16(x);
}

}  // namespace

class DeviceWeights::Loader {
 public:
  Loader(const Stream& stream, const WeightSource& source, DeviceWeights& to)
      : stream_(stream), source_(source), to_(to) {}

  absl::StatusOr<DeviceMatrix> Matrix(const std::vector<std::string>& names) {
    std::vector<std::uint16_t> rows;
    DeviceMatrix matrix;
    for (const std::string& name : names) {
      KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_.Get(name));
      std::vector<float> f32(view.n_cols);
      std::size_t at = rows.size();
      rows.resize(at + static_cast<std::size_t>(view.n_rows) * view.n_cols);
      for (std::int64_t row = 0; row < view.n_rows; ++row, at += view.n_cols) {
        ReadRow(view, source_.RowOf(name, row), f32, rows.data() + at);
      }
      matrix.n_out += view.n_rows;
      matrix.n_in = view.n_cols;
    }
    KEYHOLE_ASSIGN_OR_RETURN(matrix.data, Copy(rows.data(), rows.size()));
    return matrix;
  }

  absl::StatusOr<const float*> Vector(const std::string& name) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_.Get(name));
    std::vector<float> values(view.n_cols);
    DequantizeRow(view, 0, values);
    return Copy(values.data(), values.size());
  }

  // A value for each row of its matrix, in the same order.
  absl::StatusOr<const float*> Bias(const std::string& name) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_.Get(name));
    std::vector<float> stored(view.n_cols);
    DequantizeRow(view, 0, stored);
    std::vector<float> values(stored.size());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = stored[source_.RowOf(name, i)];
    return Copy(values.data(), values.size());
  }

  absl::StatusOr<DeviceLayerWeights> Layer(std::int64_t layer) {
    const auto name = [layer](const WeightName& part) { return LayerWeight(layer, part); };
    DeviceLayerWeights weights;
    KEYHOLE_ASSIGN_OR_RETURN(weights.attn_norm, Vector(name(kAttnNorm)));
    KEYHOLE_ASSIGN_OR_RETURN(weights.qkv, Matrix({name(kQ), name(kK), name(kV)}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.o, Matrix({name(kO)}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.ffn_norm, Vector(name(kFfnNorm)));
    KEYHOLE_ASSIGN_OR_RETURN(weights.gate_up, Matrix({name(kGate), name(kUp)}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.down, Matrix({name(kDown)}));
    if (source_.config().qkv_bias) {
      KEYHOLE_ASSIGN_OR_RETURN(weights.q_bias, Bias(name(kQBias)));
      KEYHOLE_ASSIGN_OR_RETURN(weights.k_bias, Bias(name(kKBias)));
      KEYHOLE_ASSIGN_OR_RETURN(weights.v_bias, Bias(name(kVBias)));
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
  DeviceWeights& to_;
};

absl::StatusOr<DeviceWeights> DeviceWeights::Load(const Stream& stream,
                                                  const WeightSource& source,
                                                  std::int64_t n_layers) {
  const ModelConfig& config = source.config();
  DeviceWeights weights;
  Loader loader(stream, source, weights);
  KEYHOLE_ASSIGN_OR_RETURN(weights.embedding_, loader.Matrix({std::string(kTokenEmbedding.name)}));
  weights.output_ = weights.embedding_;
  if (!config.tied_embeddings) {
    KEYHOLE_ASSIGN_OR_RETURN(weights.output_, loader.Matrix({std::string(kOutput.name)}));
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
