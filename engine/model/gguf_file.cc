#include "engine/model/gguf_file.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/model/checked_math.h"
#include "engine/model/file_error.h"
#include "engine/model/weight_type.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kMaxTensors = 1 << 16;
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;  // name, n_dims, dim, type, offset
constexpr std::uint64_t kMaxNameLength = 256;
constexpr std::int64_t kDefaultAlignment = 32;
constexpr std::int64_t kMaxAlignment = 1 << 20;

struct TypeName {
  std::uint32_t id;
  std::string_view name;
  std::optional<WeightType> type;  // absent: not supported
};

// Numbers of enum ggml_type.
constexpr TypeName kTypes[] = {
    {0, "F32", WeightType::kF32},    {1, "F16", WeightType::kF16},
    {2, "Q4_0", WeightType::kQ4_0},  {3, "Q4_1", WeightType::kQ4_1},
    {6, "Q5_0", WeightType::kQ5_0},  {7, "Q5_1", WeightType::kQ5_1},
    {8, "Q8_0", WeightType::kQ8_0},  {9, "Q8_1", std::nullopt},
    {10, "Q2_K", std::nullopt},      {11, "Q3_K", std::nullopt},
    {12, "Q4_K", WeightType::kQ4_K}, {13, "Q5_K", WeightType::kQ5_K},
    {14, "Q6_K", WeightType::kQ6_K}, {15, "Q8_K", std::nullopt},
    {16, "IQ2_XXS", std::nullopt},   {17, "IQ2_XS", std::nullopt},
    {18, "IQ3_XXS", std::nullopt},   {19, "IQ1_S", std::nullopt},
    {20, "IQ4_NL", std::nullopt},    {21, "IQ3_S", std::nullopt},
    {22, "IQ2_S", std::nullopt},     {23, "IQ4_XS", std::nullopt},
    {24, "I8", std::nullopt},        {25, "I16", std::nullopt},
    {26, "I32", std::nullopt},       {27, "I64", std::nullopt},
    {28, "F64", std::nullopt},       {29, "IQ1_M", std::nullopt},
    {30, "BF16", WeightType::kBF16}, {34, "TQ1_0", std::nullopt},
    {35, "TQ2_0", std::nullopt},     {39, "MXFP4", std::nullopt},
};

absl::StatusOr<WeightType> TensorType(std::uint32_t id, std::string_view tensor) {
  for (const TypeName& known : kTypes) {
    if (known.id != id) continue;
    if (known.type) return *known.type;
    return Unsupported(
        "tensor {} is stored as {}, which is not supported", Printable(tensor), known.name);
  }
  return InvalidFile("tensor {} has the unknown type {}", Printable(tensor), id);
}

struct Header {
  std::uint32_t version = 0;
  std::uint64_t n_tensors = 0;
  std::uint64_t n_values = 0;
};

absl::StatusOr<Header> ParseHeader(ByteReader& reader) {
  Header header;
  std::span<const std::byte> magic;
  if (!reader.Take(kMagic.size(), &magic) ||
      std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    return InvalidFile("not a GGUF file: it does not begin with \"GGUF\"");
  }
  if (!reader.Read(&header.version)) {
    return InvalidFile("GGUF header is truncated");
  }
  if (header.version == __builtin_bswap32(2) || header.version == __builtin_bswap32(3)) {
    return Unsupported("big-endian GGUF files are not supported");
  }
  if (header.version != 2 && header.version != 3) {
    return Unsupported("GGUF version {} is not supported (2 and 3 are)", header.version);
  }
  if (!reader.Read(&header.n_tensors) || !reader.Read(&header.n_values)) {
    return InvalidFile("GGUF header is truncated");
  }
  return header;
}

absl::StatusOr<std::uint64_t> Alignment(const GgufMetadata& metadata) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t alignment,
                           metadata.IntOr("general.alignment", kDefaultAlignment));
  if (alignment < 8 || alignment > kMaxAlignment ||
      !std::has_single_bit(static_cast<std::uint64_t>(alignment))) {
    return InvalidFile("general.alignment is {}, not a power of two from 8", alignment);
  }
  return static_cast<std::uint64_t>(alignment);
}

