// One log line for each request that the engine saw, with its phases; and the metrics of the same
// record.
#pragma once

#include <string_view>

#include "absl/time/time.h"
#include "engine/telemetry/engine_observer.h"
#include "server/log.h"
#include "server/metrics.h"

namespace keyhole {

// Thread: as EngineObserver; no call waits.
class RequestLog : public EngineObserver {
 public:
  // Requests longer than `slow` are warnings. REQUIRES: `metrics` and `log` outlive this object.
  RequestLog(Metrics* metrics, Log* log, absl::Duration slow)
      : metrics_(metrics), log_(log), slow_(slow) {}

  void OnStep(const StepRecord& record) override { metrics_->OnStep(record); }
  void OnInterToken(absl::Duration gap) override { metrics_->OnInterToken(gap); }
  void OnRequestEnd(const RequestRecord& record) override;
  void OnSequenceFailure(RequestId id, const absl::Status& cause) override;
  void OnWarning(std::string_view text) override;
  void OnNotice(std::string_view text) override;

 private:
  Metrics* metrics_;
  Log* log_;
  absl::Duration slow_;
};

}  // namespace keyhole
