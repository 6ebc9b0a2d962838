// How much of the host's memory the KV pages of this process may take.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/telemetry/engine_observer.h"

namespace keyhole {

// The setting, or this rank's share of half of what is available. Errors: those of AvailableMemory.
absl::StatusOr<std::int64_t> KvMemoryBytes(const EngineConfig& config);

// What `share`, of the machine's memory, leaves for pages where the key windows of all running
// sequences lie in it too. Pages of one request of the full context, `longest`, come first: no
// machine serves a shorter context for the sake of many requests.
std::int64_t BytesBesideWindows(std::int64_t share, std::int64_t windows, std::int64_t longest);

// Where `n_pages` are too few for one request of the full context. `observer` may be null.
void WarnOfFewPages(std::int64_t n_pages,
                    std::int32_t page_size,
                    std::int32_t max_context,
                    EngineObserver* observer);

}  // namespace keyhole
