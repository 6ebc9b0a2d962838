// A cursor over bytes from a file that cannot leave them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace keyhole {

static_assert(std::endian::native == std::endian::little, "model files are little-endian");

// A read that returns false leaves the cursor where it was.
// Thread: one owner.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t offset() const { return offset_; }
  std::uint64_t remaining() const { return bytes_.size() - offset_; }

  template <class T>
  [[nodiscard]] bool Read(T* out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (remaining() < sizeof(T)) return false;
    std::memcpy(out, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return true;
  }

  [[nodiscard]] bool Take(std::uint64_t n_bytes, std::span<const std::byte>* out) {
    if (remaining() < n_bytes) return false;
    *out = bytes_.subspan(offset_, n_bytes);
    offset_ += n_bytes;
    return true;
  }

  // A 64-bit length, then as many bytes.
  [[nodiscard]] bool ReadString(std::string_view* out) {
    const std::uint64_t start = offset_;
    std::uint64_t length = 0;
    std::span<const std::byte> content;
    if (!Read(&length) || !Take(length, &content)) {
      offset_ = start;
      return false;
    }
    *out = {reinterpret_cast<const char*>(content.data()), content.size()};
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t offset_ = 0;
};

}  // namespace keyhole
