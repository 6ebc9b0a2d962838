#include "engine/model/gguf_metadata.h"

#include <limits>
#include <string>
#include <utility>

#include "engine/model/checked_math.h"
#include "engine/model/file_error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::uint64_t kMaxValues = 1 << 16;
constexpr std::uint64_t kMaxKeyLength = (1 << 16) - 1;  // of the GGUF specification
constexpr std::uint64_t kMinPairBytes = 8 + 4 + 1;      // key length, type, the smallest value

// Bytes of one value of a type of fixed size; 0 for strings, arrays and unknown types.
std::uint64_t FixedSize(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

template <class T>
T Load(std::span<const std::byte> bytes, std::uint64_t index = 0) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

// REQUIRES: an integer type.
absl::StatusOr<std::int64_t> LoadInteger(GgufType type,
                                         std::span<const std::byte> bytes,
                                         std::uint64_t index) {
  switch (type) {
    case GgufType::kUint8:
      return Load<std::uint8_t>(bytes, index);
    case GgufType::kInt8:
      return Load<std::int8_t>(bytes, index);
    case GgufType::kUint16:
      return Load<std::uint16_t>(bytes, index);
    case GgufType::kInt16:
      return Load<std::int16_t>(bytes, index);
    case GgufType::kUint32:
      return Load<std::uint32_t>(bytes, index);
    case GgufType::kInt32:
      return Load<std::int32_t>(bytes, index);
    case GgufType::kInt64:
      return Load<std::int64_t>(bytes, index);
    case GgufType::kUint64: {
      const auto value = Load<std::uint64_t>(bytes, index);
      if (value > std::numeric_limits<std::int64_t>::max()) {
        return InvalidFile("{} does not fit in 63 bits", value);
      }
      return static_cast<std::int64_t>(value);
    }
    default:
      return InvalidFile("not an integer");
  }
}

absl::Status WrongType(std::string_view key, std::string_view wanted) {
  return InvalidFile("GGUF key {} is not {}", key, wanted);
}

absl::Status Truncated(const ByteReader& reader, std::string_view what) {
  return InvalidFile("GGUF metadata ends within {} at byte {}", what, reader.offset());
}

}  // namespace

absl::Status GgufMetadata::ParseArray(ByteReader& reader, Value* value) {
  std::uint32_t type = 0;
  if (!reader.Read(&type) || !reader.Read(&value->count)) {
    return Truncated(reader, "an array header");
  }
  value->element_type = static_cast<GgufType>(type);
  if (value->element_type == GgufType::kArray) {
    return InvalidFile("GGUF arrays of arrays are not supported");
  }
  if (value->element_type != GgufType::kString) {
    const std::uint64_t size = FixedSize(value->element_type);
    if (size == 0) return InvalidFile("unknown GGUF type {}", type);
    const auto n_bytes = CheckedMultiply(value->count, size);
    if (!n_bytes || !reader.Take(*n_bytes, &value->bytes)) {
      return Truncated(reader, fmt::format("an array of {}", value->count));
    }
    return absl::OkStatus();
  }
  ByteReader start = reader;
  std::string_view element;
  for (std::uint64_t i = 0; i < value->count; ++i) {
    if (!reader.ReadString(&element)) {
      return Truncated(reader, fmt::format("string {} of {}", i, value->count));
    }
  }
  const bool taken = start.Take(reader.offset() - start.offset(), &value->bytes);
  return taken ? absl::OkStatus() : Truncated(reader, "an array of strings");
}

absl::StatusOr<GgufMetadata::Value> GgufMetadata::ParseValue(ByteReader& reader) {
  Value value;
  std::uint32_t type = 0;
  if (!reader.Read(&type)) return Truncated(reader, "a value's type");
  value.type = static_cast<GgufType>(type);
  if (value.type == GgufType::kArray) {
    KEYHOLE_RETURN_IF_ERROR(ParseArray(reader, &value));
    return value;
  }
  std::uint64_t size = FixedSize(value.type);
  if (value.type == GgufType::kString) {
    if (!reader.Read(&size)) return Truncated(reader, "a string's length");
  } else if (size == 0) {
    return InvalidFile("unknown GGUF type {}", type);
  }
  if (!reader.Take(size, &value.bytes)) {
    return Truncated(reader, fmt::format("a value of {} bytes", size));
  }
  return value;
}

