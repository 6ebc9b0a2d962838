#include "tests/support/answer.h"

#include "engine/check.h"

namespace keyhole::testing {

std::shared_ptr<Recording> Submit(Engine& engine, const Request& request) {
  auto recording = std::make_shared<Recording>();
  const auto id = engine.Submit(request, std::make_unique<RecordingSink>(recording));
  KEYHOLE_CHECK(id.ok(), "the queue is open");
  return recording;
}

Answer Await(const Recording& recording) {
  Answer answer;
  if (!recording.WaitForEnd(absl::Minutes(2))) {
    answer.status = absl::DeadlineExceededError("no answer came");
    return answer;
  }
  const Recording::Events events = recording.events();
  answer.status = events.failed.value_or(absl::OkStatus());
  if (events.finished) answer.cached_tokens = events.finished->cached_prompt_tokens;
  for (const ChunkEvent& chunk : events.chunks) {
    for (const auto* infos : {&chunk.prompt_logprobs, &chunk.logprobs}) {
      for (const TokenInfo& info : *infos) {
        answer.values.emplace_back(info.chosen.token, info.chosen.logprob);
        for (const TokenLogprob& top : info.top) answer.values.emplace_back(top.token, top.logprob);
      }
    }
  }
  return answer;
}

}  // namespace keyhole::testing
