// An engine over a tiny model on the accelerator, with room for some of its pages or for all.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "engine/engine.h"
#include "tests/support/answer.h"

namespace keyhole {

constexpr std::int32_t kEnginePromptLen = 200;

struct EngineCase {
  ComputeDevice compute = ComputeDevice::kCuda;
  Residency residency = Residency::kAuto;
  bool spills = false;  // pages have to go and come
  std::int32_t selected = 16;
  std::int64_t prefix_cache = -1;  // bytes
  const char* model = "synthetic:tiny";
  // Where pages spill: a step of three sequences holds 26 pages and fetches 48 rows; one sequence
  // has 13.
  std::int64_t device_pages = 30;
  std::int32_t max_running = 3;
};

inline EngineConfig ConfigOf(const EngineCase& wanted) {
  EngineConfig config;
  config.model.path = wanted.model;
  config.kv.page_size = 16;
  config.kv.memory_bytes = 64 << 20;
  config.kv.prefix_cache_bytes = wanted.prefix_cache;
  config.selection.initial = 8;
  config.selection.local = 64;
  config.selection.selected = wanted.selected;
  config.selection.tail_chunk = 8;
  config.selection.coarse_dims = 0;  // the accelerator scores every row
  config.selection.recall_interval = 0;
  config.scheduler.max_context = 320;  // beyond the 256 tokens that it was trained for
  config.scheduler.chunk_size = 32;
  config.scheduler.max_running = wanted.max_running;
  config.device.compute = wanted.compute;
  config.device.residency = wanted.residency;
  constexpr std::int64_t kPageBytes = 4096;
  if (wanted.spills) config.device.kv_memory_bytes = wanted.device_pages * kPageBytes + 60 * 256;
  config.threads = 2;
  return config;
}

inline std::unique_ptr<Engine> MakeCaseEngine(const EngineCase& wanted) {
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(ConfigOf(wanted), nullptr);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

// `seed` makes another prompt.
inline Request EngineRequest(std::int32_t seed = 0, std::int32_t max_output = 8) {
  std::vector<TokenId> prompt;
  prompt.reserve(kEnginePromptLen);
  for (std::int32_t i = 0; i < kEnginePromptLen; ++i)
    prompt.push_back((i * i * 7 + i + seed) % 250);
  Request request;
  request.prompt = std::move(prompt);
  request.stopping.max_output_tokens = max_output;
  request.stopping.ignore_eos = true;
  request.output.return_token_ids = true;
  request.output.return_logprobs = true;
  request.output.top_logprob_count = 4;
  request.output.prompt_logprobs = PromptLogprobRange{kEnginePromptLen - 4, 4};
  return request;
}

// Pages go once the engine has come round again.
inline bool PagesAreFree(const Engine& engine) {
  for (int i = 0; i < 1000 && engine.Snapshot().kv_pages_used > 0; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  return engine.Snapshot().kv_pages_used == 0;
}

inline std::vector<std::vector<std::pair<TokenId, float>>> AskAll(Engine& engine, int n_prompts) {
  std::vector<std::vector<std::pair<TokenId, float>>> all;
  for (int i = 0; i < n_prompts; ++i) {
    const testing::Answer answer = testing::Ask(engine, EngineRequest(i));
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    all.push_back(answer.values);
  }
  return all;
}

}  // namespace keyhole
