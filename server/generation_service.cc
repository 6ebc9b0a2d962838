#include "server/generation_service.h"

#include <utility>
#include <vector>

#include "engine/request/error.h"
#include "engine/request/request_limits.h"
#include "engine/status_macros.h"
#include "server/convert_request.h"
#include "server/convert_response.h"
#include "server/field_checks.h"
#include "server/message_bytes.h"
#include "server/text_reactor.h"
#include "server/unary_reactor.h"

namespace keyhole {
namespace {

template <typename Response>
grpc::ByteBuffer EncodeEventAs(StreamEvent&& event, std::string_view model_revision) {
  Response response;
  FillEvent(std::move(event), model_revision, &response);
  return SerializeMessage(response);
}

grpc::ByteBuffer EncodeGenerateAnswer(WholeAnswer&& answer, std::string_view model_revision) {
  v1::GenerateResponse response;
  FillStarted(answer.started, model_revision, response.mutable_started());
  FillChunk(std::move(answer.output), response.mutable_output());
  FillFinished(answer.finished, response.mutable_finished());
  return SerializeMessage(response);
}

grpc::ByteBuffer EncodeChatAnswer(WholeAnswer&& answer, std::string_view model_revision) {
  v1::ChatResponse response;
  FillStarted(answer.started, model_revision, response.mutable_started());
  response.mutable_message()->set_role("assistant");
  response.mutable_message()->set_content(std::exchange(answer.output.text, {}));
  FillChunk(std::move(answer.output), response.mutable_output());
  FillFinished(answer.finished, response.mutable_finished());
  return SerializeMessage(response);
}

absl::StatusOr<grpc::ByteBuffer> TokenizeText(const v1::TokenizeRequest& request,
                                              const Engine& engine) {
  KEYHOLE_RETURN_IF_ERROR(CheckModelName(request.model(), engine.model()));
  EncodeOptions options;
  if (request.has_add_special_tokens()) options.add_special_tokens = request.add_special_tokens();
  if (request.has_parse_special_tokens()) {
    options.parse_special_tokens = request.parse_special_tokens();
  }
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                           engine.tokenizer().Encode(request.text(), options));
  v1::TokenizeResponse response;
  response.mutable_token_ids()->Add(tokens.begin(), tokens.end());
  return SerializeMessage(response);
}

absl::StatusOr<grpc::ByteBuffer> DetokenizeIds(const v1::DetokenizeRequest& request,
                                               const Engine& engine) {
  KEYHOLE_RETURN_IF_ERROR(CheckModelName(request.model(), engine.model()));
  KEYHOLE_RETURN_IF_ERROR(
      CheckCount("token_ids", request.token_ids_size(), engine.model().max_context));
  const std::vector<TokenId> tokens(request.token_ids().begin(), request.token_ids().end());
  KEYHOLE_RETURN_IF_ERROR(CheckTokenIds(tokens, engine.tokenizer().vocab_size(), "token_ids"));
  v1::DetokenizeResponse response;
  response.set_text(engine.tokenizer().Decode(tokens, request.keep_special_tokens()));
  return SerializeMessage(response);
}

absl::StatusOr<grpc::ByteBuffer> CountPromptTokens(v1::CountTokensRequest& request,
                                                   const Engine& engine) {
  KEYHOLE_RETURN_IF_ERROR(CheckModelName(request.model(), engine.model()));
  Prompt prompt;
  switch (request.prompt_case()) {
    case v1::CountTokensRequest::kText:
      prompt = std::move(*request.mutable_text());
      break;
    case v1::CountTokensRequest::kConversation: {
      KEYHOLE_ASSIGN_OR_RETURN(
          prompt, ConvertMessages(std::move(*request.mutable_conversation()->mutable_messages())));
      break;
    }
    case v1::CountTokensRequest::PROMPT_NOT_SET:
      return InvalidParameterError("prompt", "One of text and conversation must be set.");
  }
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, engine.TokenizePrompt(prompt));
  v1::CountTokensResponse response;
  response.set_token_count(static_cast<std::int32_t>(tokens.size()));
  return SerializeMessage(response);
}

