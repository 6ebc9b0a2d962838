// Key-value section of a GGUF file, with typed access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/byte_reader.h"

namespace keyhole {

// Numbers as in the GGUF specification.
enum class GgufType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Views into the file's bytes: nothing is copied, and arrays are decoded only when asked for.
// Thread: immutable after Parse, any thread. Valid while the file's bytes are.
class GgufMetadata {
 public:
  // Reads `n_values` pairs from `reader`.
  // Errors: INVALID_ARGUMENT for a truncated section, an unknown type, a nested array, an empty or
  // repeated key, or a count that the bytes cannot hold.
  static absl::StatusOr<GgufMetadata> Parse(ByteReader& reader, std::uint64_t n_values);

  bool Has(std::string_view key) const { return values_.contains(key); }

  // Each: NOT_FOUND if the key is absent; INVALID_ARGUMENT if its value is of another type.
  absl::StatusOr<std::int64_t> Int(std::string_view key) const;  // any integer type that fits
  absl::StatusOr<double> Float(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> Strings(std::string_view key) const;
  absl::StatusOr<std::vector<std::int32_t>> Ints(std::string_view key) const;  // 32 bits or fewer
  absl::StatusOr<std::vector<float>> Floats(std::string_view key) const;

  // The same, with a value for an absent key.
  absl::StatusOr<std::int64_t> IntOr(std::string_view key, std::int64_t fallback) const;
  absl::StatusOr<double> FloatOr(std::string_view key, double fallback) const;
  absl::StatusOr<std::string_view> StringOr(std::string_view key, std::string_view fallback) const;

 private:
  struct Value {
    GgufType type = GgufType::kUint8;
    GgufType element_type = GgufType::kUint8;  // of an array
    std::uint64_t count = 1;                   // of an array
    std::span<const std::byte> bytes;          // without a string's or an array's header
  };

  static absl::StatusOr<Value> ParseValue(ByteReader& reader);
  static absl::Status ParseArray(ByteReader& reader, Value* value);
  absl::StatusOr<Value> Find(std::string_view key) const;
  absl::StatusOr<Value> FindArray(std::string_view key) const;

  std::map<std::string_view, Value> values_;
};

}  // namespace keyhole
