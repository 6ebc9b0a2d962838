// The gRPC port: transport limits, credentials, health and reflection.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/server.h"
#include "server/server_config.h"

namespace keyhole {

struct DataPort {
  std::unique_ptr<grpc::Server> server;
  int port = 0;  // the one taken, where the settings leave it to the system
};

// Serves at once. REQUIRES: `service` outlives the server.
// Errors: UNAVAILABLE where the port cannot be had, INVALID_ARGUMENT for unreadable certificates.
absl::StatusOr<DataPort> OpenDataPort(const ServerConfig& config, grpc::Service* service);

}  // namespace keyhole
