// What a rank that serves nobody tells: lines of the log.
#pragma once

#include <string>
#include <string_view>

#include "engine/telemetry/engine_observer.h"
#include "server/log.h"

namespace keyhole {

// `log` outlives this object. Thread: any.
class WorkerLog final : public EngineObserver {
 public:
  explicit WorkerLog(Log* log) : log_(log) {}

  void OnStep(const StepRecord&) override {}
  void OnInterToken(absl::Duration) override {}
  void OnRequestEnd(const RequestRecord&) override {}
  void OnWarning(std::string_view text) override {
    log_->Warn("engine_warning", {{"text", std::string(text)}});
  }
  void OnNotice(std::string_view text) override {
    log_->Info("engine_notice", {{"text", std::string(text)}});
  }

 private:
  Log* log_;
};

}  // namespace keyhole
