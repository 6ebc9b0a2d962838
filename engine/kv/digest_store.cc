#include "engine/kv/digest_store.h"

#include <algorithm>
#include <optional>

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
  if (layout.coarse_dims < 0 || layout.coarse_dims % 8 != 0 ||
      layout.coarse_dims > std::min(kMostCoarseDims, layout.rank)) {
    return absl::InvalidArgumentError(absl::StrCat("coarse digests of ",
                                                   layout.coarse_dims,
                                                   " dimensions: they must be a multiple of 8, at "
                                                   "most ",
                                                   kMostCoarseDims,
                                                   " and the rank, ",
                                                   layout.rank));
  }
  KEYHOLE_ASSIGN_OR_RETURN(PageMemory memory, PageMemory::Reserve(layout.page_bytes(), n_pages));
  std::optional<PageMemory> coarse;
  if (layout.coarse_dims > 0) {
    KEYHOLE_ASSIGN_OR_RETURN(
        coarse, PageMemory::Reserve(layout.coarse_slot_bytes(), layout.n_slots * n_pages));
  }
  return std::unique_ptr<DigestStore>(
      new DigestStore(layout, std::move(memory), std::move(coarse)));
}

}  // namespace keyhole
