// Expected values that an independent program computed: tensors by name, from tests/golden/data.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole {

// A file in the safetensors format with f32 and i32 tensors. Trusts the file: it is ours.
class GoldenFile {
 public:
  // `name` is a file of the golden folder. Errors: NOT_FOUND.
  static absl::StatusOr<GoldenFile> Open(const std::string& name);

  bool Has(const std::string& tensor) const { return entries_.contains(tensor); }

  // Valid while this object lives. REQUIRES: the tensor exists and has this type (throws otherwise,
  // failing the test).
  std::span<const float> Floats(const std::string& tensor) const;
  std::span<const std::int32_t> Ints(const std::string& tensor) const;

  const std::vector<std::int64_t>& Shape(const std::string& tensor) const {
    return entries_.at(tensor).shape;
  }

 private:
  struct Entry {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::size_t begin = 0;  // bytes in content_
    std::size_t end = 0;
  };

  template <class T>
  std::span<const T> Values(const std::string& tensor, std::string_view dtype) const;

  std::map<std::string, Entry> entries_;
  std::vector<char> content_;
};

// Absolute path of a file or folder of the golden folder.
std::string GoldenPath(const std::string& name);

}  // namespace keyhole
