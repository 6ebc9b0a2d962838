#include "engine/attention/selective_attention.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/attention/native_positions.h"
#include "engine/attention/rectified_positions.h"
#include "engine/ops/append_kv.h"
#include "engine/ops/attend_rows.h"
#include "engine/ops/tensor_check.h"
#include "engine/scoped_timer.h"

namespace keyhole {
namespace {

constexpr std::string_view kOp = "SelectiveAttention";

// Whether some candidates have to be chosen.
bool Chooses(const AttentionSettings& settings, const SequenceSlice& slice) {
  if (slice.request != nullptr && slice.request->selection.force_full_attention) return false;
  const SelectionSizes sizes = SizesOf(settings, slice);
  return Partition(slice.kv_len, sizes).middle.size() > sizes.selected;
}

// FNV-1a over numbers instead of bytes.
void AddToHash(std::uint64_t value, std::uint64_t& hash) {
  hash = (hash ^ value) * 0x100000001B3ULL;
}

void AddToHash(RequestId id, const Selection& selection, std::uint64_t& hash) {
  AddToHash(id, hash);
  AddToHash(selection.n_selected(), hash);
  for (const std::int32_t row : selection.selected) AddToHash(row, hash);
}

}  // namespace

struct SelectiveAttention::State {
  explicit State(const AttentionHeads& own) : heads(own) {}

  AttentionHeads heads;
  AttentionSettings settings;
  HostStore* store = nullptr;
  std::unique_ptr<SelectionPolicy> policy;
  std::unique_ptr<PositionScheme> positions;

  // Of the layer that runs: what selection looks at. Null where it looks at nothing.
  const float* all_queries = nullptr;  // [n_tokens, all_heads, head_dim]
  const float* all_keys = nullptr;     // [n_tokens, all_kv_heads, head_dim]

  // Reused from step to step; `selections` and `parts` are parallel to the step's sequences.
  std::vector<Selection> selections;
  std::vector<SelectionContext> choosing;  // sequences whose policy is asked
  std::vector<std::size_t> choosing_slices;
  std::vector<absl::StatusOr<Selection>> chosen;
  std::vector<std::vector<AttendPart>> parts;
  std::vector<AppendContext> arrivals;
  std::vector<AppendKvParams> appends;
  std::vector<AttendParams> attends;
  AttendWorkspace workspace;

