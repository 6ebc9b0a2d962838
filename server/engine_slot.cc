#include "server/engine_slot.h"

#include "engine/request/error.h"
#include "server/status_map.h"

namespace keyhole {

absl::StatusOr<Engine*> EngineSlot::Get() const {
  if (draining_.load(std::memory_order_relaxed)) return DrainingError();
  Engine* engine = engine_.load(std::memory_order_acquire);
  if (engine == nullptr) return ModelLoadingError();
  return engine;
}

}  // namespace keyhole
