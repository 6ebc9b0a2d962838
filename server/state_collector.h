// Gauges that are read when Prometheus asks: the engine's state and the process's.
#pragma once

#include <vector>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"
#include "server/engine_slot.h"

namespace keyhole {

// Thread: any.
class EngineStateCollector : public prometheus::Collectable {
 public:
  // REQUIRES: `slot` and its engine outlive the endpoint that this is registered at.
  explicit EngineStateCollector(const EngineSlot* slot) : slot_(slot) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const EngineSlot* slot_;
};

// The process_* metrics that Prometheus client libraries agree on, from /proc.
class ProcessCollector : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace keyhole
