#include "tests/support/long_context.h"

#include <algorithm>
#include <utility>

#include "engine/digest_setup.h"
#include "engine/model/weight_source.h"
#include "engine/selection/policy_registry.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"
#include "tests/support/bench.h"

namespace keyhole {

LongContext::LongContext(const AttentionSettings& attention,
                         std::int32_t chunk_size,
                         std::unique_ptr<ModelRunner> runner)
    : attention_(attention), chunk_size_(chunk_size), runner_(std::move(runner)) {}

absl::StatusOr<std::unique_ptr<LongContext>> LongContext::Create(const EngineConfig& config,
                                                                 std::int32_t n_tokens) {
  constexpr PositionMode kPositions = PositionMode::kRectified;
  KEYHOLE_RETURN_IF_ERROR(Validate(config));
  KEYHOLE_ASSIGN_OR_RETURN(const std::shared_ptr<const WeightSource> source,
                           OpenModel(config.model.path, {}));
  KEYHOLE_ASSIGN_OR_RETURN(const PolicyTraits traits, FindSelectionPolicy(config.selection.policy));
  RunnerOptions options;
  options.weights = config.model.weights;
  options.kv = config.kv.type;
  options.n_threads = config.threads;
  options.chunk_size = config.scheduler.chunk_size;
  options.page_size = config.kv.page_size;
  options.n_tokens = n_tokens;
  options.policy = config.selection.policy;
  options.coarse_dims = config.selection.coarse_dims;
  KEYHOLE_ASSIGN_OR_RETURN(options.attention,
                           ResolveAttention(config, traits, source->config(), kPositions));
  options.selection = ResolvePolicyParts(config.selection, traits, source->config(), kPositions);
  KEYHOLE_ASSIGN_OR_RETURN(options.selection.maps, LoadDigestMaps(config, traits, source, nullptr));
  KEYHOLE_ASSIGN_OR_RETURN(auto runner, ModelRunner::Create(source, options));
  return std::unique_ptr<LongContext>(
      new LongContext(options.attention, options.chunk_size, std::move(runner)));
}

absl::StatusOr<std::int32_t> LongContext::Fill(std::int32_t length, const RunnerSequence& options) {
  const std::int32_t sequence = runner_->AddSequence(options);
  if (length == 0) return sequence;
  if (first_) {
    runner_->Repeat(sequence, length, *first_);
    return sequence;
  }
  const std::int32_t read = std::min(length, attention_.sizes.local + chunk_size_);
  KEYHOLE_RETURN_IF_ERROR(
      runner_->Prefill(sequence, SomeTokens(read, runner_->vocab_size())).status());
  runner_->Repeat(sequence, length, sequence);
  first_ = sequence;
  return sequence;
}

}  // namespace keyhole
