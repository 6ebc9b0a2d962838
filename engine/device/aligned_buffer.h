// A piece of memory for vector instructions, without a value until it is written.
#pragma once

#include <cstddef>
#include <memory>

namespace keyhole {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  // Aligned to a cache line; large pieces to 2 MB, with large pages where the system grants them.
  // Empty if memory is short.
  static AlignedBuffer Allocate(std::size_t bytes);

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };

  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace keyhole
