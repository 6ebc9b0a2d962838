#include "server/server.h"

#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "engine/status_macros.h"
#include "grpcpp/health_check_service_interface.h"
#include "nlohmann/json.hpp"
#include "server/data_port.h"
#include "server/state_collector.h"
#include "server/watchdog.h"

namespace keyhole {
namespace {

constexpr absl::Duration kMonitorPeriod = absl::Milliseconds(100);
// After the engine is idle, clients get this long to take their last messages.
constexpr absl::Duration kFlushTime = absl::Seconds(2);
// For goodbyes to connections. Idle clients do not answer them, so that all of it passes.
constexpr absl::Duration kGoodbyeTime = absl::Milliseconds(200);
// Beyond the drain timeout, before the process is ended by force.
constexpr absl::Duration kWatchdogMargin = absl::Seconds(10);

}  // namespace

Server::Server(ServerConfig config, EngineFactory factory, Log* log)
    : config_(std::move(config)),
      factory_(std::move(factory)),
      log_(log),
      request_log_(&counters_, log, config_.slow_request),
      service_(ServiceParts{.engine = &slot_,
                            .metrics = &counters_,
                            .log = log,
                            .streams = &streams_,
                            .live_calls = &live_calls_,
                            .config = &config_.engine,
                            .stream_limits = config_.stream}) {}

Server::~Server() {
  RequestDrain();
  if (grpc_server_) {
    grpc_server_->Shutdown(absl::ToChronoTime(absl::Now()));
    grpc_server_->Wait();
  }
  stop_monitor_.Notify();
  if (monitor_.joinable()) monitor_.join();
  if (loader_.joinable()) loader_.join();
  metrics_.reset();  // before the engine that it asks
}

absl::Status Server::Start() {
  if (!config_.metrics_listen.empty()) {
    KEYHOLE_ASSIGN_OR_RETURN(metrics_,
                             MetricsEndpoint::Open(config_.metrics_listen,
                                                   {counters_.registry(),
                                                    std::make_shared<EngineStateCollector>(&slot_),
                                                    std::make_shared<ProcessCollector>()}));
  }
  KEYHOLE_ASSIGN_OR_RETURN(DataPort opened, OpenDataPort(config_, &service_));
  grpc_server_ = std::move(opened.server);
  port_ = opened.port;
  UpdateHealth(absl::Now());
  log_->Info("listening", {{"port", port_}, {"metrics_port", metrics_port()}});
  monitor_ = std::thread([this] { Monitor(); });
  loader_ = std::thread([this] { LoadModel(); });
  return absl::OkStatus();
}

void Server::LoadModel() {
  const absl::Time start = absl::Now();
  auto engine = factory_(config_.engine, &request_log_);
  if (engine.ok()) {
    engine_ = *std::move(engine);
    const absl::Duration time = absl::Now() - start;
    counters_.OnModelLoaded(engine_->model(), config_.engine, time);
    slot_.Open(engine_.get());
    log_->Info("model_loaded",
               {{"model", engine_->model().name},
                {"revision", engine_->model().revision},
                {"max_context", engine_->model().max_context},
                {"seconds", absl::ToDoubleSeconds(time)}});
  } else {
    load_status_ = std::move(engine).status();
  }
  loaded_.Notify();
  if (!load_status_.ok()) RequestDrain();
}

absl::Status Server::Run() {
  drain_requested_.Wait();
  if (loaded_.happened() && !load_status_.ok()) {
    grpc_server_->Shutdown(absl::ToChronoTime(absl::Now() + kGoodbyeTime));
    return load_status_;
  }
  Drain();
  return EngineFailure();
}

void Server::RequestDrain() {
  slot_.StartDraining();
  drain_requested_.Notify();
}

void Server::Drain() {
  const Watchdog watchdog(config_.drain_timeout + kWatchdogMargin,
                          "drain took too long: leaving by force");
  const absl::Time start = absl::Now();
  const absl::Time deadline = start + config_.drain_timeout;
  log_->Info("draining", {{"timeout_seconds", absl::ToDoubleSeconds(config_.drain_timeout)}});
  bool idle = true;
  if (Engine* engine = slot_.engine(); engine != nullptr) {
    engine->Drain(deadline);
    // Requests that the deadline ends still have their last step to run.
    idle = engine->WaitIdle(deadline + kFlushTime);
    engine->Close();
  }
  live_calls_.WaitNone(absl::Now() + kFlushTime);
  grpc_server_->Shutdown(absl::ToChronoTime(absl::Now() + kGoodbyeTime));
  log_->Info("drained", {{"seconds", absl::ToDoubleSeconds(absl::Now() - start)}, {"idle", idle}});
}

void Server::Monitor() {
  while (!stop_monitor_.WaitFor(kMonitorPeriod)) {
    counters_.SetStalledStreams(streams_.Check(std::chrono::steady_clock::now()));
    CheckEngine();
    UpdateHealth(absl::Now());
  }
}

absl::Status Server::EngineFailure() const {
  const std::lock_guard lock(failure_mutex_);
  return engine_failure_;
}

void Server::CheckEngine() {
  const Engine* engine = slot_.engine();
  if (engine == nullptr || engine_failed()) return;
  absl::Status failure = engine->Snapshot().failure;
  if (failure.ok()) return;
  log_->Error("engine_failed", {{"cause", std::string(failure.message())}});
  {
    const std::lock_guard lock(failure_mutex_);
    engine_failure_ = std::move(failure);
  }
  RequestDrain();
}

void Server::UpdateHealth(absl::Time now) {
  const Engine* engine = slot_.engine();
  const bool alive =
      engine == nullptr ||
      (now - engine->Snapshot().heartbeat < config_.heartbeat_timeout && !engine_failed());
  SetHealth("", alive, &process_health_);
  SetHealth(v1::GenerationService::service_full_name(), alive && slot_.serving(), &service_health_);
}

void Server::SetHealth(const std::string& service, bool serving, std::optional<bool>* last) {
  if (*last == serving) return;
  *last = serving;
  grpc_server_->GetHealthCheckService()->SetServingStatus(service, serving);
  log_->Info("health", {{"service", service}, {"serving", serving}});
}

}  // namespace keyhole