  void Check(const ModelInput& input,
             const LayerProjections& projections,
             const StepResult& result) const;
  void SetSelectionInputs(const LayerProjections& projections);
  void Select(const LayerStep& step, StepResult& result);
  void Append(const LayerStep& step,
              const float* keys,
              const float* values,
              const StepResult& result);
  void Attend(const LayerStep& step, float* out, const StepResult& result);
  SelectionContext ContextOf(const LayerStep& step,
                             const SequenceSlice& slice,
                             StepSelectionStats& stats) const;
};

void SelectiveAttention::State::Check(const ModelInput& input,
                                      const LayerProjections& projections,
                                      const StepResult& result) const {
  CheckOp(result.sequences.size() == input.sequences.size(), kOp, "results are not parallel");
  const auto n = static_cast<std::int64_t>(input.positions.size());
  NamedSize n_tokens("n_tokens", n);
  NamedSize q_heads("n_heads", heads.n_heads);
  NamedSize kv_heads("n_kv_heads", heads.n_kv_heads);
  NamedSize dim("head_dim", heads.head_dim);
  NamedSize q_size("n_heads * head_dim", heads.n_heads * heads.head_dim);
  CheckTensor("SelectiveAttention: q", *projections.q, {&n_tokens, &q_heads, &dim});
  CheckTensor("SelectiveAttention: k", *projections.k, {&n_tokens, &kv_heads, &dim});
  CheckTensor("SelectiveAttention: v", *projections.v, {&n_tokens, &kv_heads, &dim});
  CheckTensor("SelectiveAttention: out", *projections.out, {&n_tokens, &q_size});
  for (const SequenceSlice& slice : input.sequences) {
    CheckOp(slice.q_begin >= 0 && slice.q_len > 0 && slice.q_begin + slice.q_len <= n,
            kOp,
            "a slice leaves the step");
  }
}

void SelectiveAttention::State::SetSelectionInputs(const LayerProjections& projections) {
  const auto values = [&](const at::Tensor* all, const at::Tensor* own) -> const float* {
    if (all != nullptr) return all->const_data_ptr<float>();
    return heads.split() ? nullptr : own->const_data_ptr<float>();
  };
  all_queries = values(projections.all_q, projections.q);
  all_keys = values(projections.all_k, projections.k);
}

SelectionContext SelectiveAttention::State::ContextOf(const LayerStep& step,
                                                      const SequenceSlice& slice,
                                                      StepSelectionStats& stats) const {
  return {.id = slice.id,
          .layer = step.layer,
          .past = slice.kv_len,
          .q_len = slice.q_len,
          .n_heads = static_cast<std::int32_t>(heads.all_heads),
          .head_dim = static_cast<std::int32_t>(heads.head_dim),
          .queries = all_queries == nullptr
                         ? nullptr
                         : all_queries + slice.q_begin * heads.all_heads * heads.head_dim,
          .sizes = SizesOf(settings, slice),
          .pages = slice.pages,
          .stats = &stats};
}

void SelectiveAttention::State::Select(const LayerStep& step, StepResult& result) {
  const ScopedTimer timer(&result.timings.selection_seconds);
  const TraceSpan span(step.device->trace(), "select");
  const std::vector<SequenceSlice>& slices = step.input->sequences;
  selections.resize(std::max(selections.size(), slices.size()));
  choosing.clear();
  choosing_slices.clear();
  for (std::size_t i = 0; i < slices.size(); ++i) {
    if (!result.sequences[i].status.ok()) continue;
    if (slices[i].request != nullptr && slices[i].request->selection.force_full_attention) {
      selections[i] = Partition(slices[i].kv_len, SizesOf(settings, slices[i]));
      selections[i].all_of_middle = true;
      continue;
    }
    choosing.push_back(ContextOf(step, slices[i], result.selection));
    choosing_slices.push_back(i);
  }
  chosen.resize(choosing.size());
  policy->SelectEach(*step.device, choosing, chosen);
  for (std::size_t c = 0; c < chosen.size(); ++c) {
    const std::size_t i = choosing_slices[c];
    result.sequences[i].status = chosen[c].status();
    if (chosen[c].ok()) std::swap(selections[i], *chosen[c]);  // keeps the memory of both
  }
  for (std::size_t i = 0; i < slices.size(); ++i) {
    SequenceResult& sequence = result.sequences[i];
    if (!sequence.status.ok()) continue;
    sequence.selected_rows += selections[i].n_selected();
    if (heads.split()) AddToHash(slices[i].id, selections[i], result.selection_hash);
  }
}

void SelectiveAttention::State::Append(const LayerStep& step,
                                       const float* keys,
                                       const float* values,
                                       const StepResult& result) {
  const TraceSpan span(step.device->trace(), "append");
  arrivals.clear();
  appends.clear();
  for (std::size_t i = 0; i < result.sequences.size(); ++i) {
    if (!result.sequences[i].status.ok()) continue;
    const SequenceSlice& slice = step.input->sequences[i];
    const std::int64_t first = slice.q_begin * heads.n_kv_heads * heads.head_dim;
    const std::int64_t first_of_all = slice.q_begin * heads.all_kv_heads * heads.head_dim;
    arrivals.push_back({.id = slice.id,
                        .layer = step.layer,
                        .first = slice.kv_len,
                        .n_tokens = slice.q_len,
                        .keys = all_keys == nullptr ? nullptr : all_keys + first_of_all,
                        .pages = slice.pages});
    appends.push_back({.store = store,
                       .layer = step.layer,
                       .pages = slice.pages,
                       .first = slice.kv_len,
                       .n_tokens = slice.q_len,
                       .keys = keys + first,
                       .values = values + first});
  }
  if (all_keys != nullptr) policy->OnAppend(*step.device, arrivals);
  AppendKv(*step.device, appends);
}

void SelectiveAttention::State::Attend(const LayerStep& step,
                                       float* out,
                                       const StepResult& result) {
  const TraceSpan span(step.device->trace(), "attend");
  const std::size_t n = result.sequences.size();
  parts.resize(std::max(parts.size(), n));
  attends.clear();
  for (std::size_t i = 0; i < n; ++i) {
    const SequenceSlice& slice = step.input->sequences[i];
    const std::int64_t q_size = heads.n_heads * heads.head_dim;
    float* rows = out + slice.q_begin * q_size;
    if (!result.sequences[i].status.ok()) {
      std::fill_n(rows, slice.q_len * q_size, 0.0F);
      continue;
    }
    parts[i].clear();
    positions->AppendParts(step, slice, selections[i], parts[i]);
    attends.push_back({.store = store,
                       .layer = step.layer,
                       .pages = slice.pages,
                       .q_len = slice.q_len,
                       .n_heads = static_cast<std::int32_t>(heads.n_heads),
                       .softmax_scale = 1 / std::sqrt(static_cast<float>(heads.head_dim)),
                       .parts = parts[i],
                       .out = rows});
  }
  AttendRows(*step.device, attends, workspace);
}

SelectiveAttention::SelectiveAttention(const AttentionHeads& heads,
                                       const AttentionSettings& settings,
                                       RopeRows rope,
                                       HostStore* store,
                                       std::unique_ptr<SelectionPolicy> policy)
    : state_(std::make_unique<State>(heads)) {
  state_->settings = settings;
  state_->store = store;
  state_->policy = std::move(policy);
  if (settings.positions == PositionMode::kRectified) {
    state_->positions = std::make_unique<RectifiedPositions>(settings, rope, store);
  } else {
    state_->positions = std::make_unique<NativePositions>(rope);
  }
}

SelectiveAttention::~SelectiveAttention() = default;

void SelectiveAttention::Run(Device& device,
                             std::int32_t layer,
                             const ModelInput& input,
                             const LayerProjections& projections,
                             StepResult& result) {
  const ScopedTimer timer(&result.timings.attention_seconds);
  const TraceSpan span(device.trace(), "attention");
  state_->Check(input, projections, result);
  const LayerStep step = {&device, layer, &input, projections.q, projections.k};
  state_->SetSelectionInputs(projections);
  state_->Select(step, result);
  const float* keys = state_->positions->Rotate(step);
  state_->Append(step, keys, projections.v->const_data_ptr<float>(), result);
  state_->Attend(step, projections.out->mutable_data_ptr<float>(), result);
}

SelectionReads SelectiveAttention::ReadsOf(const ModelInput& input) const {
  const PolicyTraits traits = state_->policy->traits();
  const bool chooses = traits.middle == MiddleRule::kBudget &&
                       std::ranges::any_of(input.sequences, [this](const SequenceSlice& slice) {
                         return Chooses(state_->settings, slice);
                       });
  if (chooses) return SelectionReads::kQueriesAndKeys;
  return traits.digests ? SelectionReads::kKeys : SelectionReads::kNothing;
}

void SelectiveAttention::EndSequence(RequestId id) {
  state_->policy->OnSequenceEnd(id);
  state_->positions->EndSequence(id);
}

}  // namespace keyhole
