#include "engine/device/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace keyhole {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kLargePage = std::size_t{2} << 20;

// The system may promise more than it has; nothing larger than this could ever be filled.
std::size_t PhysicalMemory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

AlignedBuffer AlignedBuffer::Allocate(std::size_t bytes) {
  AlignedBuffer buffer;
  if (bytes > PhysicalMemory()) return buffer;
  const bool large = bytes >= kLargePage;
  void* data = nullptr;
  if (posix_memalign(&data, large ? kLargePage : kCacheLine, bytes) != 0) return buffer;
  if (large) madvise(data, bytes, MADV_HUGEPAGE);  // a hint: may fail
  buffer.data_.reset(static_cast<std::byte*>(data));
  buffer.size_ = bytes;
  return buffer;
}

void AlignedBuffer::Free::operator()(std::byte* data) const { std::free(data); }

}  // namespace keyhole
