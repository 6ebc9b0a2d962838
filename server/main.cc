// keyhole-server: flags -> settings -> engine -> serve -> drain; or, for a rank above 0, -> work.
#include <unistd.h>

#include <string>

#include "absl/strings/str_split.h"
#include "engine/engine.h"
#include "engine/worker.h"
#include "google/protobuf/stubs/logging.h"
#include "nlohmann/json.hpp"
#include "server/flags.h"
#include "server/log.h"
#include "server/server.h"
#include "server/signals.h"
#include "server/worker_log.h"

namespace keyhole {
namespace {

void LogConfig(const ServerConfig& config, Log* log) {
  nlohmann::ordered_json settings;
  for (const std::string& line : Describe(config)) {
    const std::pair<std::string, std::string> setting =
        absl::StrSplit(line, absl::MaxSplits(" = ", 1));
    settings[setting.first] = setting.second;
  }
  log->Info("config", {{"version", KEYHOLE_VERSION}, {"settings", settings}});
}

// Log and server are left to the end of the process: the loader may still run, and nothing is
// gained by tearing down what has been drained.
int Serve(const ServerConfig& config, Signals* signals) {
  auto* log = new Log(ParseLogLevel(config.log_level).value_or(spdlog::level::info));
  LogConfig(config, log);
  auto* server = new Server(config, Engine::Create, log);
  // Before Start: a signal may come as soon as the port is open.
  signals->OnFirst([server] { server->RequestDrain(); });
  absl::Status status = server->Start();
  if (!status.ok()) {
    log->Error("cannot_start", {{"cause", std::string(status.message())}});
  } else {
    status = server->Run();
    if (!status.ok() && !server->engine_failed()) {
      log->Error("cannot_load_model", {{"cause", std::string(status.message())}});
    }
  }
  log->Flush();
  return status.ok() ? 0 : 1;
}

// A rank above 0: no port, no requests. It goes when rank 0 does, so that requests that still run
// there are not cut off; the second signal ends it at once.
int Work(const ServerConfig& config, Signals* signals) {
  Log log(ParseLogLevel(config.log_level).value_or(spdlog::level::info));
  LogConfig(config, &log);
  signals->OnFirst([&log] { log.Info("draining", {{"until", "rank 0 goes"}}); });
  WorkerLog observer(&log);
  const absl::Status status = RunWorker(config.engine, &observer);
  if (status.ok()) {
    log.Info("drained", {{"cause", "rank 0 went"}});
  } else {
    log.Error("worker_failed", {{"cause", std::string(status.message())}});
  }
  log.Flush();
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) {
  const keyhole::ParsedFlags flags =
      keyhole::ParseFlags(argc, argv, keyhole::Engine::PolicyNames());
  if (!flags.serve) return flags.exit_code;
  // A client's malformed message is an error to the client and no line of the log.
  google::protobuf::SetLogHandler(nullptr);
  keyhole::Signals signals;
  const bool serves = flags.config.engine.tensor_parallel.rank == 0;
  _exit(serves ? keyhole::Serve(flags.config, &signals) : keyhole::Work(flags.config, &signals));
}
