#include "engine/model/llama.h"

#include <cstring>
#include <span>
#include <utility>

#include "engine/model/decoder_layer.h"
#include "engine/ops/linear.h"
#include "engine/ops/rms_norm.h"
#include "engine/scoped_timer.h"

namespace keyhole {
namespace {

// Packed rows whose logits the step asks for, in the order of Model::Forward.
std::vector<std::int32_t> LogitRows(const ModelInput& input) {
  std::vector<std::int32_t> rows;
  for (const SequenceSlice& slice : input.sequences) {
    const std::int32_t first = slice.q_begin + slice.prompt_logprob_first;
    for (std::int32_t i = 0; i < slice.prompt_logprob_count; ++i) rows.push_back(first + i);
    if (slice.sample) rows.push_back(slice.q_begin + slice.q_len - 1);
  }
  return rows;
}

// Rows before the first chunk. REQUIRES: no decoding sequence comes after it.
std::int64_t DecodeRows(const ModelInput& input) {
  for (const SequenceSlice& slice : input.sequences) {
    if (slice.q_len > 1) return slice.q_begin;
  }
  return static_cast<std::int64_t>(input.token_ids.size());
}

void GatherRows(const at::Tensor& from, std::span<const std::int32_t> rows, at::Tensor& to) {
  const auto width = static_cast<std::size_t>(from.size(1));
  const float* source = from.const_data_ptr<float>();
  float* target = to.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(target + i * width, source + rows[i] * width, width * sizeof(float));
  }
}

}  // namespace

Llama::Llama(LlamaParts parts, const TokenEmbedding& embedding)
    : parts_(std::move(parts)),
      embedding_(embedding),
      buffers_(parts_.shard.config),
      logit_buffers_(parts_.shard.config),
      shard_buffers_(parts_.shard.config) {}

Activations Llama::RunLayers(const ModelInput& input, StepResult& result) {
  const ModelConfig& config = parts_.shard.config;
  const auto n_tokens = static_cast<std::int64_t>(input.token_ids.size());
  LayerContext context = {parts_.device, &config, parts_.attention.get(), &input, &result};
  context.n_decode = DecodeRows(input);
  if (parts_.ranks != nullptr) {
    context.ranks = parts_.ranks.get();
    context.reads = parts_.attention->ReadsOf(input);
  }
  result.selection.layers.reserve(config.n_layers);
  Activations rows = buffers_.Rows(n_tokens);
  Projections projections = buffers_.ProjectionRows(n_tokens);
  embedding_.Lookup(
      input.token_ids,
      std::span(rows.hidden.mutable_data_ptr<float>(), n_tokens * config.hidden_size));
  for (std::int32_t layer = 0; layer < config.n_layers; ++layer) {
    const TraceSpan span(parts_.device->trace(), "layer", layer);
    const LayerWeights& weights = parts_.weights.layers[layer];
    Attend(context, layer, weights, projections, rows);
    if (layer + 1 < config.n_layers) FinishLayer(context, weights, rows);
  }
  const std::vector<std::int32_t> logit_rows = LogitRows(input);
  Activations last = logit_buffers_.Rows(static_cast<std::int64_t>(logit_rows.size()));
  if (logit_rows.empty()) return last;
  GatherRows(rows.hidden, logit_rows, last.hidden);
  GatherRows(rows.attended, logit_rows, last.attended);
  context.n_decode = last.hidden.size(0);
  FinishLayer(context, parts_.weights.layers.back(), last);
  return last;
}

absl::StatusOr<at::Tensor> Llama::Forward(const ModelInput& input, StepResult& result) {
  for (const RequestId id : input.ended) parts_.attention->EndSequence(id);
  if (input.token_ids.empty()) return logit_buffers_.Logits(0, config().vocab_size);
  Activations rows = RunLayers(input, result);
  if (rows.hidden.size(0) == 0) return logit_buffers_.Logits(0, config().vocab_size);
  RmsNorm(*parts_.device, rows.hidden, parts_.weights.output_norm, config().norm_eps, rows.normed);
  const ScopedTimer timer(&result.timings.linear_seconds);
  const TraceSpan span(parts_.device->trace(), "logits");
  return Logits(rows.normed);
}

at::Tensor Llama::Logits(const at::Tensor& normed) {
  const std::int64_t n = normed.size(0);
  const std::int64_t vocab_size = config().vocab_size;
  if (parts_.ranks == nullptr) {
    at::Tensor logits = logit_buffers_.Logits(n, vocab_size);
    Linear(*parts_.device, normed, parts_.weights.output, logits);
    return logits;
  }
  at::Tensor part = shard_buffers_.Logits(n, parts_.shard.vocab.size);
  Linear(*parts_.device, normed, parts_.weights.output, part);
  at::Tensor logits = logit_buffers_.Logits(parts_.ranks->is_root() ? n : 0, vocab_size);
  parts_.ranks->GatherLogits(*parts_.device, part, logits);
  return logits;
}

}  // namespace keyhole
