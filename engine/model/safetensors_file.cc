#include "engine/model/safetensors_file.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/model/byte_reader.h"
#include "engine/model/checked_math.h"
#include "engine/model/file_error.h"
#include "engine/model/safetensors_header.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // of the reference implementation

struct Dtype {
  std::string_view name;
  std::uint64_t size;
  std::optional<WeightType> type;  // absent: may be in the file, cannot be a weight
};

constexpr Dtype kDtypes[] = {
    {"F32", 4, WeightType::kF32},
    {"F16", 2, WeightType::kF16},
    {"BF16", 2, WeightType::kBF16},
    {"BOOL", 1, std::nullopt},
    {"U8", 1, std::nullopt},
    {"I8", 1, std::nullopt},
    {"F8_E5M2", 1, std::nullopt},
    {"F8_E4M3", 1, std::nullopt},
    {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},
    {"I32", 4, std::nullopt},
    {"U32", 4, std::nullopt},
    {"F64", 8, std::nullopt},
    {"I64", 8, std::nullopt},
    {"U64", 8, std::nullopt},
};

const Dtype* FindDtype(std::string_view name) {
  const auto* found = std::ranges::find(kDtypes, name, &Dtype::name);
  return found == std::end(kDtypes) ? nullptr : found;
}

absl::Status Invalid(const SafetensorsEntry& entry, std::string_view problem) {
  return InvalidFile("tensor {}: {}", Printable(entry.name), problem);
}

absl::StatusOr<SafetensorsTensor> MakeTensor(SafetensorsEntry& entry,
                                             std::span<const std::byte> data) {
  const Dtype* dtype = FindDtype(entry.dtype);
  if (dtype == nullptr) {
    return Unsupported(
        "tensor {}: dtype {} is not supported", Printable(entry.name), Printable(entry.dtype));
  }
  if (entry.begin > entry.end || entry.end > data.size()) {
    return Invalid(entry,
                   fmt::format("bytes [{}, {}) lie outside the data of {} bytes",
                               entry.begin,
                               entry.end,
                               data.size()));
  }
  std::optional<std::uint64_t> size = dtype->size;
  SafetensorsTensor tensor;
  for (const std::uint64_t dim : entry.shape) {
    if (dim > std::numeric_limits<std::int64_t>::max()) size.reset();
    if (size) size = CheckedMultiply(*size, dim);
    tensor.shape.push_back(static_cast<std::int64_t>(dim));
  }
  if (!size || *size != entry.end - entry.begin) {
    return Invalid(
        entry,
        fmt::format(
            "its shape does not match its {} bytes of {}", entry.end - entry.begin, dtype->name));
  }
  tensor.name = std::move(entry.name);
  tensor.dtype = std::move(entry.dtype);
  tensor.type = dtype->type;
  tensor.bytes = data.subspan(entry.begin, *size);
  return tensor;
}

// REQUIRES: sorted by place.
absl::Status CheckCoverage(const std::vector<SafetensorsEntry>& entries, std::uint64_t data_size) {
  std::uint64_t end = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != end) {
      return Invalid(
          entry,
          fmt::format("begins at byte {}, the tensor before it ends at {}", entry.begin, end));
    }
    end = entry.end;
  }
  if (end == data_size) return absl::OkStatus();
  return InvalidFile("safetensors file has {} bytes of data, its tensors fill {}", data_size, end);
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  KEYHOLE_ASSIGN_OR_RETURN(MappedFile mapping, MappedFile::Open(path));
  KEYHOLE_ASSIGN_OR_RETURN(SafetensorsFile file, Parse(mapping.bytes()));
  file.mapping_ = std::move(mapping);
  return file;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(std::span<const std::byte> bytes) {
  SafetensorsFile file;
  file.bytes_ = bytes;
  ByteReader reader(bytes);
  std::uint64_t header_length = 0;
  std::span<const std::byte> header;
  if (!reader.Read(&header_length)) {
    return InvalidFile("safetensors file is shorter than its header length");
  }
  if (header_length > kMaxHeaderBytes || !reader.Take(header_length, &header)) {
    return InvalidFile("safetensors header of {} bytes in a file of {} (at most {})",
                       header_length,
                       bytes.size(),
                       kMaxHeaderBytes);
  }
  KEYHOLE_ASSIGN_OR_RETURN(
      std::vector<SafetensorsEntry> entries,
      ParseSafetensorsHeader({reinterpret_cast<const char*>(header.data()), header.size()}));
  std::ranges::sort(entries, [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  const std::span<const std::byte> data = bytes.subspan(reader.offset());
  KEYHOLE_RETURN_IF_ERROR(CheckCoverage(entries, data.size()));
  file.tensors_.reserve(entries.size());
  for (SafetensorsEntry& entry : entries) {
    KEYHOLE_ASSIGN_OR_RETURN(SafetensorsTensor tensor, MakeTensor(entry, data));
    file.index_.emplace(tensor.name, file.tensors_.size());
    file.tensors_.push_back(std::move(tensor));
  }
  return file;
}

const SafetensorsTensor* SafetensorsFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace keyhole
