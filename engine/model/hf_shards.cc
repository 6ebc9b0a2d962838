#include "engine/model/hf_shards.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "engine/model/file_error.h"
#include "engine/model/json_file.h"
#include "engine/model/mapped_file.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::size_t kMaxIndexBytes = 8 << 20;
constexpr std::size_t kMaxShards = 4096;
constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";
constexpr std::string_view kExtension = ".safetensors";

bool FileExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// A plain file name: it cannot name a directory, a parent or a hidden file.
bool IsShardName(std::string_view name) {
  if (name.size() > 255 || !name.ends_with(kExtension) || name.front() == '.') return false;
  return std::ranges::all_of(
      name, [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_'; });
}

}  // namespace

absl::StatusOr<HfIndex> HfShards::ParseIndex(std::string_view json) {
  KEYHOLE_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonObject(json, kMaxIndexBytes));
  const nlohmann::json* map = JsonFields(document).Find("weight_map");
  if (map == nullptr || !map->is_object() || map->empty()) {
    return InvalidFile("no \"weight_map\" that names a tensor");
  }
  HfIndex index;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !IsShardName(file.get_ref<const std::string&>())) {
      return InvalidFile("the file of tensor {} is not the plain name of a {} file",
                         Printable(tensor),
                         kExtension);
    }
    index.emplace_back(tensor, file.get<std::string>());
  }
  return index;
}

absl::StatusOr<HfShards> HfShards::Open(const std::string& directory) {
  HfShards shards;
  const std::string index_path = fmt::format("{}/{}", directory, kIndexFile);
  if (FileExists(fmt::format("{}/{}", directory, kSingleFile)) || !FileExists(index_path)) {
    if (!FileExists(fmt::format("{}/{}", directory, kSingleFile))) {
      return absl::NotFoundError(
          fmt::format("{} has neither {} nor {} (other weight formats are not read)",
                      directory,
                      kSingleFile,
                      kIndexFile));
    }
    KEYHOLE_RETURN_IF_ERROR(shards.AddShard(directory, std::string(kSingleFile)));
    return shards;
  }
  KEYHOLE_ASSIGN_OR_RETURN(const MappedFile index_file, MappedFile::Open(index_path));
  const auto index = ParseIndex(index_file.text());
  if (!index.ok()) {
    return InContext(index_path, index.status());
  }
  std::set<std::string> names;
  for (const auto& [tensor, shard_name] : *index) names.insert(shard_name);
  if (names.size() > kMaxShards) {
    return InvalidFile("{} names {} files", index_path, names.size());
  }
  for (const std::string& name : names) {
    KEYHOLE_RETURN_IF_ERROR(shards.AddShard(directory, name));
  }
  KEYHOLE_RETURN_IF_ERROR(shards.CheckIndex(*index));
  return shards;
}

absl::Status HfShards::CheckIndex(const HfIndex& index) const {
  for (const auto& [tensor, shard_name] : index) {
    const auto found = shard_of_.find(tensor);
    if (found != shard_of_.end() && shards_[found->second].name == shard_name) continue;
    return InvalidFile("{} places tensor {} in {}, which does not have it",
                       kIndexFile,
                       Printable(tensor),
                       shard_name);
  }
  return absl::OkStatus();
}

absl::Status HfShards::AddShard(const std::string& directory, const std::string& name) {
  const std::string path = fmt::format("{}/{}", directory, name);
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) {
    return InContext(path, file.status());
  }
  for (const SafetensorsTensor& tensor : file->tensors()) {
    if (shard_of_.emplace(tensor.name, shards_.size()).second) continue;
    return InvalidFile("tensor {} is in two files of {}", Printable(tensor.name), directory);
  }
  shards_.push_back({name, *std::move(file)});
  return absl::OkStatus();
}

absl::StatusOr<StoredTensor> HfShards::Find(std::string_view tensor) const {
  const auto found = shard_of_.find(tensor);
  if (found == shard_of_.end()) return absl::NotFoundError(Printable(tensor));
  const SafetensorsTensor* stored = shards_[found->second].file.Find(tensor);
  if (!stored->type) {
    return Unsupported("tensor {} is stored as {}, which is not supported (F32, F16 and BF16 are)",
                       Printable(tensor),
                       stored->dtype);
  }
  return StoredTensor{*stored->type, stored->shape, stored->bytes};
}

}  // namespace keyhole
