// Requests of the API as the engine takes them, with every bound that needs neither tokens nor the
// model checked.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/request/request.h"
#include "keyhole/v1/generation.pb.h"

namespace keyhole {

// Errors of all: INVALID_ARGUMENT with INVALID_PARAMETER and the field's name, as `sampling.top_p`.
// Ids against the vocabulary and lengths against the context are the engine's to check, off the
// gRPC threads. The message is consumed: prompts may have megabytes.
absl::StatusOr<Request> ConvertRequest(v1::GenerateRequest&& message);
absl::StatusOr<Request> ConvertRequest(v1::ChatRequest&& message);
absl::StatusOr<ChatPrompt> ConvertMessages(
    google::protobuf::RepeatedPtrField<v1::ChatMessage>&& messages);

// NOT_FOUND unless `name` is empty or the served model's name.
absl::Status CheckModelName(const std::string& name, const ModelInfo& model);

}  // namespace keyhole
