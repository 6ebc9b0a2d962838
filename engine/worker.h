// The door of a process that works for another one's engine: a rank above 0 of a tensor-parallel
// model.
#pragma once

#include "absl/status/status.h"
#include "engine/engine_config.h"
#include "engine/telemetry/engine_observer.h"

namespace keyhole {

// Loads this rank's part of the model and runs the steps of rank 0 until that goes away. `observer`
// may be null; it hears warnings and notices. REQUIRES: config.tensor_parallel.rank > 0. Thread:
// the caller's, all the while. Errors: those of Engine::Create; UNAVAILABLE where another rank has
// gone; INTERNAL where a step failed.
absl::Status RunWorker(const EngineConfig& config, EngineObserver* observer);

}  // namespace keyhole
