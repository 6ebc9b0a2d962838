#include "engine/model/cuda/device_llama.h"

#include <algorithm>
#include <utility>

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/model/cuda/accelerator_memory.h"
#include "engine/ops/cuda/rank_ops.h"
#include "engine/ops/cuda/row_ops.h"
#include "engine/ops/cuda/sampling.h"
#include "engine/status_macros.h"

namespace keyhole::cuda {
namespace {

// Sequences come and go one at a time, so that a step has every number of them again and again, and
// of one number forms differ by how many are scored and by bounds next to a power of two.
constexpr std::int32_t kGraphsPerSequence = 4;
constexpr std::int32_t kLeastGraphs = 16;
constexpr std::int32_t kMostGraphs = 128;

std::size_t GraphCapacity(std::int32_t n_sequences) {
  const std::int32_t wanted = std::min(n_sequences, kMostGraphs) * kGraphsPerSequence;
  return static_cast<std::size_t>(std::clamp(wanted, kLeastGraphs, kMostGraphs));
}

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
      activations_(*parts.stream, parts.shard),
      token_ids_(*parts.stream, Workspace::Copies::kOne),
      logit_rows_(*parts.stream, Workspace::Copies::kOne),
      graphs_(GraphCapacity(parts.n_sequences),
              parts.ranks == nullptr ? kSpareBytes / 2 : GraphCache<StepKey>::kAnyBytes) {
  if (parts_.ranks != nullptr) parts_.ranks->set_drop_captured([this] { graphs_.Clear(); });
}

DeviceLlama::~DeviceLlama() {
  if (parts_.ranks != nullptr) parts_.ranks->set_drop_captured(nullptr);
}

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
      outputs = Take(step, want, result);
      status = outputs.status();
    }
  } catch (const DeviceError& error) {
    status = error.status();
  } catch (...) {
    // A defect: what the step held is given back all the same.
    parts_.attention->End(false).IgnoreError();
    throw;
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
      parts_.attention->Begin(input,
                              {.q = rows.q,
                               .k = rows.k,
                               .v = rows.v,
                               .rounded = rows.attended,
                               .all_q = parts_.ranks == nullptr ? rows.q : rows.all_q,
                               .all_k = parts_.ranks == nullptr ? rows.k : rows.all_k},
                              result));
  step.attention = parts_.attention->arguments();
  const auto queue = [&] {
    QueueStep(step);
    return absl::OkStatus();
  };
  const bool captured = IsDecode(input) && (parts_.ranks == nullptr || parts_.ranks->capturable());
  return captured ? graphs_.Run(*parts_.stream, step, queue) : queue();
}

void DeviceLlama::QueueStep(const StepKey& step) {
  const Stream& stream = *parts_.stream;
  const DeviceWeights& weights = *parts_.weights;
  Lookup(stream,
         {.bf16_table = weights.embedding().data,
          .index = step.token_ids,
          .out = step.rows.hidden,
          .n_rows = step.n,
          .n = parts_.shard.config.hidden_size});
  for (std::size_t layer = 0; layer < weights.layers().size(); ++layer) {
    QueueLayer(static_cast<std::int32_t>(layer), step);
  }
  if (step.n_logits > 0) QueueLogits(step);
}

void DeviceLlama::QueueLogits(const StepKey& step) {
  const Stream& stream = *parts_.stream;
  const DeviceWeights& weights = *parts_.weights;
  const ModelConfig& config = parts_.shard.config;
  const std::int64_t hidden = config.hidden_size;
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
           .eps = static_cast<float>(config.norm_eps)});
  if (parts_.ranks == nullptr) {
    linear_.Run(step.rows.normed, step.n_logits, weights.output(), step.rows.logits);
  } else {
    const std::int64_t width = weights.output().n_out;
    const std::int64_t n = step.n_logits * width;
    linear_.Run(step.rows.normed, step.n_logits, weights.output(), step.rows.part_logits);
    parts_.ranks->AllGather(stream, step.rows.part_logits, n, step.rows.gathered);
    JoinColumns(stream,
                {.parts = step.rows.gathered,
                 .out = step.rows.logits,
                 .part_size = n,
                 .n_rows = step.n_logits,
                 .width = width,
                 .n_cols = config.vocab_size});
  }
  ArgMax(stream,
         {.in = {.logits = step.rows.logits,
                 .n_rows = static_cast<std::int32_t>(step.n_logits),
                 .vocab_size = static_cast<std::int32_t>(config.vocab_size)},
          .tokens = step.rows.tokens});
}

