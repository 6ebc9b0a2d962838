// The whole service in its order: ports open, model loads, serve, drain, end.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "grpcpp/server.h"
#include "server/engine_slot.h"
#include "server/event.h"
#include "server/generation_service.h"
#include "server/live_calls.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/metrics_endpoint.h"
#include "server/request_log.h"
#include "server/server_config.h"
#include "server/stream_watch.h"

namespace keyhole {

// Engine::Create, or what a test puts in its place. Runs on a thread of its own.
using EngineFactory = absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Engine>>(
    const EngineConfig& config, EngineObserver* observer)>;

// Thread: Start and Run on one thread, RequestDrain on any.
class Server {
 public:
  // REQUIRES: Validate(config) passed; `log` outlives the server.
  Server(ServerConfig config, EngineFactory factory, Log* log);
  // Ends whatever runs, waiting for the model to be loaded if it is loading.
  ~Server();

  // Opens the ports and begins to load the model. Errors: UNAVAILABLE where a port cannot be had,
  // INVALID_ARGUMENT for unreadable certificates.
  absl::Status Start();

  // Serves until a drain is over. Errors: the model's, if it cannot be loaded; the engine's, if it
  // failed for good: then it drains by itself, unready, and a new process has to take over.
  absl::Status Run();

  // Whether Run ends because of the engine. Told in the log when it happens.
  bool engine_failed() const { return !EngineFailure().ok(); }

  // Refuses new calls from now on and lets Run return when running ones have ended, at the drain
  // timeout at the latest.
  void RequestDrain();

  // Whether the model is still being loaded; the destructor would wait for it.
  bool loading() const { return !loaded_.happened(); }

  int port() const { return port_; }
  int metrics_port() const { return metrics_ ? metrics_->port() : 0; }

 private:
  void LoadModel();
  void Monitor();
  void UpdateHealth(absl::Time now);
  void CheckEngine();
  absl::Status EngineFailure() const;
  void SetHealth(const std::string& service, bool serving, std::optional<bool>* last);
  void Drain();

  const ServerConfig config_;
  EngineFactory factory_;
  Log* const log_;

  Metrics counters_;
  RequestLog request_log_;
  EngineSlot slot_;
  StreamWatch streams_;
  LiveCalls live_calls_;
  GenerationService service_;

  std::unique_ptr<Engine> engine_;  // written by the loader, before loaded_
  absl::Status load_status_;        // likewise
  Event loaded_;
  Event drain_requested_;
  Event stop_monitor_;

  mutable std::mutex failure_mutex_;
  absl::Status engine_failure_;  // guarded by failure_mutex_; written by the monitor, once

  std::optional<bool> process_health_;  // as last told; monitor's
  std::optional<bool> service_health_;

  std::unique_ptr<MetricsEndpoint> metrics_;
  std::unique_ptr<grpc::Server> grpc_server_;
  int port_ = 0;

  std::thread loader_;
  std::thread monitor_;
};

}  // namespace keyhole
