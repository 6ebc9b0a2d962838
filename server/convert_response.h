// The engine's answers as messages of the API.
#pragma once

#include <string_view>
#include <variant>

#include "engine/engine.h"
#include "engine/request/response_sink.h"
#include "keyhole/v1/generation.pb.h"

namespace keyhole {

void FillStarted(const StartedEvent& event, std::string_view model_revision, v1::Started* message);
void FillProgress(const ProgressEvent& event, v1::Progress* message);
void FillChunk(ChunkEvent&& event, v1::Chunk* message);
void FillFinished(const FinishedEvent& event, v1::Finished* message);
void FillModel(const ModelInfo& model, const EngineConfig& config, v1::GetModelResponse* message);

// One message of a streamed answer.
using StreamEvent = std::variant<StartedEvent, ProgressEvent, ChunkEvent, FinishedEvent>;

// Response: StreamGenerateResponse or StreamChatResponse.
template <typename Response>
void FillEvent(StreamEvent&& event, std::string_view model_revision, Response* message) {
  if (auto* started = std::get_if<StartedEvent>(&event)) {
    FillStarted(*started, model_revision, message->mutable_started());
  } else if (auto* progress = std::get_if<ProgressEvent>(&event)) {
    FillProgress(*progress, message->mutable_progress());
  } else if (auto* chunk = std::get_if<ChunkEvent>(&event)) {
    FillChunk(std::move(*chunk), message->mutable_chunk());
  } else {
    FillFinished(std::get<FinishedEvent>(event), message->mutable_finished());
  }
}

// Appends `more` to `chunk`, so that tokens that arrive while a write is under way go out together.
void Append(ChunkEvent&& more, ChunkEvent* chunk);

}  // namespace keyhole