// Adds to the hidden states; ranks add up their parts of it before that.
void DeviceLlama::AddProduct(const std::uint16_t* x,
                             const DeviceMatrix& weight,
                             const StepKey& step) {
  if (parts_.ranks == nullptr) {
    linear_.Run(x, step.n, weight, step.rows.hidden, LinearOp::Output::kAdd);
    return;
  }
  const Stream& stream = *parts_.stream;
  const std::int64_t n = step.n * weight.n_out;
  linear_.Run(x, step.n, weight, step.rows.partial);
  parts_.ranks->AllReduce(stream, step.rows.partial, n);
  AddInPlace(stream, {.x = step.rows.hidden, .y = step.rows.partial, .n = n});
}

// Queries and keys of all heads, as far as selection reads them in this layer.
void DeviceLlama::GatherHeads(std::int32_t layer, const StepKey& step) {
  if (!parts_.attention->selects(layer)) return;
  const bool queries = parts_.attention->scores();
  const Stream& stream = *parts_.stream;
  const DeviceActivations& rows = step.rows;
  const ModelConfig& config = parts_.shard.config;
  const std::int32_t n_ranks = parts_.shard.shard.size;
  const std::int64_t q_size = queries ? step.n * config.q_size() : 0;
  const std::int64_t size = q_size + step.n * config.kv_size();
  const auto join = [&](std::int64_t offset, std::int64_t width, float* out) {
    JoinColumns(stream,
                {.parts = rows.gathered + offset,
                 .out = out,
                 .part_size = size,
                 .n_rows = step.n,
                 .width = width,
                 .n_cols = n_ranks * width});
  };
  parts_.ranks->AllGather(stream, queries ? rows.q : rows.k, size, rows.gathered);
  if (queries) join(0, config.q_size(), rows.all_q);
  join(q_size, config.kv_size(), rows.all_k);
}

void DeviceLlama::QueueLayer(std::int32_t layer, const StepKey& step) {
  const Stream& stream = *parts_.stream;
  const ModelConfig& config = parts_.shard.config;
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
  if (step.n == 1) {  // one product of more columns fills the device better
    linear_.Run(rows.normed, 1, weights.qkv, rows.q);
  } else {
    linear_.Run(rows.normed, step.n, weights.qkv.Rows(0, q_size), rows.q);
    linear_.Run(rows.normed, step.n, weights.qkv.Rows(q_size, kv_size), rows.k);
    linear_.Run(rows.normed, step.n, weights.qkv.Rows(q_size + kv_size, kv_size), rows.v);
  }
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
  if (parts_.ranks != nullptr) GatherHeads(layer, step);
  parts_.attention->QueueLayer(layer);
  AddProduct(rows.attended, weights.o, step);
  norm(weights.ffn_norm);
  linear_.Run(rows.normed, step.n, weights.gate_up, rows.gate_up);
  SiluMul(stream,
          {.gate_up = rows.gate_up, .rounded = rows.gated, .n_rows = step.n, .n = config.ffn_size});
  AddProduct(rows.gated, weights.down, step);
}

absl::StatusOr<DeviceOutputs> DeviceLlama::Take(const StepKey& step,
                                                Want want,
                                                StepResult& result) {
  const auto n = static_cast<std::size_t>(step.n_logits);
  const std::size_t n_logits = want == Want::kLogits ? n * parts_.shard.config.vocab_size : 0;
  const std::size_t bytes = sizeof(std::uint64_t) + (n + n_logits) * sizeof(float);
  if (outputs_.size() < bytes) {
    KEYHOLE_ASSIGN_OR_RETURN(outputs_, PinnedBuffer::Allocate(2 * bytes));
  }
  auto* hash = reinterpret_cast<std::uint64_t*>(outputs_.data());
  auto* tokens = reinterpret_cast<TokenId*>(hash + 1);
  auto* logits = reinterpret_cast<float*>(tokens + n);
  const Stream& stream = *parts_.stream;
  KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream, tokens, step.rows.tokens, n * sizeof(TokenId)));
  KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream, logits, step.rows.logits, n_logits * sizeof(float)));
  if (parts_.ranks == nullptr) {
    KEYHOLE_RETURN_IF_ERROR(stream.Synchronize());
  } else {
    KEYHOLE_RETURN_IF_ERROR(
        CopyAsync(stream, hash, parts_.attention->selection_hash(), sizeof(*hash)));
    KEYHOLE_RETURN_IF_ERROR(parts_.ranks->Synchronize(stream));
    result.selection_hash = *hash;
  }
  return DeviceOutputs{{tokens, n}, {logits, n_logits}};
}

}  // namespace keyhole::cuda