absl::Status ParseDims(ByteReader& reader, GgufTensor* tensor) {
  std::uint32_t n_dims = 0;
  if (!reader.Read(&n_dims)) return InvalidFile("GGUF tensor list is truncated");
  if (n_dims < 1 || n_dims > tensor->dims.size()) {
    return InvalidFile("tensor {} has {} dimensions", Printable(tensor->name), n_dims);
  }
  tensor->n_dims = static_cast<int>(n_dims);
  for (int i = 0; i < tensor->n_dims; ++i) {
    if (!reader.Read(&tensor->dims[i])) {
      return InvalidFile("GGUF tensor list is truncated");
    }
    if (tensor->dims[i] >= 1) continue;
    return InvalidFile("dimension {} of tensor {} is {}",
                       i,
                       Printable(tensor->name),
                       static_cast<std::uint64_t>(tensor->dims[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufTensor> ParseTensor(ByteReader& reader) {
  GgufTensor tensor;
  if (!reader.ReadString(&tensor.name)) {
    return InvalidFile("GGUF tensor list is truncated within a name");
  }
  if (tensor.name.empty() || tensor.name.size() > kMaxNameLength) {
    return InvalidFile("GGUF tensor name has a length of {}", tensor.name.size());
  }
  KEYHOLE_RETURN_IF_ERROR(ParseDims(reader, &tensor));
  std::uint32_t type = 0;
  if (!reader.Read(&type) || !reader.Read(&tensor.offset)) {
    return InvalidFile("GGUF tensor list is truncated");
  }
  KEYHOLE_ASSIGN_OR_RETURN(tensor.type, TensorType(type, tensor.name));
  return tensor;
}

absl::StatusOr<std::uint64_t> TensorBytes(const GgufTensor& tensor) {
  auto size = RowBytes(tensor.type, static_cast<std::uint64_t>(tensor.dims[0]));
  if (tensor.dims[0] % InfoOf(tensor.type).block_size != 0) {
    return InvalidFile("rows of {} values of tensor {} do not divide into blocks of {}",
                       tensor.dims[0],
                       Printable(tensor.name),
                       InfoOf(tensor.type).name);
  }
  for (int i = 1; i < tensor.n_dims && size; ++i) {
    size = CheckedMultiply(*size, static_cast<std::uint64_t>(tensor.dims[i]));
  }
  if (size) return *size;
  return InvalidFile("the size of tensor {} does not fit in 64 bits", Printable(tensor.name));
}

// REQUIRES: every tensor has its bytes.
absl::Status CheckOverlap(const std::vector<GgufTensor>& tensors) {
  std::vector<const GgufTensor*> order;
  order.reserve(tensors.size());
  for (const GgufTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const GgufTensor* a, const GgufTensor* b) {
    return a->offset < b->offset;
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = *order[i - 1];
    if (before.offset + before.bytes.size() <= order[i]->offset) continue;
    return InvalidFile(
        "tensors {} and {} overlap", Printable(before.name), Printable(order[i]->name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufFile> GgufFile::Open(const std::string& path) {
  KEYHOLE_ASSIGN_OR_RETURN(MappedFile mapping, MappedFile::Open(path));
  KEYHOLE_ASSIGN_OR_RETURN(GgufFile file, Parse(mapping.bytes()));
  file.mapping_ = std::move(mapping);
  return file;
}

absl::StatusOr<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes) {
  GgufFile file;
  file.bytes_ = bytes;
  ByteReader reader(bytes);
  KEYHOLE_ASSIGN_OR_RETURN(const Header header, ParseHeader(reader));
  KEYHOLE_ASSIGN_OR_RETURN(file.metadata_, GgufMetadata::Parse(reader, header.n_values));
  KEYHOLE_RETURN_IF_ERROR(file.ParseTensors(reader, header.n_tensors));
  return file;
}

absl::Status GgufFile::ParseTensors(ByteReader& reader, std::uint64_t n_tensors) {
  if (n_tensors > kMaxTensors || n_tensors > reader.remaining() / kMinTensorBytes) {
    return InvalidFile("GGUF file with {} bytes after its metadata cannot hold {} tensors",
                       reader.remaining(),
                       n_tensors);
  }
  tensors_.reserve(n_tensors);
  for (std::uint64_t i = 0; i < n_tensors; ++i) {
    KEYHOLE_ASSIGN_OR_RETURN(const GgufTensor tensor, ParseTensor(reader));
    if (!index_.emplace(tensor.name, i).second) {
      return InvalidFile("tensor {} appears twice", Printable(tensor.name));
    }
    tensors_.push_back(tensor);
  }
  return tensors_.empty() ? absl::OkStatus() : PlaceTensors(reader.offset());
}

absl::Status GgufFile::PlaceTensors(std::uint64_t data_start) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::uint64_t alignment, Alignment(metadata_));
  const auto start = CheckedAlignUp(data_start, alignment);
  if (!start || *start > bytes_.size()) {
    return InvalidFile("GGUF file ends before its tensor data");
  }
  const std::span<const std::byte> data = bytes_.subspan(*start);
  for (GgufTensor& tensor : tensors_) {
    KEYHOLE_ASSIGN_OR_RETURN(const std::uint64_t size, TensorBytes(tensor));
    if (tensor.offset % alignment != 0) {
      return InvalidFile("tensor {} at offset {} is not aligned to {} bytes",
                         Printable(tensor.name),
                         tensor.offset,
                         alignment);
    }
    if (tensor.offset > data.size() || size > data.size() - tensor.offset) {
      return InvalidFile("tensor {} ({} bytes at offset {}) lies outside the data of {} bytes",
                         Printable(tensor.name),
                         size,
                         tensor.offset,
                         data.size());
    }
    tensor.bytes = data.subspan(tensor.offset, size);
  }
  return CheckOverlap(tensors_);
}

const GgufTensor* GgufFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace keyhole
