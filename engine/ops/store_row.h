// f32 values into the heads of KV rows, and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kv/kv_layout.h"

namespace keyhole {

// Rounds to nearest even; a NaN stays one, in int8 as a scale that is none. The scale of int8 makes
// 127 of the largest magnitude. Plain loops: the compiler vectorises them.
void StoreHead(KvType type, const float* in, std::int32_t head_dim, std::byte* out);
void LoadHead(KvType type, const std::byte* in, std::int32_t head_dim, float* out);

// All heads of a row's keys, or of its values: [n_kv_heads, head_dim].
void StoreHeads(const KvLayout& layout, const float* in, std::byte* out);
void LoadHeads(const KvLayout& layout, const std::byte* in, float* out);

}  // namespace keyhole
