// A GGUF file: its metadata and its tensors, checked from end to end before anything is used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/gguf_metadata.h"
#include "engine/model/mapped_file.h"
#include "engine/model/weight_source.h"

namespace keyhole {

struct GgufTensor {
  std::string_view name;
  WeightType type = WeightType::kF32;
  int n_dims = 0;
  std::array<std::int64_t, 4> dims = {1, 1, 1, 1};  // dims[0] is contiguous: columns, rows, ...
  std::uint64_t offset = 0;                         // from the start of the data section
  std::span<const std::byte> bytes;
};

// Versions 2 and 3, little-endian, in one file. Memory taken is proportional to the number of
// values and tensors, never to a count that the file merely claims.
// Thread: immutable, any thread.
class GgufFile {
 public:
  // Errors: as MappedFile::Open and Parse.
  static absl::StatusOr<GgufFile> Open(const std::string& path);

  // REQUIRES: `bytes` outlive the result.
  // Errors: INVALID_ARGUMENT for a malformed file; UNIMPLEMENTED for a version or tensor type that
  // is not supported, by its name.
  static absl::StatusOr<GgufFile> Parse(std::span<const std::byte> bytes);

  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* Find(std::string_view name) const;  // null if absent
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  absl::Status ParseTensors(ByteReader& reader, std::uint64_t n_tensors);
  absl::Status PlaceTensors(std::uint64_t data_start);

  std::optional<MappedFile> mapping_;  // absent after Parse
  std::span<const std::byte> bytes_;
  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, std::size_t> index_;  // name -> place in tensors_
};

}  // namespace keyhole
