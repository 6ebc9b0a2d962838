// Credentials of the data port.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/security/server_credentials.h"
#include "server/server_config.h"

namespace keyhole {

// Plain text without TLS settings. Otherwise certificates are read again when their files change:
// new connections see the new ones, open connections go on. Errors: INVALID_ARGUMENT where a file
// cannot be read.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsSettings& tls);

}  // namespace keyhole
