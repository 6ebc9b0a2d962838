#include "server/server_config.h"

#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"
#include "server/log.h"

namespace keyhole {
namespace {

absl::Status CheckPositive(std::string_view name, absl::Duration value) {
  if (value > absl::ZeroDuration() && value < absl::InfiniteDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(std::string(name), " must be above 0"));
}

// Room for some prompts of a million tokens at once.
constexpr std::int64_t kLeastTransportMemory = std::int64_t{64} << 20;

}  // namespace

absl::Status Validate(const ServerConfig& config) {
  KEYHOLE_RETURN_IF_ERROR(Validate(config.engine));
  KEYHOLE_RETURN_IF_ERROR(CheckAddress("listen", config.listen, 0));
  if (!config.metrics_listen.empty()) {
    KEYHOLE_RETURN_IF_ERROR(CheckAddress("metrics-listen", config.metrics_listen, 0));
  }
  if (config.tls.enabled() && (config.tls.certificate.empty() || config.tls.private_key.empty())) {
    return absl::InvalidArgumentError("tls-cert and tls-key belong together");
  }
  if (config.transport_memory < kLeastTransportMemory) {
    return absl::InvalidArgumentError(
        absl::StrCat("transport-memory is ", config.transport_memory, ", less than 64MiB"));
  }
  KEYHOLE_RETURN_IF_ERROR(ParseLogLevel(config.log_level).status());
  KEYHOLE_RETURN_IF_ERROR(CheckPositive("drain-timeout", config.drain_timeout));
  KEYHOLE_RETURN_IF_ERROR(CheckPositive("slow-reader-timeout", config.stream.stall));
  KEYHOLE_RETURN_IF_ERROR(CheckPositive("slow-request", config.slow_request));
  return CheckPositive("heartbeat-timeout", config.heartbeat_timeout);
}

std::vector<std::string> Describe(const ServerConfig& config) {
  std::vector<std::string> lines = Describe(config.engine);
  const auto add = [&lines](std::string_view name, const std::string& value) {
    lines.push_back(absl::StrCat(std::string(name), " = ", value));
  };
  add("listen", config.listen);
  add("metrics-listen", config.metrics_listen);
  add("tls-cert", config.tls.certificate);
  add("tls-key", config.tls.private_key);
  add("tls-client-ca", config.tls.client_ca);
  add("reflection", config.reflection ? "on" : "off");
  add("log-level", config.log_level);
  add("drain-timeout", absl::FormatDuration(config.drain_timeout));
  add("slow-reader-timeout", absl::FormatDuration(config.stream.stall));
  add("slow-request", absl::FormatDuration(config.slow_request));
  add("heartbeat-timeout", absl::FormatDuration(config.heartbeat_timeout));
  add("transport-memory", absl::StrCat(config.transport_memory));
  return lines;
}

}  // namespace keyhole
