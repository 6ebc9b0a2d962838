// The parts that an engine is made of: from a model file, or from a test.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/engine.h"
#include "engine/request/sequence_positions.h"
#include "engine/runtime/clock.h"
#include "engine/runtime/prompt_encoder.h"
#include "engine/runtime/step_executor.h"
#include "engine/scheduler/prefix_rules.h"
#include "engine/tokenizer/tokenizer.h"

namespace keyhole {

struct EngineDependencies {
  ModelInfo model;  // with all limits filled in, save kv_capacity
  std::unique_ptr<Tokenizer> tokenizer;
  ChatRenderer render_chat;  // empty: no chat template
  std::unique_ptr<StepExecutor> executor;

  std::int32_t n_pages = 0;
  std::int64_t page_bytes = 0;  // for the snapshot and the prefix cache
  std::string cache_salt;       // all that the rows of the same tokens depend on, requests aside
  Chunking chunking;            // its chunk size is the scheduler's
  PrefixRules prefix_rules;     // its chunk size is the scheduler's
  absl::AnyInvocable<void(PageId)> on_page_free;      // engine thread; may be empty
  std::function<DevicePagesSnapshot()> device_pages;  // any thread; empty without an accelerator
  std::unique_ptr<const Clock> clock;                 // null: the system's
  std::function<std::uint64_t()> draw_seed;           // any thread; empty: random
  EngineObserver* observer = nullptr;                 // may be null; outlives the engine
};

// Nothing on ranks that do not sample, which have no tokenizer.
inline std::vector<TokenId> EndTokens(const EngineDependencies& parts) {
  return parts.tokenizer == nullptr ? std::vector<TokenId>() : parts.tokenizer->end_tokens();
}

// An engine of the given parts, with its threads running. Of `config` it reads the scheduler's
// settings, kv.page_size, kv.prefix_cache_bytes and text_workers. REQUIRES: tokenizer and executor
// are set. Errors: INVALID_ARGUMENT from Validate.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const EngineConfig& config,
                                                   EngineDependencies dependencies);

}  // namespace keyhole
