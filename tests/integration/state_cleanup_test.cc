// Every generation method, however it ends, leaves no request and no page behind.
#include <string>
#include <thread>
#include <tuple>

#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace keyhole::testing {
namespace {

enum class Method { kGenerate, kStreamGenerate, kChat, kTokenize };
enum class End { kOk, kCancel, kDeadline, kError, kShutdown };

std::string Name(Method method) {
  switch (method) {
    case Method::kGenerate:
      return "Generate";
    case Method::kStreamGenerate:
      return "StreamGenerate";
    case Method::kChat:
      return "Chat";
    case Method::kTokenize:
      return "Tokenize";
  }
  return "";
}

std::string Name(End end) {
  switch (end) {
    case End::kOk:
      return "Ok";
    case End::kCancel:
      return "Cancel";
    case End::kDeadline:
      return "Deadline";
    case End::kError:
      return "Error";
    case End::kShutdown:
      return "Shutdown";
  }
  return "";
}

class StateCleanupTest : public ::testing::TestWithParam<std::tuple<Method, End>> {
 protected:
  static Method method() { return std::get<0>(GetParam()); }
  static End end() { return std::get<1>(GetParam()); }

  static FakeEngineOptions Options() {
    FakeEngineOptions options;
    options.model.answer = FakeModelOptions::Answer::kHash;
    options.model.step_delay = absl::Milliseconds(2);
    if (end() == End::kError) {
      options.model.before_step = [](std::int64_t step) {
        return step < 5 ? absl::OkStatus() : absl::InternalError("broken");
      };
    }
    return options;
  }

  // An answer that ends soon, or one that does not.
  v1::StoppingOptions Stopping() const {
    v1::StoppingOptions stopping;
    stopping.set_max_output_tokens(end() == End::kOk ? 20 : 4000);
    stopping.set_ignore_eos(true);
    return stopping;
  }

  grpc::Status Call(v1::GenerationService::Stub& stub, grpc::ClientContext* context) const {
    v1::GenerateRequest generate;
    generate.set_text("go on");
    *generate.mutable_stopping() = Stopping();
    if (method() == Method::kGenerate) {
      v1::GenerateResponse response;
      return stub.Generate(context, generate, &response);
    }
    if (method() == Method::kStreamGenerate) {
      v1::StreamGenerateRequest request;
      *request.mutable_request() = generate;
      auto reader = stub.StreamGenerate(context, request);
      for (v1::StreamGenerateResponse message; reader->Read(&message);) {
      }
      return reader->Finish();
    }
    if (method() == Method::kChat) {
      v1::ChatRequest request;
      request.add_messages()->set_role("user");
      *request.mutable_stopping() = Stopping();
      v1::ChatResponse response;
      return stub.Chat(context, request, &response);
    }
    v1::TokenizeRequest request;
    request.set_text(std::string(100'000, 'x'));
    if (end() == End::kError) request.set_model("other");
    v1::TokenizeResponse response;
    return stub.Tokenize(context, request, &response);
  }
};

TEST_P(StateCleanupTest, NothingIsLeft) {
  ServerConfig config = TestServerConfig();
  config.drain_timeout = absl::Milliseconds(300);
  TestServer server(Options(), config);
  for (int round = 0; round < 3; ++round) {
    grpc::ClientContext context;
    if (end() == End::kDeadline) {
      context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
    }
    std::thread interrupter([&] {
      if (end() == End::kCancel || end() == End::kShutdown) absl::SleepFor(absl::Milliseconds(50));
      if (end() == End::kCancel) context.TryCancel();
      if (end() == End::kShutdown) server.RequestDrain();
    });
    const grpc::Status status = Call(server.stub(), &context);
    interrupter.join();
    if (end() == End::kOk) {
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
    if (end() == End::kError) {
      EXPECT_FALSE(status.ok());
    }
    EXPECT_TRUE(server.IsClean());
    if (end() == End::kShutdown) break;
  }
  if (end() == End::kShutdown) {
    EXPECT_TRUE(server.Join().ok());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Matrix,
    StateCleanupTest,
    ::testing::Combine(
        ::testing::Values(
            Method::kGenerate, Method::kStreamGenerate, Method::kChat, Method::kTokenize),
        ::testing::Values(End::kOk, End::kCancel, End::kDeadline, End::kError, End::kShutdown)),
    [](const auto& test) { return Name(std::get<0>(test.param)) + Name(std::get<1>(test.param)); });

}  // namespace
}  // namespace keyhole::testing
