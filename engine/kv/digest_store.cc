#include "engine/kv/digest_store.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<DigestStore>> DigestStore::Create(const DigestLayout& layout,
                                                                 std::int32_t n_pages) {
  if (layout.n_slots <= 0 || layout.n_groups <= 0 || layout.rank <= 0 || layout.rank % 4 != 0 ||
      layout.page_size <= 0 || layout.page_size % kDigestBlockTokens != 0) {
    return absl::InvalidArgumentError(absl::StrCat("digests of ",
                                                   layout.n_slots,
                                                   " layers, ",
                                                   layout.n_groups,
                                                   " groups of ",
                                                   layout.rank,
                                                   " dimensions, page size ",
                                                   layout.page_size,
                                                   ": sizes must be positive, the dimensions a "
                                                   "multiple of 4 and the page size one of ",
                                                   kDigestBlockTokens));
  }
  KEYHOLE_ASSIGN_OR_RETURN(PageMemory memory, PageMemory::Reserve(layout.page_bytes(), n_pages));
  return std::unique_ptr<DigestStore>(new DigestStore(layout, std::move(memory)));
}

}  // namespace keyhole
