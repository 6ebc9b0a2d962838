#include "engine/model/gguf_source.h"

#include <functional>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/file_error.h"
#include "engine/model/gguf_config.h"
#include "engine/model/gguf_file.h"
#include "engine/model/weight_table.h"
#include "engine/sha256.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

class GgufSource final : public WeightSource {
 public:
  GgufSource(std::string path, GgufFile file, ModelConfig config, WeightTable weights)
      : path_(std::move(path)),
        file_(std::move(file)),
        config_(std::move(config)),
        weights_(std::move(weights)),
        interleaved_(config_.architecture == "llama") {}

  const ModelConfig& config() const override { return config_; }
  const std::string& content_hash() const override {
    std::call_once(hash_once_, [this] { hash_ = Sha256Hex(file_.bytes()); });
    return hash_;
  }
  bool Has(std::string_view name) const override { return weights_.Has(name); }
  absl::StatusOr<WeightView> Get(std::string_view name) const override {
    return weights_.Get(name);
  }
  std::int64_t RowOf(std::string_view name, std::int64_t row) const override;
  TokenizerSource tokenizer() const override { return {TokenizerSource::Kind::kGguf, path_}; }

 private:
  std::string path_;
  GgufFile file_;
  ModelConfig config_;
  WeightTable weights_;
  bool interleaved_;  // q and k keep the two dimensions that rotate together side by side
  mutable std::once_flag hash_once_;
  mutable std::string hash_;
};

std::int64_t GgufSource::RowOf(std::string_view name, std::int64_t row) const {
  const bool rotated = name.ends_with(".q") || name.ends_with(".k") || name.ends_with(".q_bias") ||
                       name.ends_with(".k_bias");
  if (!interleaved_ || !rotated) return row;
  const std::int64_t half = config_.head_dim / 2;
  const std::int64_t in_head = row % config_.head_dim;
  const std::int64_t stored = in_head < half ? 2 * in_head : 2 * (in_head - half) + 1;
  return row - in_head + stored;
}

std::string GgufName(const WeightShape& shape) {
  if (shape.layer == kNoLayer) return std::string(shape.name->gguf);
  return fmt::format("blk.{}.{}", shape.layer, shape.name->gguf);
}

absl::StatusOr<StoredTensor> FindTensor(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.Find(name);
  if (tensor == nullptr) return absl::NotFoundError(name);
  StoredTensor stored = {tensor->type, {}, tensor->bytes};
  for (int i = tensor->n_dims - 1; i >= 0; --i) stored.shape.push_back(tensor->dims[i]);
  return stored;
}

// A tensor that would be left out changes the results: an output bias, an expert, a second norm.
absl::Status RefuseUnknownTensors(const GgufFile& file, const ModelConfig& config) {
  std::set<std::string, std::less<>> known = {"rope_freqs.weight"};
  for (const WeightShape& shape : WeightShapes(config)) known.insert(GgufName(shape));
  for (const GgufTensor& tensor : file.tensors()) {
    if (known.contains(tensor.name)) continue;
    return Unsupported("tensor {} is not part of a supported {} model",
                       Printable(tensor.name),
                       config.architecture);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenGgufModel(const std::string& path,
                                                            const ModelFileOptions& options) {
  KEYHOLE_ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
  return MakeGgufModel(std::move(file), path, options);
}

absl::StatusOr<std::unique_ptr<WeightSource>> MakeGgufModel(GgufFile file,
                                                            const std::string& path,
                                                            const ModelFileOptions& options) {
  KEYHOLE_ASSIGN_OR_RETURN(ModelConfig config, ReadGgufConfig(file));
  KEYHOLE_RETURN_IF_ERROR(ApplyOptions(options, &config));
  KEYHOLE_RETURN_IF_ERROR(RefuseUnknownTensors(file, config));
  KEYHOLE_ASSIGN_OR_RETURN(WeightTable weights,
                           WeightTable::Build(config, GgufName, [&file](const std::string& name) {
                             return FindTensor(file, name);
                           }));
  return std::make_unique<GgufSource>(path, std::move(file), std::move(config), std::move(weights));
}

}  // namespace keyhole
