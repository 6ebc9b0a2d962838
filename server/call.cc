#include "server/call.h"

#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/request/error.h"
#include "nlohmann/json.hpp"
#include "server/status_map.h"

namespace keyhole {
namespace {

std::string FindTraceParent(const grpc::ServerContextBase& context) {
  const auto found = context.client_metadata().find("traceparent");
  if (found == context.client_metadata().end()) return {};
  const std::string_view value(found->second.data(), found->second.size());
  return IsTraceParent(value) ? std::string(value) : std::string();
}

absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

}  // namespace

bool IsTraceParent(std::string_view text) {
  constexpr std::string_view kShape = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
  if (text.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool fits = kShape[i] == 'h'
                          ? absl::ascii_isdigit(text[i]) || (text[i] >= 'a' && text[i] <= 'f')
                          : text[i] == kShape[i];
    if (!fits) return false;
  }
  return true;
}

Call::Call(std::string_view method, grpc::CallbackServerContext* context, const ServiceParts& parts)
    : method_(method),
      context_(context),
      parts_(parts),
      live_(parts.live_calls),
      start_(absl::Now()),
      deadline_(DeadlineOf(*context)),
      trace_parent_(FindTraceParent(*context)) {
  parts_.metrics->OnCallStarted(method_);
}

grpc::Status Call::End(const absl::Status& status) {
  const absl::Status told = WithRequestId(ToPublicStatus(status), request_id_);
  const ErrorDetail detail = told.ok() ? ErrorDetail{.reason = "NONE"} : GetErrorDetail(told);
  const absl::Duration duration = absl::Now() - start_;
  parts_.metrics->OnCallEnded(method_, told, detail.reason, duration);
  if (const auto pushback = RetryPushback(detail)) {
    context_->AddTrailingMetadata("grpc-retry-pushback-ms", *pushback);
  }

  nlohmann::ordered_json line = {{"method", method_},
                                 {"code", CodeName(told)},
                                 {"reason", detail.reason},
                                 {"seconds", absl::ToDoubleSeconds(duration)}};
  if (request_id_ != 0) line["request_id"] = absl::StrCat(request_id_);
  if (!client_request_id_.empty()) line["client_request_id"] = client_request_id_;
  if (!trace_parent_.empty()) line["traceparent"] = trace_parent_;
  if (told.code() == absl::StatusCode::kInternal) {
    line["cause"] = std::string(status.message());
    parts_.log->Error("call_failed", line);
  } else if (told.ok()) {
    parts_.log->Debug("call_ended", line);
  } else {
    parts_.log->Info("call_refused_or_cancelled", line);
  }
  return ToGrpcStatus(told);
}

absl::Status Call::CancelStatus() const {
  return absl::Now() >= deadline_ ? DeadlineError() : CancelledError();
}

}  // namespace keyhole
