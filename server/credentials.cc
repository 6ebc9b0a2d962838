#include "server/credentials.h"

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace keyhole {
namespace {

constexpr unsigned kRefreshSeconds = 10;

absl::Status CheckReadable(std::string_view setting, const std::string& path) {
  if (path.empty() || std::ifstream(path).good()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(setting), ": cannot read '", path, "'"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsSettings& tls) {
  if (!tls.enabled()) return grpc::InsecureServerCredentials();
  KEYHOLE_RETURN_IF_ERROR(CheckReadable("tls-cert", tls.certificate));
  KEYHOLE_RETURN_IF_ERROR(CheckReadable("tls-key", tls.private_key));
  KEYHOLE_RETURN_IF_ERROR(CheckReadable("tls-client-ca", tls.client_ca));
  auto files = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      tls.private_key, tls.certificate, tls.client_ca, kRefreshSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(files);
  options.watch_identity_key_cert_pairs();
  if (tls.client_ca.empty()) {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  } else {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace keyhole
