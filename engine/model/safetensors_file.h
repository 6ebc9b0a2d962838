// A safetensors file: its tensors, checked from end to end before anything is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/mapped_file.h"
#include "engine/model/weight_source.h"

namespace keyhole {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;                // as the file spells it
  std::optional<WeightType> type;   // F32, F16 or BF16; absent for other dtypes
  std::vector<std::int64_t> shape;  // outermost first
  std::span<const std::byte> bytes;
};

// Tensors fill the data section without gap or overlap, as the format demands.
// Thread: immutable, any thread.
class SafetensorsFile {
 public:
  // Errors: as MappedFile::Open and Parse.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  // REQUIRES: `bytes` outlive the result.
  // Errors: INVALID_ARGUMENT for a malformed file; UNIMPLEMENTED for an unknown dtype.
  static absl::StatusOr<SafetensorsFile> Parse(std::span<const std::byte> bytes);

  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  const SafetensorsTensor* Find(std::string_view name) const;  // null if absent
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::optional<MappedFile> mapping_;  // absent after Parse
  std::span<const std::byte> bytes_;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;  // name -> place in tensors_
};

}  // namespace keyhole
