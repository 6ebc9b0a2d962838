#include "engine/kv/host_store.h"

#include <sys/mman.h>
#include <unistd.h>

#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace keyhole {
namespace {

absl::Status Check(const KvLayout& layout, std::int32_t n_pages) {
  if (layout.n_layers <= 0 || layout.n_kv_heads <= 0 || layout.head_dim <= 0 ||
      layout.page_size <= 0 || n_pages <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("KV pages need positive sizes, got ",
                                                   layout.n_layers,
                                                   " layers, ",
                                                   layout.n_kv_heads,
                                                   " heads of ",
                                                   layout.head_dim,
                                                   ", page size ",
                                                   layout.page_size,
                                                   ", ",
                                                   n_pages,
                                                   " pages"));
  }
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(layout.page_bytes(), static_cast<std::size_t>(n_pages), &bytes) ||
      bytes > std::numeric_limits<std::ptrdiff_t>::max()) {
    return absl::InvalidArgumentError("KV pages are larger than the address space");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostStore>> HostStore::Create(const KvLayout& layout,
                                                             std::int32_t n_pages) {
  if (absl::Status status = Check(layout, n_pages); !status.ok()) return status;
  const std::size_t bytes = layout.page_bytes() * static_cast<std::size_t>(n_pages);
  void* base = mmap(
      nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot reserve ", bytes, " bytes of address space for KV pages"));
  }
  // Only a hint: fewer address translations when rows are gathered; refused by some kernels.
  madvise(base, bytes, MADV_HUGEPAGE);
  return std::unique_ptr<HostStore>(
      new HostStore(layout, n_pages, static_cast<std::byte*>(base), bytes));
}

HostStore::HostStore(const KvLayout& layout,
                     std::int32_t n_pages,
                     std::byte* base,
                     std::size_t bytes)
    : layout_(layout), n_pages_(n_pages), base_(base), bytes_(bytes) {}

HostStore::~HostStore() { munmap(base_, bytes_); }

void HostStore::Discard(PageId page) {
  // Only whole pages of the system inside this page: its neighbours keep theirs.
  const std::size_t unit = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t begin = static_cast<std::size_t>(page) * layout_.page_bytes();
  const std::size_t end = begin + layout_.page_bytes();
  const std::size_t first = (begin + unit - 1) / unit * unit;  // base_ is aligned by mmap
  const std::size_t last = end / unit * unit;
  if (first < last) madvise(base_ + first, last - first, MADV_DONTNEED);
}

}  // namespace keyhole
