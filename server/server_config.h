// All settings of the server in one struct; validated once, printed at start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/engine_config.h"
#include "server/stream_limits.h"

namespace keyhole {

// Paths of PEM files, read again when they change. All empty: no TLS.
struct TlsSettings {
  std::string certificate;
  std::string private_key;
  std::string client_ca;  // set: clients must show a certificate that it signed

  bool enabled() const {
    return !certificate.empty() || !private_key.empty() || !client_ca.empty();
  }
};

struct ServerConfig {
  EngineConfig engine;
  std::string listen = "127.0.0.1:8480";          // host:port; port 0 takes a free one
  std::string metrics_listen = "127.0.0.1:9480";  // empty: no metrics endpoint
  TlsSettings tls;
  StreamLimits stream;
  bool reflection = true;
  std::string log_level = "info";
  absl::Duration drain_timeout = absl::Seconds(30);
  absl::Duration slow_request = absl::Seconds(30);        // longer ones are logged as a warning
  absl::Duration heartbeat_timeout = absl::Seconds(60);   // an engine silent for longer is dead
  std::int64_t transport_memory = std::int64_t{2} << 30;  // bytes that gRPC may hold for messages
};

// Errors: INVALID_ARGUMENT naming the setting.
absl::Status Validate(const ServerConfig& config);

// "name = value", one line for each setting.
std::vector<std::string> Describe(const ServerConfig& config);

}  // namespace keyhole
