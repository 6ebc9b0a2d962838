#include "engine/kv/host_store.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"

namespace keyhole {

namespace {

absl::Status Check(const KvLayout& layout) {
  if (layout.n_layers <= 0 || layout.n_kv_heads <= 0 || layout.head_dim <= 0 ||
      layout.page_size <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("KV pages need positive sizes, got ",
                                                   layout.n_layers,
                                                   " layers, ",
                                                   layout.n_kv_heads,
                                                   " heads of ",
                                                   layout.head_dim,
                                                   ", page size ",
                                                   layout.page_size));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostStore>> HostStore::Create(const KvLayout& layout,
                                                             std::int32_t n_pages) {
  KEYHOLE_RETURN_IF_ERROR(Check(layout));
  KEYHOLE_ASSIGN_OR_RETURN(PageMemory memory, PageMemory::Reserve(layout.page_bytes(), n_pages));
  return std::unique_ptr<HostStore>(new HostStore(layout, std::move(memory)));
}

absl::StatusOr<std::unique_ptr<HostStore>> HostStore::CreatePinned(const KvLayout& layout,
                                                                   std::int32_t n_pages) {
  KEYHOLE_RETURN_IF_ERROR(Check(layout));
  KEYHOLE_ASSIGN_OR_RETURN(PageMemory memory,
                           PageMemory::ReservePinned(layout.page_bytes(), n_pages));
  return std::unique_ptr<HostStore>(new HostStore(layout, std::move(memory)));
}

}  // namespace keyhole
