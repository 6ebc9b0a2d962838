// Loading, health and the order of a drain.
#include <memory>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "engine/request/error.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/scripted_engine.h"
#include "tests/integration/test_server.h"

namespace keyhole::testing {
namespace {

using HealthStub = grpc::health::v1::Health::Stub;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr char kService[] = "keyhole.v1.GenerationService";

HealthCheckResponse::ServingStatus Check(const std::shared_ptr<grpc::Channel>& channel,
                                         const std::string& service) {
  HealthStub stub(channel);
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const grpc::Status status = stub.Check(&context, request, &response);
  return status.ok() ? response.status() : HealthCheckResponse::SERVICE_UNKNOWN;
}

// Makes an engine without a script and tells which one.
EngineFactory ScriptedFactory(ScriptedEngine*& engine) {
  return
      [&engine](const EngineConfig&, EngineObserver*) -> absl::StatusOr<std::unique_ptr<Engine>> {
        auto made = std::make_unique<ScriptedEngine>(nullptr);
        engine = made.get();
        return made;
      };
}

FakeEngineOptions Endless() {
  FakeEngineOptions options;
  options.model.answer = FakeModelOptions::Answer::kHash;
  options.model.step_delay = absl::Milliseconds(2);
  return options;
}

TEST(LoadTest, ThePortAnswersWhileTheModelLoads) {
  Event go;
  TestServer server(
      [&go](const EngineConfig&, EngineObserver* observer) {
        go.Wait();
        FakeEngineOptions options;
        options.observer = observer;
        return MakeFakeEngine(std::move(options));
      },
      TestServerConfig());
  EXPECT_EQ(Check(server.channel(), ""), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check(server.channel(), kService), HealthCheckResponse::NOT_SERVING);
  grpc::ClientContext context;
  v1::GetModelResponse model;
  const grpc::Status status = server.stub().GetModel(&context, {}, &model);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), reason::kModelLoading);
  go.Notify();
  EXPECT_TRUE(Eventually(
      [&] { return Check(server.channel(), kService) == HealthCheckResponse::SERVING; }));
}

TEST(LoadTest, AModelThatCannotBeLoadedEndsTheServer) {
  TestServer server(
      [](const EngineConfig&, EngineObserver*) -> absl::StatusOr<std::unique_ptr<Engine>> {
        return absl::NotFoundError("no such file");
      },
      TestServerConfig());
  EXPECT_EQ(server.Join().code(), absl::StatusCode::kNotFound);
}

TEST(HealthTest, WatchSeesTheDrain) {
  TestServer server(Endless());
  ASSERT_TRUE(Eventually(
      [&] { return Check(server.channel(), kService) == HealthCheckResponse::SERVING; }));
  // A running answer keeps the port open while it ends.
  grpc::ClientContext stream_context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = EndlessRequest();
  auto stream = server.stub().StreamGenerate(&stream_context, request);
  v1::StreamGenerateResponse message;
  ASSERT_TRUE(stream->Read(&message));

  HealthStub stub(server.channel());
  grpc::ClientContext context;
  HealthCheckRequest watch;
  watch.set_service(kService);
  auto reader = stub.Watch(&context, watch);
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  server.RequestDrain();
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Check(server.channel(), ""), HealthCheckResponse::SERVING) << "alive all the same";
  context.TryCancel();
  stream_context.TryCancel();
  stream->Finish();
}

TEST(HealthTest, AStaleHeartbeatIsNotAlive) {
  ServerConfig config = TestServerConfig();
  config.heartbeat_timeout = absl::Milliseconds(200);
  ScriptedEngine* engine = nullptr;
  TestServer server(ScriptedFactory(engine), config);
  server.WaitLoaded();
  EXPECT_TRUE(Eventually(
      [&] { return Check(server.channel(), kService) == HealthCheckResponse::SERVING; }));
  engine->SetHeartbeat(absl::Now() - absl::Seconds(1));
  EXPECT_TRUE(
      Eventually([&] { return Check(server.channel(), "") == HealthCheckResponse::NOT_SERVING; }));
  EXPECT_EQ(Check(server.channel(), kService), HealthCheckResponse::NOT_SERVING);
  engine->SetHeartbeat(absl::InfiniteFuture());
  EXPECT_TRUE(
      Eventually([&] { return Check(server.channel(), "") == HealthCheckResponse::SERVING; }));
}

TEST(HealthTest, AnEngineThatFailedForGoodEndsTheServer) {
  ScriptedEngine* engine = nullptr;
  TestServer server(ScriptedFactory(engine), TestServerConfig());
  server.WaitLoaded();
  EXPECT_FALSE(server.server().engine_failed());
  engine->Fail(absl::UnavailableError("a rank has gone"));
  EXPECT_EQ(server.Join(), absl::UnavailableError("a rank has gone"));
  EXPECT_TRUE(server.server().engine_failed());
}

TEST(DrainTest, IdleServerEndsLongBeforeItsDeadline) {
  ServerConfig config = TestServerConfig();
  config.drain_timeout = absl::Hours(1);
  TestServer server(Endless(), config);
  server.RequestDrain();
  EXPECT_TRUE(server.Join().ok());
}

TEST(DrainTest, RunningAnswersEndNewOnesAreRefused) {
  ServerConfig config = TestServerConfig();
  config.drain_timeout = absl::Minutes(2);  // the answer ends by itself, however slow the machine
  TestServer server(Endless(), config);
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = EndlessRequest();
  request.mutable_request()->mutable_stopping()->set_max_output_tokens(300);
  auto reader = server.stub().StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  server.RequestDrain();

  grpc::ClientContext refused_context;
  v1::GenerateResponse response;
  const grpc::Status refused =
      server.stub().Generate(&refused_context, EndlessRequest(), &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(refused), reason::kDraining);

  while (reader->Read(&message)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(message.finished().finish_reason(), v1::FINISH_REASON_MAX_OUTPUT_TOKENS);
  EXPECT_TRUE(server.Join().ok());
}

TEST(DrainTest, AtTheLimitAnswersEndAsDrained) {
  ServerConfig config = TestServerConfig();
  config.drain_timeout = absl::Milliseconds(300);
  TestServer server(Endless(), config);
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = EndlessRequest();
  auto reader = server.stub().StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  server.RequestDrain();
  while (reader->Read(&message)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(message.finished().finish_reason(), v1::FINISH_REASON_DRAINED);
  EXPECT_GT(message.finished().usage().output_token_count(), 0);
  EXPECT_TRUE(server.Join().ok());
}

TEST(DrainTest, ASecondServerOnThePortIsRefused) {
  TestServer first(FakeEngineOptions{}, TestServerConfigWithMetrics());
  ServerConfig config = TestServerConfig();
  config.listen = "127.0.0.1:" + std::to_string(first.server().port());
  Log log(spdlog::level::off);
  Server second(
      config,
      [](const EngineConfig&, EngineObserver*) -> absl::StatusOr<std::unique_ptr<Engine>> {
        return absl::InternalError("never called");
      },
      &log);
  EXPECT_EQ(second.Start().code(), absl::StatusCode::kUnavailable);
  config.listen = "127.0.0.1:0";
  config.metrics_listen = "127.0.0.1:" + std::to_string(first.server().metrics_port());
  Server third(
      config,
      [](const EngineConfig&, EngineObserver*) -> absl::StatusOr<std::unique_ptr<Engine>> {
        return absl::InternalError("never called");
      },
      &log);
  EXPECT_EQ(third.Start().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace keyhole::testing
