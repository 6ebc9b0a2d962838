// Client library: calls with deadlines, cancellation, and retries by service config.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "keyhole/v1/generation.grpc.pb.h"

namespace keyhole {

struct ClientOptions {
  std::string target = "127.0.0.1:8480";  // host:port, or any gRPC name such as dns:///keyhole:8480
  std::string ca_file;                    // PEM; set: TLS with this root, not the system's
  std::string cert_file;                  // PEM pair, both or neither; set: mutual TLS
  std::string key_file;
  std::string token_file;  // sent as a bearer token; needs TLS
};

struct CallOptions {
  absl::Duration timeout = absl::InfiniteDuration();
  std::stop_token stop;  // a stop request cancels the call, on the server too
  bool wait_for_ready = false;
};

// What a failed call says: code, message and the reason of its ErrorInfo.
struct CallError {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  std::string reason;
};
CallError DescribeError(const grpc::Status& status);

// The JSON service config of every channel: round robin over addresses, retries on UNAVAILABLE
// alone. gRPC retries nothing once an answer has begun.
extern const char kServiceConfig[];

// Thread: any; calls may run in parallel.
class GenerationClient {
 public:
  using Stub = v1::GenerationService::Stub;
  template <typename Response>
  using EventCallback = absl::FunctionRef<void(const Response&)>;

  // Errors: INVALID_ARGUMENT for unreadable certificate files, a certificate without its key or the
  // other way round, or a token without TLS; connecting happens at the first call.
  static grpc::Status Create(const ClientOptions& options,
                             std::unique_ptr<GenerationClient>* client);

  // `on_event` sees each message as it arrives, on the calling thread.
  grpc::Status StreamGenerate(const v1::GenerateRequest& request,
                              const CallOptions& call,
                              EventCallback<v1::StreamGenerateResponse> on_event);
  grpc::Status StreamChat(const v1::ChatRequest& request,
                          const CallOptions& call,
                          EventCallback<v1::StreamChatResponse> on_event);

  grpc::Status Generate(const v1::GenerateRequest& request,
                        const CallOptions& call,
                        v1::GenerateResponse* response);
  grpc::Status Chat(const v1::ChatRequest& request,
                    const CallOptions& call,
                    v1::ChatResponse* response);
  grpc::Status Tokenize(const v1::TokenizeRequest& request,
                        const CallOptions& call,
                        v1::TokenizeResponse* response);
  grpc::Status Detokenize(const v1::DetokenizeRequest& request,
                          const CallOptions& call,
                          v1::DetokenizeResponse* response);
  grpc::Status CountTokens(const v1::CountTokensRequest& request,
                           const CallOptions& call,
                           v1::CountTokensResponse* response);
  grpc::Status GetModel(const CallOptions& call, v1::GetModelResponse* response);

  // Asks the health service about `service` ("" = the process) once.
  grpc::Status CheckHealth(const std::string& service, const CallOptions& call, bool* serving);

 private:
  explicit GenerationClient(std::shared_ptr<grpc::Channel> channel);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
};

}  // namespace keyhole