absl::StatusOr<GgufMetadata> GgufMetadata::Parse(ByteReader& reader, std::uint64_t n_values) {
  if (n_values > kMaxValues || n_values > reader.remaining() / kMinPairBytes) {
    return InvalidFile("GGUF file of {} bytes after its header cannot hold {} metadata values",
                       reader.remaining(),
                       n_values);
  }
  GgufMetadata metadata;
  for (std::uint64_t i = 0; i < n_values; ++i) {
    std::string_view key;
    if (!reader.ReadString(&key)) return Truncated(reader, fmt::format("key {}", i));
    if (key.empty() || key.size() > kMaxKeyLength) {
      return InvalidFile("GGUF key {} has a length of {}", i, key.size());
    }
    KEYHOLE_ASSIGN_OR_RETURN(const Value value, ParseValue(reader));
    if (!metadata.values_.emplace(key, value).second) {
      return InvalidFile("GGUF key {} appears twice", Printable(key));
    }
  }
  return metadata;
}

absl::StatusOr<GgufMetadata::Value> GgufMetadata::Find(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) {
    return absl::NotFoundError(fmt::format("the GGUF file has no key {}", key));
  }
  return found->second;
}

absl::StatusOr<GgufMetadata::Value> GgufMetadata::FindArray(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, Find(key));
  if (value.type != GgufType::kArray) return WrongType(key, "an array");
  return value;
}

absl::StatusOr<std::int64_t> GgufMetadata::Int(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, Find(key));
  auto number = LoadInteger(value.type, value.bytes, 0);
  if (!number.ok()) return WrongType(key, "an integer in range");
  return number;
}

absl::StatusOr<double> GgufMetadata::Float(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, Find(key));
  if (value.type == GgufType::kFloat32) return Load<float>(value.bytes);
  if (value.type == GgufType::kFloat64) return Load<double>(value.bytes);
  return WrongType(key, "a floating-point number");
}

absl::StatusOr<bool> GgufMetadata::Bool(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, Find(key));
  if (value.type != GgufType::kBool) return WrongType(key, "a boolean");
  return Load<std::uint8_t>(value.bytes) != 0;
}

absl::StatusOr<std::string_view> GgufMetadata::String(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, Find(key));
  if (value.type != GgufType::kString) return WrongType(key, "a string");
  return std::string_view(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

absl::StatusOr<std::vector<std::string_view>> GgufMetadata::Strings(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, FindArray(key));
  if (value.element_type != GgufType::kString) return WrongType(key, "an array of strings");
  std::vector<std::string_view> strings(value.count);
  ByteReader reader(value.bytes);
  for (std::string_view& string : strings) {
    if (!reader.ReadString(&string)) return Truncated(reader, key);
  }
  return strings;
}

absl::StatusOr<std::vector<std::int32_t>> GgufMetadata::Ints(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, FindArray(key));
  std::vector<std::int32_t> numbers;
  numbers.reserve(value.element_type == GgufType::kString ? 0 : value.count);
  for (std::uint64_t i = 0; i < value.count; ++i) {
    const auto number = LoadInteger(value.element_type, value.bytes, i);
    if (!number.ok() || *number != static_cast<std::int32_t>(*number)) {
      return WrongType(key, "an array of 32-bit integers");
    }
    numbers.push_back(static_cast<std::int32_t>(*number));
  }
  return numbers;
}

absl::StatusOr<std::vector<float>> GgufMetadata::Floats(std::string_view key) const {
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, FindArray(key));
  if (value.element_type != GgufType::kFloat32) return WrongType(key, "an array of f32");
  std::vector<float> numbers(value.count);
  if (!numbers.empty()) std::memcpy(numbers.data(), value.bytes.data(), value.bytes.size());
  return numbers;
}

absl::StatusOr<std::int64_t> GgufMetadata::IntOr(std::string_view key,
                                                 std::int64_t fallback) const {
  if (!Has(key)) return fallback;
  return Int(key);
}

absl::StatusOr<double> GgufMetadata::FloatOr(std::string_view key, double fallback) const {
  if (!Has(key)) return fallback;
  return Float(key);
}

absl::StatusOr<std::string_view> GgufMetadata::StringOr(std::string_view key,
                                                        std::string_view fallback) const {
  if (!Has(key)) return fallback;
  return String(key);
}

}  // namespace keyhole