// Binds a parsed request to the function that answers it.
template <typename Message, typename Function>
absl::StatusOr<TextWork> MakeWork(const grpc::ByteBuffer& bytes, Function function) {
  KEYHOLE_ASSIGN_OR_RETURN(Message message, ParseMessage<Message>(bytes));
  return TextWork{.run = [message = std::move(message), function](
                             const Engine& engine) mutable { return function(message, engine); },
                  .bytes = static_cast<std::int64_t>(bytes.Length())};
}

// Takes the inner request out of a stream's request.
template <typename Inner, typename Outer>
absl::StatusOr<Inner> Unwrap(absl::StatusOr<Outer> message) {
  if (!message.ok()) return std::move(message).status();
  return std::move(*message->mutable_request());
}

}  // namespace

template <typename Message>
absl::StatusOr<Request> GenerationService::MakeRequest(absl::StatusOr<Message> message,
                                                       Call* call) const {
  if (!message.ok()) return std::move(message).status();
  KEYHOLE_ASSIGN_OR_RETURN(const Engine* engine, parts_.engine->Get());
  KEYHOLE_ASSIGN_OR_RETURN(Request request, ConvertRequest(*std::move(message), engine->model()));
  call->set_client_request_id(request.client_request_id);
  request.deadline = call->deadline();
  request.trace_parent = call->trace_parent();
  return request;
}

grpc::ServerUnaryReactor* GenerationService::Generate(Context* context,
                                                      const Bytes* in,
                                                      Bytes* out) {
  Call call("Generate", context, parts_);
  auto request = MakeRequest(ParseMessage<v1::GenerateRequest>(*in), &call);
  return UnaryReactor::Start(std::move(call), std::move(request), EncodeGenerateAnswer, out);
}

grpc::ServerUnaryReactor* GenerationService::Chat(Context* context, const Bytes* in, Bytes* out) {
  Call call("Chat", context, parts_);
  auto request = MakeRequest(ParseMessage<v1::ChatRequest>(*in), &call);
  return UnaryReactor::Start(std::move(call), std::move(request), EncodeChatAnswer, out);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::StreamGenerate(Context* context,
                                                                              const Bytes* in) {
  Call call("StreamGenerate", context, parts_);
  auto request =
      MakeRequest(Unwrap<v1::GenerateRequest>(ParseMessage<v1::StreamGenerateRequest>(*in)), &call);
  return StreamReactor::Start(
      std::move(call), std::move(request), EncodeEventAs<v1::StreamGenerateResponse>);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::StreamChat(Context* context,
                                                                          const Bytes* in) {
  Call call("StreamChat", context, parts_);
  auto request =
      MakeRequest(Unwrap<v1::ChatRequest>(ParseMessage<v1::StreamChatRequest>(*in)), &call);
  return StreamReactor::Start(
      std::move(call), std::move(request), EncodeEventAs<v1::StreamChatResponse>);
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(Context* context,
                                                      const Bytes* in,
                                                      Bytes* out) {
  return StartTextCall(
      Call("Tokenize", context, parts_), MakeWork<v1::TokenizeRequest>(*in, TokenizeText), out);
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(Context* context,
                                                        const Bytes* in,
                                                        Bytes* out) {
  return StartTextCall(Call("Detokenize", context, parts_),
                       MakeWork<v1::DetokenizeRequest>(*in, DetokenizeIds),
                       out);
}

grpc::ServerUnaryReactor* GenerationService::CountTokens(Context* context,
                                                         const Bytes* in,
                                                         Bytes* out) {
  return StartTextCall(Call("CountTokens", context, parts_),
                       MakeWork<v1::CountTokensRequest>(*in, CountPromptTokens),
                       out);
}

grpc::ServerUnaryReactor* GenerationService::GetModel(Context* context,
                                                      const Bytes* in,
                                                      Bytes* out) {
  Call call("GetModel", context, parts_);
  const auto answer = [&]() -> absl::Status {
    KEYHOLE_ASSIGN_OR_RETURN(const auto request, ParseMessage<v1::GetModelRequest>(*in));
    KEYHOLE_ASSIGN_OR_RETURN(const Engine* engine, parts_.engine->Get());
    KEYHOLE_RETURN_IF_ERROR(CheckModelName(request.model(), engine->model()));
    v1::GetModelResponse response;
    FillModel(engine->model(), *parts_.config, &response);
    *out = SerializeMessage(response);
    return absl::OkStatus();
  };
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(call.End(answer()));
  return reactor;
}

}  // namespace keyhole
