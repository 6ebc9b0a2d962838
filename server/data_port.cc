#include "server/data_port.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server_builder.h"
#include "server/credentials.h"
#include "server/request_bounds.h"

namespace keyhole {
namespace {

// The reflection library adds itself to every server of a process that is linked with it.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins,
                  [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; });
  }
};

// The timeout of 20 s also cuts connections whose pipe is full (it becomes TCP_USER_TIMEOUT): never
// seconds.
void SetKeepalive(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
}

void SetLimits(const ServerConfig& config, grpc::ServerBuilder* builder) {
  const SchedulerSettings& scheduler = config.engine.scheduler;
  // Surplus calls would wait unseen within the client: admission is the engine's.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                              2 * (scheduler.max_running + scheduler.max_queued_requests));
  builder->SetMaxReceiveMessageSize(
      static_cast<int>(std::min<std::int64_t>(MaxReceiveBytes(scheduler.max_context), 1 << 30)));
  grpc::ResourceQuota quota("keyhole");
  quota.Resize(static_cast<std::size_t>(config.transport_memory));
  builder->SetResourceQuota(quota);
}

}  // namespace

absl::StatusOr<DataPort> OpenDataPort(const ServerConfig& config, grpc::Service* service) {
  KEYHOLE_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(config.tls));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetKeepalive(&builder);
  SetLimits(config, &builder);
  // A second server on the port is a mistake, not a share of its calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (!config.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  DataPort opened;
  builder.AddListeningPort(config.listen, credentials, &opened.port);
  builder.RegisterService(service);
  opened.server = builder.BuildAndStart();
  if (opened.server == nullptr || opened.port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", config.listen, ": is the port taken?"));
  }
  return opened;
}

}  // namespace keyhole
