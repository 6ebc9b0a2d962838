#include "engine/kv_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/runtime/available_memory.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<std::int64_t> KvMemoryBytes(const EngineConfig& config) {
  if (config.kv.memory_bytes > 0) return config.kv.memory_bytes;
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t available, AvailableMemory());
  return available / 2 / config.tensor_parallel.size;  // all ranks may be on this machine
}

std::int64_t BytesBesideWindows(std::int64_t share, std::int64_t windows, std::int64_t longest) {
  return std::max(share - windows, std::min(share, longest));
}

void WarnOfFewPages(std::int64_t n_pages,
                    std::int32_t page_size,
                    std::int32_t max_context,
                    EngineObserver* observer) {
  const std::int64_t n_tokens = n_pages * page_size;
  if (n_tokens >= max_context || observer == nullptr) return;
  observer->OnWarning(absl::StrCat("KV memory holds ",
                                   n_tokens,
                                   " tokens, less than one request of the full context of ",
                                   max_context));
}

}  // namespace keyhole
