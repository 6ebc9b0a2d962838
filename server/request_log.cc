#include "server/request_log.h"

#include "absl/strings/str_cat.h"
#include "engine/request/error.h"
#include "nlohmann/json.hpp"
#include "server/status_map.h"

namespace keyhole {

void RequestLog::OnRequestEnd(const RequestRecord& record) {
  metrics_->OnRequestEnd(record);
  const FinishedEvent& finished = record.finished;
  const absl::Duration total = finished.queue_time + finished.prefill_time + finished.decode_time;
  nlohmann::ordered_json line = {
      {"request_id", absl::StrCat(record.id)},
      {"code", CodeName(record.status)},
      {"prompt_tokens", finished.prompt_tokens},
      {"cached_prompt_tokens", finished.cached_prompt_tokens},
      {"output_tokens", finished.output_tokens},
      {"queue_seconds", absl::ToDoubleSeconds(finished.queue_time)},
      {"prefill_seconds", absl::ToDoubleSeconds(finished.prefill_time)},
      {"decode_seconds", absl::ToDoubleSeconds(finished.decode_time)},
      {"time_to_first_token_seconds", absl::ToDoubleSeconds(record.time_to_first_token)}};
  if (record.status.ok()) {
    line["finish_reason"] = FinishReasonName(finished.reason);
  } else {
    line["reason"] = GetErrorDetail(record.status).reason;
  }
  if (!record.client_request_id.empty()) line["client_request_id"] = record.client_request_id;
  if (!record.trace_parent.empty()) line["traceparent"] = record.trace_parent;
  if (record.status.code() == absl::StatusCode::kInternal) {
    log_->Error("request_failed", line);
  } else if (total > slow_) {
    log_->Warn("slow_request", line);
  } else {
    log_->Info("request", line);
  }
}

void RequestLog::OnSequenceFailure(RequestId id, const absl::Status& cause) {
  log_->Error("sequence_failed",
              {{"request_id", absl::StrCat(id)}, {"cause", std::string(cause.message())}});
}

void RequestLog::OnWarning(std::string_view text) {
  log_->Warn("engine_warning", {{"text", text}});
}

void RequestLog::OnNotice(std::string_view text) { log_->Info("engine_notice", {{"text", text}}); }

}  // namespace keyhole
