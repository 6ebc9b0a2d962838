// The safetensors files of one model directory, seen as one set of tensors.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/safetensors_file.h"
#include "engine/model/weight_table.h"

namespace keyhole {

struct HfShard {
  std::string name;  // of the file, inside the directory
  SafetensorsFile file;
};

// Tensor -> file name, sorted by tensor.
using HfIndex = std::vector<std::pair<std::string, std::string>>;

// Thread: immutable, any thread.
class HfShards {
 public:
  // model.safetensors, or the files that model.safetensors.index.json names.
  // Errors: NOT_FOUND for a missing file; INVALID_ARGUMENT for a malformed one, a shard name that
  // is more than a file name, an index that disagrees with its shards, or a repeated tensor.
  static absl::StatusOr<HfShards> Open(const std::string& directory);

  // Errors: INVALID_ARGUMENT for malformed JSON or a shard name that could leave the directory.
  static absl::StatusOr<HfIndex> ParseIndex(std::string_view json);

  const std::vector<HfShard>& shards() const { return shards_; }  // by name

  // Errors: NOT_FOUND; UNIMPLEMENTED for a dtype that weights cannot have.
  absl::StatusOr<StoredTensor> Find(std::string_view tensor) const;

 private:
  absl::Status AddShard(const std::string& directory, const std::string& name);
  absl::Status CheckIndex(const HfIndex& index) const;

  std::vector<HfShard> shards_;
  std::map<std::string, std::size_t, std::less<>> shard_of_;  // tensor -> place in shards_
};

}  // namespace keyhole
