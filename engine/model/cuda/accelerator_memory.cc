#include "engine/model/cuda/accelerator_memory.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/kv/window_cache.h"
#include "engine/model/cuda/device_activations.h"
#include "engine/ops/cuda/attend_rows.h"
#include "engine/ops/cuda/hot_row_memory.h"

namespace keyhole::cuda {
namespace {

constexpr std::size_t kSpareShare = 8;  // a small device has small models

std::size_t Less(std::size_t from, std::size_t what) { return from - std::min(from, what); }

}  // namespace

std::size_t StepBytes(const ModelShard& shard,
                      const KvLayout& layout,
                      const AcceleratorSettings& settings) {
  const ModelConfig& config = shard.config;
  const std::int32_t chunk = settings.attention.distances.chunk_size;
  const std::int64_t n_rows = std::int64_t{chunk} + settings.max_running;
  std::size_t bytes = DeviceActivationMemory::Bytes(shard, n_rows, settings.max_logits);
  // Queries turned to three distances, and keys.
  bytes += 4 * std::bit_ceil(static_cast<std::size_t>(n_rows)) * config.q_size() * sizeof(float);
  // Of layers that select and of those that do not.
  bytes += 2 * AttendScratchBytes(settings.max_running,
                                  static_cast<std::int32_t>(config.n_heads / config.n_kv_heads),
                                  static_cast<std::int32_t>(config.head_dim));
  // Scores of every row of a sequence, pooled ones, and those that may be chosen with their rows.
  bytes += 4 * sizeof(float) * static_cast<std::size_t>(settings.max_context) *
           static_cast<std::size_t>(settings.max_running);
  bytes += static_cast<std::size_t>(settings.rope_positions) * config.head_dim * sizeof(float);
  bytes += WindowBytes(layout, settings.attention.window_rows()) *
           static_cast<std::size_t>(settings.max_running);
  return bytes;
}

absl::StatusOr<AcceleratorMemory> ShareMemory(const KvLayout& layout,
                                              std::size_t digest_page_bytes,
                                              std::size_t free_bytes,
                                              const AcceleratorSettings& settings) {
  const std::size_t room = Less(free_bytes, std::min(free_bytes / kSpareShare, kSpareBytes));
  const std::size_t page_bytes = layout.page_bytes();
  const std::size_t usable =
      static_cast<std::size_t>(PagesForTokens(settings.max_context, settings.page_size)) *
      static_cast<std::size_t>(settings.max_running);
  std::size_t on_device = room / (page_bytes + digest_page_bytes);
  if (settings.device_bytes > 0) {
    on_device = std::min(on_device, settings.device_bytes / page_bytes);
  }
  const std::size_t on_host = static_cast<std::size_t>(settings.host_bytes) / page_bytes;
  std::size_t n_pages = on_device;
  if (settings.residency == Residency::kHost) n_pages = on_host;
  if (settings.residency == Residency::kAuto) n_pages = std::max(on_device, on_host);
  constexpr std::size_t kMostPages = std::numeric_limits<std::int32_t>::max();
  n_pages = std::min({n_pages, usable, kMostPages});
  const bool spills = settings.residency == Residency::kHost || n_pages > on_device;
  const std::size_t beside = digest_page_bytes + (spills ? PageTableBytes(layout) : 0);
  std::size_t for_rows = Less(room, n_pages * beside);
  if (spills) {  // any row of the device may be a hot one
    for_rows = for_rows / (layout.row_bytes() + kHotRowTableBytes) * layout.row_bytes();
  }
  AcceleratorMemory memory;
  memory.n_pages = static_cast<std::int32_t>(n_pages);
  memory.device_bytes = settings.device_bytes > 0 ? settings.device_bytes : for_rows;
  if (n_pages > 0 && for_rows > 0 && memory.device_bytes <= for_rows) return memory;
  return absl::ResourceExhaustedError(absl::StrCat("the device has ",
                                                   room,
                                                   " bytes left for KV pages of ",
                                                   page_bytes,
                                                   " bytes and, of ",
                                                   n_pages,
                                                   " pages in all, ",
                                                   beside,
                                                   " bytes each of compressed keys and tables"));
}

}  // namespace keyhole::cuda
