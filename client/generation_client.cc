#include "client/generation_client.h"

#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace keyhole {

const char kServiceConfig[] = R"json({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "keyhole.v1.GenerationService"}],
    "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.1s",
      "maxBackoff": "1s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})json";

namespace {

constexpr int kMaxReceiveBytes = 64 * 1024 * 1024;

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Bearer token from a file, read again for each call so that a rotated token is picked up.
class BearerToken : public grpc::MetadataCredentialsPlugin {
 public:
  explicit BearerToken(std::string path) : path_(std::move(path)) {}

  grpc::Status GetMetadata(grpc::string_ref /*service_url*/,
                           grpc::string_ref /*method*/,
                           const grpc::AuthContext& /*channel*/,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    auto token = ReadFile(path_);
    if (!token) return {grpc::StatusCode::UNAUTHENTICATED, "cannot read the token file"};
    metadata->emplace("authorization", absl::StrCat("Bearer ", absl::StripAsciiWhitespace(*token)));
    return grpc::Status::OK;
  }

 private:
  std::string path_;
};

// Fills `pem` from `path`, if one is given.
grpc::Status ReadPem(const std::string& path, std::string* pem) {
  if (path.empty()) return grpc::Status::OK;
  auto text = ReadFile(path);
  if (!text) return {grpc::StatusCode::INVALID_ARGUMENT, absl::StrCat("cannot read ", path)};
  *pem = *std::move(text);
  return grpc::Status::OK;
}

// Deadline and cancellation of one call.
class CallContext {
 public:
  explicit CallContext(const CallOptions& call)
      : cancel_(call.stop, [this] { context_.TryCancel(); }) {
    if (call.timeout != absl::InfiniteDuration()) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            absl::ToChronoMicroseconds(call.timeout));
    }
    context_.set_wait_for_ready(call.wait_for_ready);
  }

  grpc::ClientContext* get() { return &context_; }

 private:
  grpc::ClientContext context_;
  std::stop_callback<std::function<void()>> cancel_;
};

template <typename Response, typename Reader, typename Callback>
grpc::Status ReadAll(Reader reader, Callback on_event) {
  Response event;
  while (reader->Read(&event)) on_event(event);
  return reader->Finish();
}

}  // namespace

CallError DescribeError(const grpc::Status& status) {
  CallError error{status.error_code(), status.error_message(), ""};
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return error;
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (detail.UnpackTo(&info)) error.reason = info.reason();
  }
  return error;
}

GenerationClient::GenerationClient(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(v1::GenerationService::NewStub(channel_)) {}

grpc::Status GenerationClient::Create(const ClientOptions& options,
                                      std::unique_ptr<GenerationClient>* client) {
  const bool tls = !options.ca_file.empty() || !options.cert_file.empty();
  if (options.cert_file.empty() != options.key_file.empty()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "give --cert and --key together"};
  }
  if (!options.token_file.empty() && !tls) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "a token is only sent over TLS: give --ca too"};
  }
  if (options.target.empty()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "the server's address is empty"};
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls) {
    grpc::SslCredentialsOptions ssl;
    for (const auto& [path, pem] : {std::pair{&options.ca_file, &ssl.pem_root_certs},
                                    std::pair{&options.cert_file, &ssl.pem_cert_chain},
                                    std::pair{&options.key_file, &ssl.pem_private_key}}) {
      if (auto status = ReadPem(*path, pem); !status.ok()) return status;
    }
    credentials = grpc::SslCredentials(ssl);
  }
  if (!options.token_file.empty()) {
    credentials = grpc::CompositeChannelCredentials(
        credentials,
        grpc::MetadataCredentialsFromPlugin(std::make_unique<BearerToken>(options.token_file)));
  }
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  client->reset(
      new GenerationClient(grpc::CreateCustomChannel(options.target, credentials, arguments)));
  return grpc::Status::OK;
}

grpc::Status GenerationClient::StreamGenerate(const v1::GenerateRequest& request,
                                              const CallOptions& call,
                                              EventCallback<v1::StreamGenerateResponse> on_event) {
  CallContext context(call);
  v1::StreamGenerateRequest message;
  *message.mutable_request() = request;
  return ReadAll<v1::StreamGenerateResponse>(stub_->StreamGenerate(context.get(), message),
                                             on_event);
}

grpc::Status GenerationClient::StreamChat(const v1::ChatRequest& request,
                                          const CallOptions& call,
                                          EventCallback<v1::StreamChatResponse> on_event) {
  CallContext context(call);
  v1::StreamChatRequest message;
  *message.mutable_request() = request;
  return ReadAll<v1::StreamChatResponse>(stub_->StreamChat(context.get(), message), on_event);
}

grpc::Status GenerationClient::Generate(const v1::GenerateRequest& request,
                                        const CallOptions& call,
                                        v1::GenerateResponse* response) {
  CallContext context(call);
  return stub_->Generate(context.get(), request, response);
}

grpc::Status GenerationClient::Chat(const v1::ChatRequest& request,
                                    const CallOptions& call,
                                    v1::ChatResponse* response) {
  CallContext context(call);
  return stub_->Chat(context.get(), request, response);
}

grpc::Status GenerationClient::Tokenize(const v1::TokenizeRequest& request,
                                        const CallOptions& call,
                                        v1::TokenizeResponse* response) {
  CallContext context(call);
  return stub_->Tokenize(context.get(), request, response);
}

grpc::Status GenerationClient::Detokenize(const v1::DetokenizeRequest& request,
                                          const CallOptions& call,
                                          v1::DetokenizeResponse* response) {
  CallContext context(call);
  return stub_->Detokenize(context.get(), request, response);
}

grpc::Status GenerationClient::CountTokens(const v1::CountTokensRequest& request,
                                           const CallOptions& call,
                                           v1::CountTokensResponse* response) {
  CallContext context(call);
  return stub_->CountTokens(context.get(), request, response);
}

grpc::Status GenerationClient::GetModel(const CallOptions& call, v1::GetModelResponse* response) {
  CallContext context(call);
  return stub_->GetModel(context.get(), v1::GetModelRequest(), response);
}

grpc::Status GenerationClient::CheckHealth(const std::string& service,
                                           const CallOptions& call,
                                           bool* serving) {
  CallContext context(call);
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  request.set_service(service);
  auto status =
      grpc::health::v1::Health::NewStub(channel_)->Check(context.get(), request, &response);
  *serving = status.ok() && response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  return status;
}

}  // namespace keyhole
