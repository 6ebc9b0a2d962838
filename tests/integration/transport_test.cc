// What the transport itself promises: unknown methods, garbage, message limits, metadata.
#include <string>

#include "engine/request/error.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace keyhole::testing {
namespace {

using ::testing::HasSubstr;

// A unary call of any name with any bytes.
grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& method,
                     const std::string& bytes) {
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel);
  grpc::ClientContext context;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

TEST(TransportTest, UnknownMethodsAreUnimplemented) {
  TestServer server;
  for (const char* method : {"/keyhole.v1.GenerationService/BatchGenerate",
                             "/keyhole.admin.v1.AdminService/Drain",
                             "/no.such.Service/Method"}) {
    EXPECT_EQ(RawCall(server.channel(), method, "").error_code(), grpc::StatusCode::UNIMPLEMENTED)
        << method;
  }
}

TEST(TransportTest, GarbageIsInvalidOnEveryMethod) {
  TestServer server;
  for (const char* method : {"Generate",
                             "Chat",
                             "StreamGenerate",
                             "StreamChat",
                             "Tokenize",
                             "Detokenize",
                             "CountTokens",
                             "GetModel"}) {
    const grpc::Status status =
        RawCall(server.channel(), std::string("/keyhole.v1.GenerationService/") + method, "\xff");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_EQ(ReasonOf(status), reason::kInvalidParameter) << method;
  }
  // Field 3, text: bytes that are not UTF-8.
  EXPECT_EQ(RawCall(server.channel(),
                    "/keyhole.v1.GenerationService/Generate",
                    std::string("\x1a\x02\xc3\x28"))
                .error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(TransportTest, LongPromptsAreRefusedByUsUpToTheLimitAndByTheTransportBeyond) {
  TestServer server;
  v1::GetModelResponse model;
  grpc::ClientContext c0;
  ASSERT_TRUE(server.stub().GetModel(&c0, {}, &model).ok());
  const auto limit = static_cast<std::size_t>(model.limits().max_receive_bytes());
  EXPECT_GT(limit, std::size_t{4} << 20) << "gRPC's default";

  v1::GenerateRequest request;
  request.set_text(std::string(limit - 1024, 'x'));
  v1::GenerateResponse response;
  grpc::ClientContext c1;
  EXPECT_EQ(ReasonOf(server.stub().Generate(&c1, request, &response)), reason::kPromptTooLong);

  request.set_text(std::string(limit + 1024, 'x'));
  grpc::ClientContext c2;
  const grpc::Status status = server.stub().Generate(&c2, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(server.IsClean());
}

TEST(TransportTest, OversizedMetadataDoesNotReachTheService) {
  TestServer server;
  grpc::ClientContext context;
  context.AddMetadata("x-large", std::string(20'000, 'x'));
  v1::GetModelResponse model;
  EXPECT_EQ(server.stub().GetModel(&context, {}, &model).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  // The library may close the connection over it; the next call makes another.
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext second;
    return server.stub().GetModel(&second, {}, &model).ok();
  }));
}

TEST(TransportTest, MetricsHaveEveryFamilyAfterOneCall) {
  TestServer server(FakeEngineOptions{}, TestServerConfigWithMetrics());
  grpc::ClientContext context;
  v1::GenerateRequest request;
  request.set_text("metrics");
  v1::GenerateResponse response;
  ASSERT_TRUE(server.stub().Generate(&context, request, &response).ok());
  // The engine tells of what still runs a little after the answer's end.
  ASSERT_TRUE(Eventually([&] {
    const std::string text = server.Scrape();
    return text.find("keyhole_requests_finished_total{") != std::string::npos &&
           text.find("\nkeyhole_scheduler_running_requests 0") != std::string::npos &&
           text.find("\nkeyhole_kv_pages_used{tier=\"host\"} 0") != std::string::npos;
  }));
  const std::string text = server.Scrape();
  for (const char* sample : {"keyhole_requests_total{",
                             "keyhole_request_duration_seconds_count{",
                             "keyhole_time_to_first_token_seconds_count{",
                             "keyhole_inter_token_seconds_count",
                             "keyhole_queue_seconds_count",
                             "keyhole_prompt_tokens_total 7",
                             "keyhole_scheduler_running_requests 0",
                             "keyhole_kv_pages{tier=\"host\"} 1024",
                             "keyhole_kv_pages_used{tier=\"host\"} 0",
                             "keyhole_prefix_cache_queries_tokens_total 7",
                             "keyhole_prefix_cache_hit_tokens_total 0",
                             "keyhole_prefix_cache_pages 0",
                             "keyhole_prefix_cache_evicted_pages_total 0",
                             "keyhole_engine_heartbeat_timestamp_seconds",
                             "keyhole_step_duration_seconds_count{phase=\"decode\"}",
                             "keyhole_model_load_seconds",
                             "keyhole_build_info{",
                             "keyhole_config_info{",
                             "process_resident_memory_bytes"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + sample)) << sample;
  }
}

TEST(TransportTest, PagesOfTheAcceleratorAreATierOfTheirOwn) {
  FakeEngineOptions options;
  options.device_pages = [] {
    return DevicePagesSnapshot{.pages = 100,
                               .pages_used = 7,
                               .host_pages = 1024,
                               .page_rows = 40,
                               .hot_rows = 30,
                               .fetched_rows = 20,
                               .fetched_bytes = 5000,
                               .spilled_pages = 3};
  };
  TestServer server(std::move(options), TestServerConfigWithMetrics());
  const std::string text = server.Scrape();
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_pages{tier=\"host\"} 1024"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_pages{tier=\"device\"} 100"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_pages_used{tier=\"device\"} 7"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_read_rows_total{from=\"page\"} 40"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_read_rows_total{from=\"hot\"} 30"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_read_rows_total{from=\"host\"} 20"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_fetched_bytes_total 5000"));
  EXPECT_THAT(text, HasSubstr("\nkeyhole_kv_spilled_pages_total 3"));
}

}  // namespace
}  // namespace keyhole::testing
