// Where calls find the engine: empty while the model loads, closed while the server drains.
#pragma once

#include <atomic>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace keyhole {

// Owns nothing: the server owns the engine and outlives every call. Thread: any.
class EngineSlot {
 public:
  // Once, when the model is loaded.
  void Open(Engine* engine) { engine_.store(engine, std::memory_order_release); }

  // For good.
  void StartDraining() { draining_.store(true, std::memory_order_relaxed); }

  // The engine for a new call. Errors: MODEL_LOADING, DRAINING.
  absl::StatusOr<Engine*> Get() const;

  // Whether a new call would be taken.
  bool serving() const { return engine() != nullptr && !draining_.load(std::memory_order_relaxed); }

  // The engine even while draining; null while the model loads.
  Engine* engine() const { return engine_.load(std::memory_order_acquire); }

 private:
  std::atomic<Engine*> engine_{nullptr};
  std::atomic<bool> draining_{false};
};

}  // namespace keyhole
