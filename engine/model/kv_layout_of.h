// How the KV rows of a model lie in memory.
#pragma once

#include <cstdint>

#include "engine/kv/kv_layout.h"
#include "engine/model/model_config.h"

namespace keyhole {

// Of all layers; `config` may be that of one rank's part.
inline KvLayout KvLayoutOf(const ModelConfig& config, std::int32_t page_size, KvType type) {
  return {.n_layers = static_cast<std::int32_t>(config.n_layers),
          .n_kv_heads = static_cast<std::int32_t>(config.n_kv_heads),
          .head_dim = static_cast<std::int32_t>(config.head_dim),
          .page_size = page_size,
          .type = type};
}

}  // namespace keyhole
