// A real server on loopback over an engine of the test's choice, and a client for it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/channel.h"
#include "keyhole/v1/generation.grpc.pb.h"
#include "server/log.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"

namespace keyhole::testing {

// Ports of the system's choice, a short drain. Without a metrics endpoint, which takes seconds to
// end.
ServerConfig TestServerConfig();
ServerConfig TestServerConfigWithMetrics();

// Thread: one, save where said.
class TestServer {
 public:
  // A whole engine with a fake model. `config.engine` is taken from the options.
  explicit TestServer(FakeEngineOptions options = {}, ServerConfig config = TestServerConfig());
  TestServer(EngineFactory factory, ServerConfig config);
  // Drains.
  ~TestServer();

  // Until the model is loaded. Tests that look at loading do not call it.
  void WaitLoaded() const;

  // Without waiting; Join waits for the end of the drain.
  void RequestDrain() { server_->RequestDrain(); }
  absl::Status Join();

  v1::GenerationService::Stub& stub() { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  Engine& engine() { return *engine_.load(); }
  Server& server() { return *server_; }

  // The text of /metrics. REQUIRES: a configuration with metrics.
  std::string Scrape() const;

  // Whether the engine has no request and no page in use, now or within `timeout`.
  bool IsClean(absl::Duration timeout = absl::Seconds(3));

 private:
  void Start();

  Log log_{spdlog::level::off};
  std::atomic<Engine*> engine_{nullptr};
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::GenerationService::Stub> stub_;
  std::thread runner_;
  absl::Status run_status_;
};

// A failed call's only ErrorInfo; an empty one where there is none or more than one.
google::rpc::ErrorInfo ErrorInfoOf(const grpc::Status& status);

inline std::string ReasonOf(const grpc::Status& status) { return ErrorInfoOf(status).reason(); }

// A prompt that a fake model of kind kHash goes on about until it is stopped.
v1::GenerateRequest EndlessRequest();

// Within `timeout`, `condition()` became true.
template <typename Condition>
bool Eventually(Condition condition, absl::Duration timeout = absl::Seconds(5)) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

}  // namespace keyhole::testing
