#include "engine/calibration/recorded_model.h"

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/model/kv_layout_of.h"
#include "engine/model/load_model.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::int32_t kChunk = 512;

}  // namespace

absl::StatusOr<std::unique_ptr<RecordedModel>> RecordedModel::Load(RecordedModelSettings settings) {
  const ModelConfig& config = settings.source->config();
  const KvLayout layout = KvLayoutOf(config, KvLayout{}.page_size, KvType::kF32);
  const std::int32_t n_pages = PagesForTokens(settings.max_segment, layout.page_size);
  KEYHOLE_ASSIGN_OR_RETURN(std::unique_ptr<HostStore> store, HostStore::Create(layout, n_pages));
  std::unique_ptr<RecordedModel> recorded(new RecordedModel(std::move(store)));
  recorded->pages_.resize(n_pages);
  std::iota(recorded->pages_.begin(), recorded->pages_.end(), 0);
  ModelParts parts;
  parts.source = std::move(settings.source);
  parts.weights = settings.weights;
  parts.device = settings.device;
  parts.store = recorded->store_.get();
  parts.policy = std::make_unique<RecordingPolicy>(&recorded->tap_);
  parts.max_context = settings.max_segment;
  parts.progress = std::move(settings.progress);
  KEYHOLE_ASSIGN_OR_RETURN(recorded->model_, LoadModel(std::move(parts)));
  return recorded;
}

absl::Status RecordedModel::Read(std::span<const TokenId> tokens,
                                 std::int64_t first_token,
                                 const std::function<void(std::int32_t)>& on_chunk) {
  ++id_;
  tap_.first_token = first_token;
  const auto n_tokens = static_cast<std::int32_t>(tokens.size());
  for (std::int32_t first = 0; first < n_tokens; first += kChunk) {
    const std::int32_t count = std::min(kChunk, n_tokens - first);
    KEYHOLE_RETURN_IF_ERROR(Step(tokens, first, count));
    on_chunk(count);
  }
  return absl::OkStatus();
}

absl::Status RecordedModel::Step(std::span<const TokenId> tokens,
                                 std::int32_t first,
                                 std::int32_t count) {
  const c10::InferenceMode no_gradients;
  ModelInput input;
  input.token_ids.assign(tokens.begin() + first, tokens.begin() + first + count);
  input.positions.resize(count);
  std::iota(input.positions.begin(), input.positions.end(), first);
  input.sequences.push_back({.id = id_,
                             .q_len = count,
                             .kv_len = first,
                             .prompt_len = static_cast<std::int32_t>(tokens.size()),
                             .pages = pages_,
                             .tokens = tokens});
  if (first == 0) input.ended.push_back(id_ - 1);
  StepResult result;
  result.sequences.resize(1);
  KEYHOLE_RETURN_IF_ERROR(model_->Forward(input, result).status());
  return result.sequences[0].status;
}

}  // namespace keyhole
