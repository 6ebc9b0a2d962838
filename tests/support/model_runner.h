// Runs a model step by step without an engine: pages, page tables and batches by hand.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/attention/selective_attention.h"
#include "engine/batch/model_input.h"
#include "engine/device/device.h"
#include "engine/engine_config.h"
#include "engine/kv/digest_store.h"
#include "engine/kv/host_store.h"
#include "engine/model/model.h"
#include "engine/model/weight_source.h"
#include "engine/parallel/process_group.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

struct RunnerOptions {
  WeightMode weights = WeightMode::kF32;
  KvType kv = KvType::kF32;
  int n_threads = 0;  // 0: all cores
  std::optional<CpuLevel> cpu_level;
  std::int32_t chunk_size = 512;
  std::int32_t n_tokens = 0;  // room of all sequences together
  std::int32_t page_size = 64;
  ProcessGroup* group = nullptr;  // outlives the runner; every rank runs the same steps

  std::string policy = "full";
  AttentionSettings attention = {};
  std::int32_t coarse_dims = 0;  // of digests
  PolicyParts selection = {};    // what the model or its memory decides is filled in
  // Puts a double around the policy; empty: none.
  std::function<std::unique_ptr<SelectionPolicy>(std::unique_ptr<SelectionPolicy>)> wrap_policy;
};

struct RunnerSequence {
  std::int32_t capacity = 0;       // tokens
  std::int32_t prompt_len = 0;     // 0: every token is the prompt's
  SelectionParams selection = {};  // the request's wishes
  // So many first tokens, a multiple of page_size, come with their pages from another sequence.
  std::int32_t shared_tokens = 0;
  std::int32_t shared_from = 0;
};

// Tokens to append to one sequence in one step.
struct RunnerSlice {
  std::int32_t sequence = 0;
  std::span<const TokenId> tokens;
  bool all_logits = false;  // of every token, not only of the last
};

// Every error and every failed sequence is an error of the call.
class ModelRunner {
 public:
  static absl::StatusOr<std::unique_ptr<ModelRunner>> Create(
      std::shared_ptr<const WeightSource> source, const RunnerOptions& options);

  // Its pages are not neighbours.
  std::int32_t AddSequence(const RunnerSequence& sequence);
  std::int32_t AddSequence(std::int32_t capacity) {
    RunnerSequence sequence;
    sequence.capacity = capacity;
    return AddSequence(sequence);
  }

  // One step over several sequences. Logits [rows, vocab_size] in the order of `slices`, valid
  // until the next call.
  absl::StatusOr<std::span<const float>> Step(std::span<const RunnerSlice> slices);

  // Appends tokens in chunks that start at multiples of chunk_size; logits [vocab_size] of the last
  // one.
  absl::StatusOr<std::span<const float>> Prefill(std::int32_t sequence,
                                                 std::span<const TokenId> tokens);

  // Appends copies of the pages of `from`, which may be the sequence itself, until it has `length`
  // tokens: the memory and the work of a long sequence without its prefill. REQUIRES: all lengths
  // are multiples of page_size; `from` is not empty; rectified positions, where a page's rows do
  // not depend on where it stands.
  void Repeat(std::int32_t sequence, std::int32_t length, std::int32_t from);

  // The tokens so far are forgotten beyond `length`.
  void Truncate(std::int32_t sequence, std::int32_t length);

  const StepTimings& timings() const { return timings_; }             // of all steps together
  const StepSelectionStats& selection() const { return selection_; }  // of the last step
  const HostStore& store() const { return *store_; }
  const DigestStore* digests() const { return digests_.get(); }  // null where nothing is scored
  std::int64_t vocab_size() const { return model_->config().vocab_size; }
  Model& model() { return *model_; }
  Device& device() { return device_; }

 private:
  struct Sequence {
    std::vector<PageId> pages;
    std::vector<TokenId> tokens;
    std::int32_t prompt_len = 0;
    Request request;
  };

  ModelRunner(const RunnerOptions& options, std::unique_ptr<HostStore> store);
  absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakePolicy(const ModelConfig& config,
                                                              RopeRows rope);
  void AddSlice(const RunnerSlice& slice, ModelInput& input);

  RunnerOptions options_;
  Device device_;
  std::unique_ptr<HostStore> store_;
  std::unique_ptr<DigestStore> digests_;
  std::unique_ptr<Model> model_;
  std::vector<Sequence> sequences_;
  PageId next_page_;
  StepTimings timings_;
  StepSelectionStats selection_;
};

}  // namespace keyhole
