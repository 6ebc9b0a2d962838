// Checks that operators share at their doors. Each throws std::logic_error("op: problem").
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/ops/cuda/device_rows.h"

namespace keyhole::cuda {

// The store is there, has the layer, and its rows have the sizes of `layout`'s.
void CheckStore(std::string_view op,
                const KvPages& store,
                const KvLayout& layout,
                std::int32_t layer);

// The same of digests and the slot of a layer.
void CheckStore(std::string_view op,
                const DigestPages& store,
                const DigestLayout& layout,
                std::int32_t slot);

// Rows [first, first + n) lie in the page table.
void CheckRows(std::string_view op, std::int32_t first, std::int64_t n, std::int64_t rows_in_table);

}  // namespace keyhole::cuda
