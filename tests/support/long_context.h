// A model behind the engine's own settings, and sequences with a long past in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/attention/selective_attention.h"
#include "engine/engine_config.h"
#include "tests/support/model_runner.h"

namespace keyhole {

// The past is copies of a short prefill's pages. Every row and every digest lies in memory of its
// own, so that selection, fetching and attention do their full work on it. Rectified positions.
class LongContext {
 public:
  // `n_tokens`: room of all sequences together. Errors: those of the model and its calibration.
  static absl::StatusOr<std::unique_ptr<LongContext>> Create(const EngineConfig& config,
                                                             std::int32_t n_tokens);

  // A new sequence with its first `length` tokens, a multiple of the page size. A sequence of no
  // tokens costs nothing, the first of the others a prefill of the local window and a chunk.
  absl::StatusOr<std::int32_t> Fill(std::int32_t length, const RunnerSequence& sequence);

  ModelRunner& runner() { return *runner_; }
  const AttentionSettings& attention() const { return attention_; }

 private:
  LongContext(const AttentionSettings& attention,
              std::int32_t chunk_size,
              std::unique_ptr<ModelRunner> runner);

  AttentionSettings attention_;
  std::int32_t chunk_size_;
  std::unique_ptr<ModelRunner> runner_;
  std::optional<std::int32_t> first_;  // whose pages are copied
};

}  // namespace keyhole
