// Requests of the API as the engine takes them, with every bound checked that needs no tokeniser.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/request/request.h"
#include "keyhole/v1/generation.pb.h"

namespace keyhole {

// Errors: those of CheckModelName, field_checks.h and, for a prompt that came as ids,
// CheckPromptLength. Ids against the vocabulary and other lengths against the context are the
// engine's to check, off the gRPC threads. Text is taken out of the message, prompts may have
// megabytes; ids have to be copied: let go of the message soon.
absl::StatusOr<Request> ConvertRequest(v1::GenerateRequest&& message, const ModelInfo& model);
absl::StatusOr<Request> ConvertRequest(v1::ChatRequest&& message, const ModelInfo& model);

// Errors: those of field_checks.h.
absl::StatusOr<ChatPrompt> ConvertMessages(
    google::protobuf::RepeatedPtrField<v1::ChatMessage>&& messages);

// NOT_FOUND unless `name` is empty or the served model's name.
absl::Status CheckModelName(const std::string& name, const ModelInfo& model);

}  // namespace keyhole
