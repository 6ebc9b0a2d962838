// A regular file, mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keyhole {

// Owner: whoever holds the object; bytes() stays valid and at the same address when it is moved.
// The file must not be shortened while it is mapped: reading a page that is gone ends the process.
// Thread: immutable, any thread.
class MappedFile {
 public:
  // Errors: NOT_FOUND; PERMISSION_DENIED; INVALID_ARGUMENT for an empty file or not a regular one.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace keyhole
