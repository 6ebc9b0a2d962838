// One call of the data port, from arrival to its end: identity, log line and metrics.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "server/engine_slot.h"
#include "server/live_calls.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/stream_limits.h"

namespace keyhole {

class StreamWatch;

// What every call may use. Owned by the server, which outlives every call.
struct ServiceParts {
  EngineSlot* engine = nullptr;
  Metrics* metrics = nullptr;
  Log* log = nullptr;
  StreamWatch* streams = nullptr;
  LiveCalls* live_calls = nullptr;
  const EngineConfig* config = nullptr;
  StreamLimits stream_limits = {};
};

// Counts as live until destroyed. Thread: one at a time.
class Call {
 public:
  // `method` is a literal of the API; `context` lives until the call's reactor is done, `parts`
  // beyond.
  Call(std::string_view method, grpc::CallbackServerContext* context, const ServiceParts& parts);

  // Logs and counts the end of the call. Returns what goes to Finish. Exactly once, before Finish.
  grpc::Status End(const absl::Status& status);

  // The status of a call that its client or its deadline ended.
  absl::Status CancelStatus() const;

  void set_client_request_id(std::string_view id) { client_request_id_ = id; }
  // 0, not known yet, changes nothing.
  void set_request_id(RequestId id) {
    if (id != 0) request_id_ = id;
  }

  const ServiceParts& parts() const { return parts_; }
  absl::Time deadline() const { return deadline_; }
  const std::string& trace_parent() const { return trace_parent_; }
  grpc::CallbackServerContext* context() const { return context_; }

 private:
  std::string_view method_;
  grpc::CallbackServerContext* context_;
  const ServiceParts& parts_;
  LiveCalls::Token live_;
  absl::Time start_;
  absl::Time deadline_;  // gRPC's; InfiniteFuture without one
  std::string trace_parent_;
  std::string client_request_id_;
  RequestId request_id_ = 0;  // 0 until the engine gave one
};

// Whether this is a version 00 traceparent header of W3C Trace Context.
bool IsTraceParent(std::string_view text);

}  // namespace keyhole
