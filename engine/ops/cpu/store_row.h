// f32 values into the element type of KV pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/types.h"

namespace keyhole {

// Rounds to nearest even; a NaN stays one. Plain loops: the compiler vectorises them.
void StoreRow(KvType type, const float* in, std::size_t n, std::byte* out);
void LoadRow(KvType type, const std::byte* in, std::size_t n, float* out);

}  // namespace keyhole
