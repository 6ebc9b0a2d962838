// Writes GGUF files byte by byte, right or wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/gguf_metadata.h"

namespace keyhole {

// Tensor infos as they will be written; nothing is checked.
struct TensorInfo {
  std::string name;
  std::vector<std::uint64_t> dims;
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};

class GgufBuilder {
 public:
  template <class T>
  static void Append(std::string* out, T value) {
    out->append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static void AppendString(std::string* out, std::string_view text) {
    Append<std::uint64_t>(out, text.size());
    out->append(text);
  }

  template <class T>
  GgufBuilder& Value(std::string_view key, GgufType type, T value) {
    StartValue(key, type);
    Append(&values_, value);
    return *this;
  }
  GgufBuilder& Uint(std::string_view key, std::uint32_t value) {
    return Value(key, GgufType::kUint32, value);
  }
  GgufBuilder& Float(std::string_view key, float value) {
    return Value(key, GgufType::kFloat32, value);
  }
  GgufBuilder& String(std::string_view key, std::string_view value) {
    StartValue(key, GgufType::kString);
    AppendString(&values_, value);
    return *this;
  }
  // An array header that claims `count` elements, then `content` as it stands.
  GgufBuilder& Array(std::string_view key,
                     GgufType element,
                     std::uint64_t count,
                     std::string_view content) {
    StartValue(key, GgufType::kArray);
    Append(&values_, element);
    Append(&values_, count);
    values_.append(content);
    return *this;
  }
  // Bytes as they stand, counted as one value.
  GgufBuilder& RawValue(std::string_view bytes) {
    values_.append(bytes);
    ++n_values_;
    return *this;
  }
  GgufBuilder& Tensor(const TensorInfo& info) {
    AppendString(&infos_, info.name);
    Append<std::uint32_t>(&infos_, static_cast<std::uint32_t>(info.dims.size()));
    for (const std::uint64_t dim : info.dims) Append(&infos_, dim);
    Append(&infos_, info.type);
    Append(&infos_, info.offset);
    ++n_tensors_;
    return *this;
  }
  // An F32 tensor placed after the ones before it.
  GgufBuilder& F32(std::string_view name, std::vector<std::uint64_t> dims) {
    std::uint64_t size = 4;
    for (const std::uint64_t dim : dims) size *= dim;
    Tensor({std::string(name), std::move(dims), 0, data_size_});
    data_size_ += (size + 31) / 32 * 32;
    return *this;
  }

  GgufBuilder& Version(std::uint32_t version) {
    version_ = version;
    return *this;
  }
  GgufBuilder& ClaimValues(std::uint64_t count) {
    claimed_values_ = count;
    return *this;
  }
  GgufBuilder& ClaimTensors(std::uint64_t count) {
    claimed_tensors_ = count;
    return *this;
  }
  GgufBuilder& DataSize(std::uint64_t size) {
    data_size_ = size;
    return *this;
  }

  std::string Build(std::uint64_t alignment = 32) const {
    std::string file = "GGUF";
    Append(&file, version_);
    Append(&file, claimed_tensors_ == kAsBuilt ? n_tensors_ : claimed_tensors_);
    Append(&file, claimed_values_ == kAsBuilt ? n_values_ : claimed_values_);
    file += values_ + infos_;
    if (data_size_ > 0) file.resize((file.size() + alignment - 1) / alignment * alignment);
    file.resize(file.size() + data_size_);
    return file;
  }

 private:
  static constexpr std::uint64_t kAsBuilt = 0x5A5A5A5A5A5A5A5A;

  void StartValue(std::string_view key, GgufType type) {
    AppendString(&values_, key);
    Append(&values_, type);
    ++n_values_;
  }

  std::uint32_t version_ = 3;
  std::uint64_t n_values_ = 0;
  std::uint64_t n_tensors_ = 0;
  std::uint64_t claimed_values_ = kAsBuilt;
  std::uint64_t claimed_tensors_ = kAsBuilt;
  std::uint64_t data_size_ = 0;
  std::string values_;
  std::string infos_;
};

inline std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace keyhole
