// keyhole-server: flags -> settings -> engine -> serve -> drain.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_split.h"
#include "engine/engine.h"
#include "google/protobuf/stubs/logging.h"
#include "nlohmann/json.hpp"
#include "server/flags.h"
#include "server/log.h"
#include "server/server.h"
#include "server/signals.h"

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

int Serve(const ServerConfig& config, Signals* signals) {
  Log log(ParseLogLevel(config.log_level).value_or(spdlog::level::info));
  LogConfig(config, &log);
  auto server = std::make_unique<Server>(config, Engine::Create, &log);
  if (const absl::Status status = server->Start(); !status.ok()) {
    log.Error("cannot_start", {{"cause", std::string(status.message())}});
    return 1;
  }
  signals->OnFirst([&server] { server->RequestDrain(); });
  const absl::Status status = server->Run();
  signals->OnFirst(nullptr);
  if (!status.ok()) log.Error("cannot_load_model", {{"cause", std::string(status.message())}});
  // A model that is still being loaded is not waited for.
  if (server->loading()) server.release();
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) {
  const keyhole::ParsedFlags flags = keyhole::ParseFlags(argc, argv);
  if (!flags.serve) return flags.exit_code;
  // A client's malformed message is an error to the client and no line of the log.
  google::protobuf::SetLogHandler(nullptr);
  keyhole::Signals signals;
  const int exit_code = keyhole::Serve(flags.config, &signals);
  std::fflush(nullptr);
  // Libraries' static destructors are not for a process where the loader thread may still run.
  _exit(exit_code);
}
