// What the command line tells and refuses without a server.
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "client/cli/exit_code.h"
#include "client/cli/printer.h"
#include "client/cli/prompt_input.h"
#include "client/generation_client.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace keyhole::cli {
namespace {

using ::testing::HasSubstr;

grpc::Status Failure(grpc::StatusCode code, const std::string& message, const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  return {code, message, details.SerializeAsString()};
}

// The exit code, and in `told` what stands on standard error.
int Report(const grpc::Status& status, std::string* told) {
  ::testing::internal::CaptureStderr();
  const int code = ReportFailure(status);
  *told = ::testing::internal::GetCapturedStderr();
  return code;
}

TEST(ReportFailureTest, OnlyAnOwnCancelCountsAsOne) {
  std::string told;
  const auto cancelled = grpc::StatusCode::CANCELLED;
  EXPECT_EQ(Report({cancelled, "by this side"}, &told), kInterrupted);
  EXPECT_EQ(told, "keyhole: cancelled\n");
  EXPECT_EQ(Report(Failure(cancelled, "The request was cancelled.", "CANCELLED"), &told),
            kInterrupted);
  EXPECT_EQ(told, "keyhole: cancelled\n");
  EXPECT_EQ(Report(Failure(cancelled, "Too slow.", "SLOW_READER"), &told), kFailed);
  EXPECT_EQ(told, "keyhole: Too slow. [SLOW_READER]\n");
}

TEST(ReadQuestionTest, StandardInputIsReadForOneOfBoth) {
  for (const PromptInput& question :
       {PromptInput{.text = "", .file = ""}, PromptInput{.text = "", .file = "-"}}) {
    const auto text = ReadQuestion(question, "-");
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("is the document"));
  }
}

TEST(ReadQuestionTest, WithoutADocumentIsTheTextAlone) {
  const auto text = ReadQuestion({.text = "why?", .file = ""}, "");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "why?");
}

TEST(GenerationClientTest, HalfACredentialIsRefused) {
  const auto create = [](const ClientOptions& options) {
    std::unique_ptr<GenerationClient> client;
    return GenerationClient::Create(options, &client);
  };
  EXPECT_TRUE(create({}).ok());
  ClientOptions key;
  key.key_file = "key.pem";
  ClientOptions certificate;
  certificate.ca_file = "ca.pem";
  certificate.cert_file = "cert.pem";
  for (const ClientOptions& options : {key, certificate}) {
    const grpc::Status status = create(options);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("--cert and --key together"));
  }
  key.cert_file = "/no/such/cert.pem";
  EXPECT_THAT(create(key).error_message(), HasSubstr("cannot read"));
}

}  // namespace
}  // namespace keyhole::cli
