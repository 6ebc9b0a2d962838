#include "engine/model/cuda/device_llama.h"

#include <algorithm>
#include <utility>

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/ops/cuda/row_ops.h"
#include "engine/ops/cuda/sampling.h"
#include "engine/status_macros.h"

namespace keyhole::cuda {
namespace {

constexpr std::size_t kGraphs = 16;

std::vector<std::int32_t> LogitRows(const ModelInput& input) {
  std::vector<std::int32_t> rows;
  for (const SequenceSlice& slice : input.sequences) {
    const std::int32_t first = slice.q_begin + slice.prompt_logprob_first;
    for (std::int32_t i = 0; i < slice.prompt_logprob_count; ++i) rows.push_back(first + i);
    if (slice.sample) rows.push_back(slice.q_begin + slice.q_len - 1);
  }
  return rows;
}

bool IsDecode(const ModelInput& input) {
  return std::all_of(input.sequences.begin(), input.sequences.end(), [](const auto& slice) {
    return slice.q_len == 1;
  });
}

}  // namespace

DeviceLlama::DeviceLlama(const DeviceLlamaParts& parts)
    : parts_(parts),
      linear_(*parts.stream),
      activations_(*parts.stream, parts.config),
      token_ids_(*parts.stream, Workspace::Copies::kOne),
      logit_rows_(*parts.stream, Workspace::Copies::kOne),
      graphs_(kGraphs) {}

absl::StatusOr<DeviceOutputs> DeviceLlama::Forward(const ModelInput& input,
                                                   Want want,
                                                   StepResult& result) {
  for (const RequestId id : input.ended) parts_.attention->EndSequence(id);
  StepKey step;
  absl::Status status;
  absl::StatusOr<DeviceOutputs> outputs = absl::InternalError("the step did not run");
  try {
    status = Run(input, result, step);
    if (status.ok()) {
      outputs = Take(step, want);
      status = outputs.status();
    }
  } catch (const DeviceError& error) {
    status = error.status();
  }
  status.Update(parts_.attention->End(status.ok()));
  if (!status.ok()) return status;
  return outputs;
}

absl::Status DeviceLlama::Run(const ModelInput& input, StepResult& result, StepKey& step) {
  const std::vector<std::int32_t> logit_rows = LogitRows(input);
  step.n = static_cast<std::int64_t>(input.token_ids.size());
  step.n_logits = static_cast<std::int64_t>(logit_rows.size());
  step.rows = activations_.Rows(step.n, step.n_logits);
  step.token_ids = token_ids_.Upload<TokenId>(input.token_ids);
  step.logit_rows = logit_rows_.Upload<std::int32_t>(logit_rows);
  const DeviceActivations& rows = step.rows;
  KEYHOLE_RETURN_IF_ERROR(
      parts_.attention->Begin(input, {rows.q, rows.k, rows.v, rows.attended}, result));
  step.attention = parts_.attention->arguments();
  const auto queue = [&] {
    QueueStep(step);
    return absl::OkStatus();
  };
  return IsDecode(input) ? graphs_.Run(*parts_.stream, step, queue) : queue();
}

void DeviceLlama::QueueStep(const StepKey& step) {
  const Stream& stream = *parts_.stream;
  const DeviceWeights& weights = *parts_.weights;
  const std::int64_t hidden = parts_.config.hidden_size;
  Lookup(stream,
         {.bf16_table = weights.embedding().data,
          .index = step.token_ids,
          .out = step.rows.hidden,
          .n_rows = step.n,
          .n = hidden});
  for (std::size_t layer = 0; layer < weights.layers().size(); ++layer) {
    QueueLayer(static_cast<std::int32_t>(layer), step);
  }
  if (step.n_logits == 0) return;
  Lookup(stream,
         {.table = step.rows.hidden,
          .index = step.logit_rows,
          .out = step.rows.last,
          .n_rows = step.n_logits,
          .n = hidden});
  RmsNorm(stream,
          {.x = step.rows.last,
           .weight = weights.output_norm(),
           .rounded = step.rows.normed,
           .n_rows = step.n_logits,
           .n = hidden,
           .eps = static_cast<float>(parts_.config.norm_eps)});
  linear_.Run(step.rows.normed, step.n_logits, weights.output(), step.rows.logits);
  ArgMax(stream,
         {.in = {.logits = step.rows.logits,
                 .n_rows = static_cast<std::int32_t>(step.n_logits),
                 .vocab_size = static_cast<std::int32_t>(parts_.config.vocab_size)},
          .tokens = step.rows.tokens});
}

void DeviceLlama::QueueLayer(std::int32_t layer, const StepKey& step) {
  const Stream& stream = *parts_.stream;
  const ModelConfig& config = parts_.config;
  const DeviceLayerWeights& weights = parts_.weights->layers()[layer];
  const DeviceActivations& rows = step.rows;
  const auto eps = static_cast<float>(config.norm_eps);
  const auto norm = [&](const float* weight) {
    RmsNorm(stream,
            {.x = rows.hidden,
             .weight = weight,
             .rounded = rows.normed,
             .n_rows = step.n,
             .n = config.hidden_size,
             .eps = eps});
  };
  const auto norm_heads = [&](float* x, const float* weight, std::int64_t n_heads) {
    RmsNorm(stream,
            {.x = x,
             .weight = weight,
             .out = x,
             .n_rows = step.n * n_heads,
             .n = config.head_dim,
             .eps = eps});
  };
  norm(weights.attn_norm);
  const std::int64_t q_size = config.q_size();
  const std::int64_t kv_size = config.kv_size();
  linear_.Run(rows.normed, step.n, weights.qkv.Rows(0, q_size), rows.q);
  linear_.Run(rows.normed, step.n, weights.qkv.Rows(q_size, kv_size), rows.k);
  linear_.Run(rows.normed, step.n, weights.qkv.Rows(q_size + kv_size, kv_size), rows.v);
  if (weights.q_bias != nullptr) {
    const auto add = [&](float* x, const float* bias, std::int64_t n) {
      AddToRows(stream, {.x = x, .y = bias, .n_rows = step.n, .n = n});
    };
    add(rows.q, weights.q_bias, q_size);
    add(rows.k, weights.k_bias, kv_size);
    add(rows.v, weights.v_bias, kv_size);
  }
  if (weights.q_norm != nullptr) {
    norm_heads(rows.q, weights.q_norm, config.n_heads);
    norm_heads(rows.k, weights.k_norm, config.n_kv_heads);
  }
  parts_.attention->QueueLayer(layer);
  RoundToBf16(stream, {.x = rows.attended, .out = rows.rounded, .n = step.n * q_size});
  linear_.Run(rows.rounded, step.n, weights.o, rows.hidden, LinearOp::Output::kAdd);
  norm(weights.ffn_norm);
  linear_.Run(rows.normed, step.n, weights.gate_up, rows.gate_up);
  SiluMul(stream,
          {.gate_up = rows.gate_up, .rounded = rows.gated, .n_rows = step.n, .n = config.ffn_size});
  linear_.Run(rows.gated, step.n, weights.down, rows.hidden, LinearOp::Output::kAdd);
}

absl::StatusOr<DeviceOutputs> DeviceLlama::Take(const StepKey& step, Want want) {
  const auto n = static_cast<std::size_t>(step.n_logits);
  const std::size_t n_logits = want == Want::kLogits ? n * parts_.config.vocab_size : 0;
  const std::size_t bytes = (n + n_logits) * sizeof(float);
  if (outputs_.size() < bytes) {
    KEYHOLE_ASSIGN_OR_RETURN(outputs_, PinnedBuffer::Allocate(2 * bytes));
  }
  auto* tokens = reinterpret_cast<TokenId*>(outputs_.data());
  auto* logits = reinterpret_cast<float*>(tokens + n);
  const Stream& stream = *parts_.stream;
  KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream, tokens, step.rows.tokens, n * sizeof(TokenId)));
  KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream, logits, step.rows.logits, n_logits * sizeof(float)));
  KEYHOLE_RETURN_IF_ERROR(stream.Synchronize());
  return DeviceOutputs{{tokens, n}, {logits, n_logits}};
}

}  // namespace keyhole::cuda
