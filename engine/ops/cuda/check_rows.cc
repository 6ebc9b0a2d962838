#include "engine/ops/cuda/check_rows.h"

#include "engine/ops/op_check.h"

namespace keyhole::cuda {

void CheckStore(std::string_view op,
                const KvPages& store,
                const KvLayout& layout,
                std::int32_t layer) {
  CheckOp(store.base != nullptr, op, "null store");
  const KvLayout& own = store.layout;
  CheckOp(own.n_kv_heads == layout.n_kv_heads && own.head_dim == layout.head_dim &&
              own.type == layout.type,
          op,
          "layouts differ");
  CheckOp(layer >= 0 && layer < own.n_layers, op, "no such layer");
}

void CheckStore(std::string_view op,
                const DigestPages& store,
                const DigestLayout& layout,
                std::int32_t slot) {
  CheckOp(store.base != nullptr, op, "null store");
  const DigestLayout& own = store.layout;
  CheckOp(own.n_groups == layout.n_groups && own.rank == layout.rank, op, "layouts differ");
  CheckOp(own.rank % 4 == 0 && own.page_size % kDigestBlockTokens == 0, op, "odd layout");
  CheckOp(slot >= 0 && slot < own.n_slots, op, "no such slot");
}

void CheckRows(std::string_view op,
               std::int32_t first,
               std::int64_t n,
               std::int64_t rows_in_table) {
  CheckOp(first >= 0 && n >= 0 && first + n <= rows_in_table, op, "rows leave the page table");
}

}  // namespace keyhole::cuda
