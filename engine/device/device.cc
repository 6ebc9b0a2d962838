#include "engine/device/device.h"

#include <new>

namespace keyhole {

std::byte* Device::Scratch(std::size_t bytes) {
  if (scratch_.size() < bytes) {
    scratch_ = AlignedBuffer();
    scratch_ = AlignedBuffer::Allocate(bytes + bytes / 4);
    if (scratch_.data() == nullptr) throw std::bad_alloc();
  }
  return scratch_.data();
}

}  // namespace keyhole
