#include "engine/model/synthetic_source.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "engine/model/file_error.h"
#include "engine/model/model_shapes.h"
#include "engine/model/weight_table.h"
#include "engine/sha256.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

using Bf16Table = std::array<std::uint16_t, 256>;

// The output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, 2014).
std::uint64_t Mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15ULL;

// FNV-1a: unlike absl::Hash it is the same in every process.
std::uint64_t HashName(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

// 256 evenly spaced values with mean `mean` and standard deviation `deviation`.
Bf16Table MakeTable(double mean, double deviation) {
  Bf16Table table;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double unit = (static_cast<double>(i) - 127.5) / 127.5 * std::sqrt(3.0);
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(mean + deviation * unit));
    table[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return table;
}

Bf16Table TableFor(const WeightShape& shape) {
  const bool is_bias = shape.name->name.ends_with("_bias");
  if (shape.is_vector) return is_bias ? MakeTable(0, 0.02) : MakeTable(1, 0);
  return MakeTable(0, 1 / std::sqrt(static_cast<double>(shape.n_cols)));
}

void FillRow(std::uint64_t row_seed, const Bf16Table& table, std::span<std::uint16_t> out) {
  std::uint64_t state = row_seed;
  for (std::size_t i = 0; i < out.size(); i += 8) {
    std::uint64_t random = Mix(state += kStep);
    const std::size_t end = std::min(out.size(), i + 8);
    for (std::size_t j = i; j < end; ++j, random >>= 8) out[j] = table[random & 0xFF];
  }
}

class SyntheticSource final : public WeightSource {
 public:
  SyntheticSource(const SyntheticSpec& spec, ModelConfig config)
      : seed_(spec.seed),
        config_(std::move(config)),
        hash_(Sha256Hex(fmt::format(
            "{}{},seed={},layers={}", kSyntheticPrefix, spec.shape, spec.seed, config_.n_layers))) {
    for (const WeightShape& shape : WeightShapes(config_)) {
      tensors_[shape.FullName()].shape = shape;
    }
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& content_hash() const override { return hash_; }
  bool Has(std::string_view name) const override { return tensors_.contains(name); }
  absl::StatusOr<WeightView> Get(std::string_view name) const override;
  std::int64_t RowOf(std::string_view, std::int64_t row) const override { return row; }
  TokenizerSource tokenizer() const override { return {}; }

 private:
  struct Tensor {
    WeightShape shape;
    std::vector<std::uint16_t> values;  // empty until the first Get
  };

  void Materialise(std::string_view name, Tensor& tensor) const;

  std::uint64_t seed_;
  ModelConfig config_;
  std::string hash_;
  mutable std::mutex mutex_;                                    // guards the values of tensors_
  mutable std::map<std::string, Tensor, std::less<>> tensors_;  // keys fixed at construction
};

void SyntheticSource::Materialise(std::string_view name, Tensor& tensor) const {
  const auto n_cols = static_cast<std::size_t>(tensor.shape.n_cols);
  const auto n_rows = static_cast<std::size_t>(tensor.shape.n_rows);
  const Bf16Table table = TableFor(tensor.shape);
  const std::uint64_t tensor_seed = Mix(HashName(name) ^ Mix(seed_ + kStep));
  tensor.values.resize(n_rows * n_cols);
  for (std::size_t row = 0; row < n_rows; ++row) {
    FillRow(Mix(tensor_seed + row * kStep), table, {&tensor.values[row * n_cols], n_cols});
  }
}

absl::StatusOr<WeightView> SyntheticSource::Get(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return absl::NotFoundError(fmt::format("no tensor {}", name));
  Tensor& tensor = found->second;
  if (tensor.values.empty()) Materialise(name, tensor);
  return WeightView{.type = WeightType::kBF16,
                    .n_rows = tensor.shape.n_rows,
                    .n_cols = tensor.shape.n_cols,
                    .bytes = std::as_bytes(std::span(tensor.values))};
}

absl::Status BadSetting(std::string_view setting) {
  return InvalidFile("\"{}\" is not a setting of {}<shape>[,seed=N][,layers=N]",
                     Printable(setting),
                     kSyntheticPrefix);
}

}  // namespace

absl::StatusOr<SyntheticSpec> ParseSyntheticSpec(std::string_view path) {
  if (!path.starts_with(kSyntheticPrefix)) return BadSetting(path);
  path.remove_prefix(kSyntheticPrefix.size());
  SyntheticSpec spec;
  spec.shape = path.substr(0, path.find(','));
  path.remove_prefix(spec.shape.size());
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view setting = path.substr(0, path.find(','));
    path.remove_prefix(setting.size());
    const std::string value(setting.substr(std::min(setting.size(), setting.find('=') + 1)));
    if (setting.starts_with("seed=")) {
      if (!absl::SimpleAtoi(value, &spec.seed)) return BadSetting(setting);
    } else if (setting.starts_with("layers=")) {
      if (!absl::SimpleAtoi(value, &spec.n_layers) || spec.n_layers < 1) return BadSetting(setting);
    } else {
      return BadSetting(setting);
    }
  }
  return spec;
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenSyntheticModel(std::string_view path,
                                                                 const ModelFileOptions& options) {
  KEYHOLE_ASSIGN_OR_RETURN(const SyntheticSpec spec, ParseSyntheticSpec(path));
  KEYHOLE_ASSIGN_OR_RETURN(ModelConfig config, FindModelShape(spec.shape));
  if (spec.n_layers > 0) config.n_layers = spec.n_layers;
  KEYHOLE_RETURN_IF_ERROR(ApplyOptions(options, &config));
  return std::make_unique<SyntheticSource>(spec, std::move(config));
}

}  // namespace keyhole
