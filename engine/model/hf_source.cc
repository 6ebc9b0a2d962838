#include "engine/model/hf_source.h"

#include <filesystem>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/file_error.h"
#include "engine/model/hf_config.h"
#include "engine/model/hf_shards.h"
#include "engine/model/mapped_file.h"
#include "engine/model/weight_table.h"
#include "engine/sha256.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

class HfSource final : public WeightSource {
 public:
  HfSource(std::string directory, MappedFile config_file, HfShards shards)
      : directory_(std::move(directory)),
        config_file_(std::move(config_file)),
        shards_(std::move(shards)) {}

  absl::Status Init(const ModelFileOptions& options);

  const ModelConfig& config() const override { return config_; }
  const std::string& content_hash() const override {
    std::call_once(hash_once_, [this] { hash_ = ComputeHash(); });
    return hash_;
  }
  bool Has(std::string_view name) const override { return weights_.Has(name); }
  absl::StatusOr<WeightView> Get(std::string_view name) const override {
    return weights_.Get(name);
  }
  std::int64_t RowOf(std::string_view, std::int64_t row) const override { return row; }
  TokenizerSource tokenizer() const override {
    return {TokenizerSource::Kind::kHuggingFace, directory_};
  }

 private:
  absl::Status RefuseUnknownTensors() const;
  std::string ComputeHash() const;

  std::string directory_;
  MappedFile config_file_;
  HfShards shards_;
  ModelConfig config_;
  WeightTable weights_;
  mutable std::once_flag hash_once_;
  mutable std::string hash_;
};

std::string HfName(const WeightShape& shape) {
  if (shape.layer == kNoLayer) return std::string(shape.name->hugging_face);
  return fmt::format("model.layers.{}.{}", shape.layer, shape.name->hugging_face);
}

absl::Status HfSource::Init(const ModelFileOptions& options) {
  absl::StatusOr<ModelConfig> config = ParseHfConfig(config_file_.text());
  if (!config.ok()) {
    return InContext(fmt::format("{}/config.json", directory_), config.status());
  }
  config_ = *std::move(config);
  config_.name = std::filesystem::path(directory_).lexically_normal().filename().string();
  KEYHOLE_RETURN_IF_ERROR(ApplyOptions(options, &config_));
  KEYHOLE_RETURN_IF_ERROR(RefuseUnknownTensors());
  KEYHOLE_ASSIGN_OR_RETURN(weights_,
                           WeightTable::Build(config_, HfName, [this](const std::string& name) {
                             return shards_.Find(name);
                           }));
  return absl::OkStatus();
}

// A tensor that would be left out changes the results, except for the two kinds that repeat what
// the config says.
absl::Status HfSource::RefuseUnknownTensors() const {
  std::set<std::string> known;
  for (const WeightShape& shape : WeightShapes(config_)) known.insert(HfName(shape));
  if (config_.tied_embeddings) known.insert(std::string(weight_names::kOutput.hugging_face));
  for (const HfShard& shard : shards_.shards()) {
    for (const SafetensorsTensor& tensor : shard.file.tensors()) {
      if (known.contains(tensor.name) || tensor.name.ends_with(".rotary_emb.inv_freq")) {
        continue;
      }
      return Unsupported("tensor {} is not part of a supported {} model",
                         Printable(tensor.name),
                         config_.architecture);
    }
  }
  return absl::OkStatus();
}

std::string HfSource::ComputeHash() const {
  std::string lines = fmt::format("{}  config.json\n", Sha256Hex(config_file_.bytes()));
  for (const HfShard& shard : shards_.shards()) {
    lines += fmt::format("{}  {}\n", Sha256Hex(shard.file.bytes()), shard.name);
  }
  return Sha256Hex(lines);
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenHfModel(const std::string& directory,
                                                          const ModelFileOptions& options) {
  KEYHOLE_ASSIGN_OR_RETURN(MappedFile config_file,
                           MappedFile::Open(fmt::format("{}/config.json", directory)));
  KEYHOLE_ASSIGN_OR_RETURN(HfShards shards, HfShards::Open(directory));
  auto source = std::make_unique<HfSource>(directory, std::move(config_file), std::move(shards));
  KEYHOLE_RETURN_IF_ERROR(source->Init(options));
  return source;
}

}  // namespace keyhole
