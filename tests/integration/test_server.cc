#include "tests/integration/test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"

namespace keyhole::testing {

ServerConfig TestServerConfig() {
  ServerConfig config;
  config.listen = "127.0.0.1:0";
  config.metrics_listen.clear();
  config.drain_timeout = absl::Seconds(5);
  return config;
}

ServerConfig TestServerConfigWithMetrics() {
  ServerConfig config = TestServerConfig();
  config.metrics_listen = "127.0.0.1:0";
  return config;
}

TestServer::TestServer(FakeEngineOptions options, ServerConfig config) {
  config.engine = options.config;
  auto factory = [this, options = std::move(options)](const EngineConfig&,
                                                      EngineObserver* observer) mutable {
    options.observer = observer;
    auto engine = MakeFakeEngine(std::move(options));
    if (engine.ok()) engine_ = engine->get();
    return engine;
  };
  server_ = std::make_unique<Server>(std::move(config), std::move(factory), &log_);
  Start();
  WaitLoaded();
}

TestServer::TestServer(EngineFactory factory, ServerConfig config)
    : server_(std::make_unique<Server>(std::move(config), std::move(factory), &log_)) {
  Start();
}

TestServer::~TestServer() {
  RequestDrain();
  Join().IgnoreError();
}

void TestServer::Start() {
  const absl::Status status = server_->Start();
  EXPECT_TRUE(status.ok()) << status;
  channel_ = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                 grpc::InsecureChannelCredentials());
  stub_ = v1::GenerationService::NewStub(channel_);
  runner_ = std::thread([this] { run_status_ = server_->Run(); });
}

void TestServer::WaitLoaded() const {
  EXPECT_TRUE(Eventually([this] { return !server_->loading(); }));
}

absl::Status TestServer::Join() {
  if (runner_.joinable()) runner_.join();
  return run_status_;
}

std::string TestServer::Scrape() const {
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(server_->metrics_port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string text;
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(connection, request.data(), request.size()), request.size());
    char buffer[4096];
    for (ssize_t n; (n = read(connection, buffer, sizeof(buffer))) > 0;) text.append(buffer, n);
  }
  close(connection);
  return text;
}

bool TestServer::IsClean(absl::Duration timeout) {
  return Eventually(
      [this] {
        const EngineSnapshot state = engine().Snapshot();
        return state.running_requests == 0 && state.waiting_requests == 0 &&
               state.waiting_tokens == 0 && state.kv_pages_used == 0;
      },
      timeout);
}

google::rpc::ErrorInfo ErrorInfoOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo found;
  int count = 0;
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    if (!any.UnpackTo(&info)) continue;
    found = info;
    ++count;
  }
  return count == 1 ? found : google::rpc::ErrorInfo();
}

v1::GenerateRequest EndlessRequest() {
  v1::GenerateRequest request;
  request.set_text("tell me more");
  request.mutable_stopping()->set_max_output_tokens(4000);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

}  // namespace keyhole::testing
