#include "engine/kv/page_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"

namespace keyhole {

namespace {

absl::StatusOr<std::size_t> BytesOf(std::size_t page_bytes, std::int32_t n_pages) {
  if (page_bytes == 0 || n_pages <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("pages need positive sizes, got ", n_pages, " of ", page_bytes, " bytes"));
  }
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(page_bytes, static_cast<std::size_t>(n_pages), &bytes) ||
      bytes > std::numeric_limits<std::ptrdiff_t>::max()) {
    return absl::InvalidArgumentError("pages are larger than the address space");
  }
  return bytes;
}

}  // namespace

absl::StatusOr<PageMemory> PageMemory::Reserve(std::size_t page_bytes, std::int32_t n_pages) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::size_t bytes, BytesOf(page_bytes, n_pages));
  void* base = mmap(
      nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot reserve ", bytes, " bytes of address space for pages"));
  }
  // Only a hint: fewer address translations when rows are gathered; refused by some kernels.
  madvise(base, bytes, MADV_HUGEPAGE);
  return PageMemory(page_bytes, n_pages, static_cast<std::byte*>(base));
}

absl::StatusOr<PageMemory> PageMemory::ReservePinned(std::size_t page_bytes, std::int32_t n_pages) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::size_t bytes, BytesOf(page_bytes, n_pages));
  KEYHOLE_ASSIGN_OR_RETURN(PinnedBuffer buffer, PinnedBuffer::Allocate(bytes));
  PageMemory memory(page_bytes, n_pages, buffer.data());
  memory.buffer_ = std::move(buffer);
  return memory;
}

PageMemory::PageMemory(PageMemory&& other) noexcept
    : page_bytes_(other.page_bytes_),
      n_pages_(other.n_pages_),
      base_(std::exchange(other.base_, nullptr)),
      buffer_(std::move(other.buffer_)) {}

PageMemory& PageMemory::operator=(PageMemory&& other) noexcept {
  std::swap(page_bytes_, other.page_bytes_);
  std::swap(n_pages_, other.n_pages_);
  std::swap(base_, other.base_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

PageMemory::~PageMemory() {
  if (base_ != nullptr && buffer_.data() == nullptr)
    munmap(base_, page_bytes_ * static_cast<std::size_t>(n_pages_));
}

void PageMemory::Discard(PageId page) {
  if (pinned()) return;
  // Only whole pages of the system inside this page: its neighbours keep theirs.
  const auto unit = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t begin = static_cast<std::size_t>(page) * page_bytes_;
  const std::size_t first = (begin + unit - 1) / unit * unit;  // base_ is aligned by mmap
  const std::size_t last = (begin + page_bytes_) / unit * unit;
  if (first < last) madvise(base_ + first, last - first, MADV_DONTNEED);
}

}  // namespace keyhole
