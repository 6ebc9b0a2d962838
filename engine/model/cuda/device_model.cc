#include "engine/model/cuda/device_model.h"

#include <algorithm>
#include <utility>

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/model/kv_layout_of.h"
#include "engine/status_macros.h"

namespace keyhole::cuda {
namespace {

// What a step may hold: each sequence's initial and local rows, one of them with a chunk; of each
// run of rows the first and the last page may be begun.
std::int32_t HeldPages(const DeviceModelSettings& settings) {
  const SelectionSizes& sizes = settings.attention.sizes;
  const std::int32_t page = settings.page_size;
  const std::int32_t of_one =
      PagesForTokens(sizes.initial, page) + 1 + PagesForTokens(sizes.local + 1, page) + 1;
  return settings.n_sequences * of_one +
         PagesForTokens(settings.attention.distances.chunk_size, page);
}

}  // namespace

// After a step that failed, copies from and to pinned memory may still be on their way. With ranks
// they may wait for one that has gone, which only the collectives can end.
DeviceModel::~DeviceModel() {
  const absl::Status status =
      ranks_ == nullptr ? stream_.Synchronize() : ranks_->Synchronize(stream_);
  status.IgnoreError();
}

absl::Status DeviceModel::MakeKv(const Stream& stream,
                                 const ModelConfig& config,
                                 std::int64_t n_layers,
                                 const DeviceModelSettings& settings) {
  KvLayout layout = KvLayoutOf(config, settings.page_size, settings.kv);
  layout.n_layers = static_cast<std::int32_t>(n_layers);
  const ResidencySettings residency = {
      .mode = settings.residency,
      .device_bytes = settings.device_bytes,
      .held_pages = HeldPages(settings),
      .fetched_rows = settings.n_sequences * std::max(1, settings.attention.sizes.selected)};
  KEYHOLE_ASSIGN_OR_RETURN(const ResidencyPlan plan,
                           PlanResidency(residency, layout, settings.n_pages));
  if (plan.spills) {
    KEYHOLE_ASSIGN_OR_RETURN(host_, HostStore::CreatePinned(layout, settings.n_pages));
  }
  KEYHOLE_ASSIGN_OR_RETURN(
      kv_,
      ResidentKv::Create(
          residency, layout, settings.n_pages, {.stream = &stream, .host = host_.get()}));
  return absl::OkStatus();
}

// Cosines, then sines.
absl::StatusOr<RopeRows> DeviceModel::CopyRope(const Stream& stream, const RopeTable& rope) {
  const RopeRows rows = rope.rows();
  const auto n = static_cast<std::size_t>(rope.n_positions()) * (rope.head_dim() / 2);
  const std::size_t bytes = n * sizeof(float);
  KEYHOLE_ASSIGN_OR_RETURN(rope_, DeviceBuffer::Allocate(stream, 2 * bytes));
  auto* cos = rope_.data<float>();
  KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream, cos, rows.cos, bytes));
  KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream, cos + n, rows.sin, bytes));
  KEYHOLE_RETURN_IF_ERROR(stream.Synchronize());
  return RopeRows{cos, cos + n, rows.attention_factor};
}

absl::StatusOr<std::unique_ptr<DeviceModel>> DeviceModel::Create(
    const Stream& stream,
    const ModelShard& shard,
    const DeviceWeights& weights,
    const DigestMaps* maps,
    const RopeTable& rope,
    const DeviceModelSettings& settings) {
  const ModelConfig& config = shard.config;
  const auto n_heads = static_cast<std::int32_t>(config.n_heads);
  const auto n_kv_heads = static_cast<std::int32_t>(config.n_kv_heads);
  std::unique_ptr<DeviceModel> model(new DeviceModel(stream, settings.ranks));
  try {
    const auto n_layers = static_cast<std::int64_t>(weights.layers().size());
    KEYHOLE_RETURN_IF_ERROR(model->MakeKv(stream, config, n_layers, settings));
    KEYHOLE_ASSIGN_OR_RETURN(const RopeRows rows, model->CopyRope(stream, rope));
    if (maps != nullptr) {
      model->maps_.emplace(stream, *maps);
      const DigestLayout layout = model->maps_->layout(settings.page_size);
      KEYHOLE_ASSIGN_OR_RETURN(
          model->digests_, DeviceBuffer::Allocate(stream, layout.page_bytes() * settings.n_pages));
    }
    model->attention_.emplace(
        DeviceAttentionShape{.n_heads = n_heads,
                             .all_heads = n_heads * shard.shard.size,
                             .all_kv_heads = n_kv_heads * shard.shard.size,
                             .n_pages = settings.n_pages,
                             .n_sequences = settings.n_sequences,
                             .settings = settings.attention,
                             .selection = settings.selection},
        DeviceAttentionParts{.stream = &stream,
                             .kv = model->kv_.get(),
                             .host = model->host_.get(),
                             .rope = rows,
                             .maps = maps == nullptr ? nullptr : &*model->maps_,
                             .digests = model->digests()});
    model->llama_.emplace(DeviceLlamaParts{.stream = &stream,
                                           .weights = &weights,
                                           .attention = &*model->attention_,
                                           .shard = shard,
                                           .ranks = settings.ranks,
                                           .n_sequences = settings.n_sequences});
  } catch (const DeviceError& error) {
    return error.status();
  }
  return model;
}

}  // namespace keyhole::cuda
