#include "tests/support/model_runner.h"

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/model/kv_layout_of.h"
#include "engine/model/load_model.h"
#include "engine/model/model_shard.h"
#include "engine/model/rope_table.h"
#include "engine/selection/policy_registry.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"

namespace keyhole {

ModelRunner::ModelRunner(const RunnerOptions& options, std::unique_ptr<HostStore> store)
    : options_(options),
      device_(options.n_threads, options.cpu_level.value_or(DetectCpuLevel())),
      store_(std::move(store)),
      next_page_(store_->n_pages()) {}

absl::StatusOr<std::unique_ptr<ModelRunner>> ModelRunner::Create(
    std::shared_ptr<const WeightSource> source, const RunnerOptions& options) {
  const ModelConfig& config = source->config();
  const Shard own = options.group == nullptr ? Shard() : options.group->shard();
  KEYHOLE_ASSIGN_OR_RETURN(const ModelShard shard, ShardModel(config, own));
  const KvLayout layout = KvLayoutOf(shard.config, options.page_size, options.kv);
  // Every sequence may leave a part of its last page empty.
  const std::int32_t n_pages = 2 * PagesForTokens(options.n_tokens, options.page_size) + 32;
  KEYHOLE_ASSIGN_OR_RETURN(std::unique_ptr<HostStore> store, HostStore::Create(layout, n_pages));
  std::unique_ptr<ModelRunner> runner(new ModelRunner(options, std::move(store)));
  ModelParts parts;
  parts.source = std::move(source);
  parts.weights = options.weights;
  parts.device = &runner->device_;
  parts.store = runner->store_.get();
  parts.group = options.group;
  parts.max_context = options.n_tokens;
  parts.attention = options.attention;
  parts.attention.distances.chunk_size = options.chunk_size;
  parts.rope = std::make_unique<const RopeTable>(
      config, RopePositions(options.attention, options.selection, options.n_tokens));
  KEYHOLE_ASSIGN_OR_RETURN(parts.policy, runner->MakePolicy(config, parts.rope->rows()));
  KEYHOLE_ASSIGN_OR_RETURN(runner->model_, LoadModel(std::move(parts)));
  return runner;
}

absl::StatusOr<std::unique_ptr<SelectionPolicy>> ModelRunner::MakePolicy(const ModelConfig& config,
                                                                         RopeRows rope) {
  PolicyParts parts = options_.selection;
  parts.n_heads = static_cast<std::int32_t>(config.n_heads);
  parts.n_kv_heads = static_cast<std::int32_t>(config.n_kv_heads);
  parts.head_dim = static_cast<std::int32_t>(config.head_dim);
  parts.store = store_.get();
  parts.positions = options_.attention.positions;
  parts.rope = rope;
  if (parts.maps != nullptr) {
    KEYHOLE_ASSIGN_OR_RETURN(const PolicyTraits traits, FindSelectionPolicy(options_.policy));
    KEYHOLE_ASSIGN_OR_RETURN(
        digests_,
        DigestStore::Create(
            DigestLayoutOf(*parts.maps, traits, options_.page_size, options_.coarse_dims),
            store_->n_pages()));
    parts.digests = digests_.get();
  }
  KEYHOLE_ASSIGN_OR_RETURN(auto policy, MakeSelectionPolicy(options_.policy, parts));
  if (options_.wrap_policy) policy = options_.wrap_policy(std::move(policy));
  return policy;
}

std::int32_t ModelRunner::AddSequence(const RunnerSequence& options) {
  Sequence sequence;
  if (options.shared_tokens > 0) {
    const Sequence& from = sequences_[options.shared_from];
    sequence.pages.assign(from.pages.begin(),
                          from.pages.begin() + options.shared_tokens / options_.page_size);
    sequence.tokens.assign(from.tokens.begin(), from.tokens.begin() + options.shared_tokens);
  }
  const std::size_t n_pages = PagesForTokens(options.capacity, options_.page_size);
  while (sequence.pages.size() < n_pages) sequence.pages.push_back(--next_page_);
  sequence.tokens.reserve(options.capacity);
  sequence.prompt_len = options.prompt_len;
  sequence.request.selection = options.selection;
  sequences_.push_back(std::move(sequence));
  return static_cast<std::int32_t>(sequences_.size()) - 1;
}

void ModelRunner::AddSlice(const RunnerSlice& slice, ModelInput& input) {
  Sequence& sequence = sequences_[slice.sequence];
  SequenceSlice& out = input.sequences.emplace_back();
  out.id = slice.sequence;
  out.q_begin = static_cast<std::int32_t>(input.token_ids.size());
  out.q_len = static_cast<std::int32_t>(slice.tokens.size());
  out.kv_len = static_cast<std::int32_t>(sequence.tokens.size());
  out.pages = sequence.pages;
  out.request = &sequence.request;
  out.sample = true;
  // The last row comes from `sample`.
  out.prompt_logprob_count = slice.all_logits ? out.q_len - 1 : 0;
  for (const TokenId token : slice.tokens) {
    input.positions.push_back(static_cast<std::int32_t>(sequence.tokens.size()));
    input.token_ids.push_back(token);
    sequence.tokens.push_back(token);
  }
  out.prompt_len = sequence.prompt_len > 0 ? sequence.prompt_len
                                           : static_cast<std::int32_t>(sequence.tokens.size());
  out.tokens = sequence.tokens;
}

absl::StatusOr<std::span<const float>> ModelRunner::Step(std::span<const RunnerSlice> slices) {
  const c10::InferenceMode no_gradients;
  ModelInput input;
  for (const RunnerSlice& slice : slices) AddSlice(slice, input);
  StepResult result;
  result.sequences.resize(input.sequences.size());
  KEYHOLE_ASSIGN_OR_RETURN(const at::Tensor logits, model_->Forward(input, result));
  for (const SequenceResult& sequence : result.sequences) KEYHOLE_RETURN_IF_ERROR(sequence.status);
  timings_.linear_seconds += result.timings.linear_seconds;
  timings_.attention_seconds += result.timings.attention_seconds;
  timings_.selection_seconds += result.timings.selection_seconds;
  selection_ = std::move(result.selection);
  return std::span(logits.const_data_ptr<float>(), logits.numel());
}

absl::StatusOr<std::span<const float>> ModelRunner::Prefill(std::int32_t sequence,
                                                            std::span<const TokenId> tokens) {
  std::span<const float> logits;
  while (!tokens.empty()) {
    const auto done = static_cast<std::int32_t>(sequences_[sequence].tokens.size());
    const std::size_t room = options_.chunk_size - done % options_.chunk_size;
    const RunnerSlice slice = {sequence, tokens.first(std::min(room, tokens.size()))};
    KEYHOLE_ASSIGN_OR_RETURN(logits, Step({&slice, 1}));
    tokens = tokens.subspan(slice.tokens.size());
  }
  return logits;
}

void ModelRunner::Repeat(std::int32_t sequence, std::int32_t length, std::int32_t from) {
  Sequence& s = sequences_[sequence];
  const Sequence& source = sequences_[from];
  const auto page_size = static_cast<std::size_t>(options_.page_size);
  const std::size_t n_source = source.tokens.size();
  const std::size_t n_pages = static_cast<std::size_t>(length) / page_size;
  for (std::size_t page = s.tokens.size() / page_size; page < n_pages; ++page) {
    const PageId read = source.pages[page % (n_source / page_size)];
    const PageId write = s.pages[page];
    std::memcpy(
        store_->LayerRows(write, 0), store_->LayerRows(read, 0), store_->layout().page_bytes());
    if (digests_) {
      std::memcpy(
          digests_->Slot(write, 0), digests_->Slot(read, 0), digests_->layout().page_bytes());
      const std::size_t coarse = digests_->layout().coarse_slot_bytes();
      for (std::int32_t slot = 0; coarse > 0 && slot < digests_->layout().n_slots; ++slot) {
        std::memcpy(digests_->CoarseSlot(write, slot), digests_->CoarseSlot(read, slot), coarse);
      }
    }
  }
  for (std::size_t i = s.tokens.size(); i < static_cast<std::size_t>(length); ++i) {
    s.tokens.push_back(source.tokens[i % n_source]);
  }
}

void ModelRunner::Truncate(std::int32_t sequence, std::int32_t length) {
  sequences_[sequence].tokens.resize(length);
}

}  // namespace keyhole
