// The tensors of a model by the project's names: which ones a config implies, and where they are.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_names.h"
#include "engine/model/weight_source.h"

namespace keyhole {

inline constexpr std::int64_t kNoLayer = -1;

// A tensor that a model of this config must have.
struct WeightShape {
  const WeightName* name = nullptr;
  std::int64_t layer = kNoLayer;
  std::int64_t n_rows = 0;  // 1 for a vector
  std::int64_t n_cols = 0;
  bool is_vector = false;

  // "layers.<i>.<name>", or the name alone outside the layers.
  std::string FullName() const;
};

// REQUIRES: a valid config.
std::vector<WeightShape> WeightShapes(const ModelConfig& config);

// A tensor as some file has it.
struct StoredTensor {
  WeightType type = WeightType::kF32;
  std::vector<std::int64_t> shape;  // outermost first
  std::span<const std::byte> bytes;
};

// Thread: immutable after Build, any thread.
class WeightTable {
 public:
  // Fetches a tensor by the file's own name for it.
  // Errors: NOT_FOUND; UNIMPLEMENTED for a type that weights cannot have.
  using Lookup = std::function<absl::StatusOr<StoredTensor>(const std::string& file_name)>;
  using FileName = std::function<std::string(const WeightShape&)>;

  // Takes every tensor that `config` implies.
  // Errors: INVALID_ARGUMENT for one that is missing or of another shape.
  static absl::StatusOr<WeightTable> Build(const ModelConfig& config,
                                           const FileName& file_name,
                                           const Lookup& lookup);

  bool Has(std::string_view name) const { return views_.contains(name); }
  absl::StatusOr<WeightView> Get(std::string_view name) const;  // Errors: NOT_FOUND

 private:
  std::map<std::string, WeightView, std::less<>> views_;
};

// Puts settings made by hand in place of the file's, then validates.
absl::Status ApplyOptions(const ModelFileOptions& options, ModelConfig* config);

}  // namespace keyhole
