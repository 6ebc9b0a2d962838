// The Llama family on the accelerator with all its memory, for an engine to drive.
#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/device/device_error.h"
#include "engine/device/gpu.h"
#include "engine/model/accelerator_model.h"
#include "engine/model/cuda/accelerator_memory.h"
#include "engine/model/cuda/device_model.h"
#include "engine/model/kv_layout_of.h"
#include "engine/model/model_shard.h"
#include "engine/model/rope_table.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

cuda::DeviceSelection SelectionOf(const AcceleratorSettings& settings) {
  const PolicyParts& parts = settings.selection;
  cuda::DeviceSelection selection;
  selection.middle = settings.policy.middle;
  const bool votes = settings.policy.score == ScoreRule::kVote;
  selection.score = votes ? cuda::ScoreRule::kVote : cuda::ScoreRule::kShift;
  selection.query_distance = parts.query_distance;
  selection.proximity = parts.proximity;
  selection.probes = parts.probes;
  selection.single_queries = parts.single_queries;
  return selection;
}

std::size_t DigestPageBytes(const DigestMaps* maps, std::int32_t page_size) {
  if (maps == nullptr) return 0;
  DigestLayout layout;
  layout.n_slots = CountSlots(*maps);
  layout.n_groups = maps->n_groups;
  layout.rank = maps->rank;
  layout.page_size = page_size;
  return layout.page_bytes();
}

class AcceleratedLlama final : public AcceleratorModel {
 public:
  AcceleratedLlama(Stream stream, cuda::DeviceWeights weights, DeviceCollectives* ranks)
      : stream_(std::move(stream)), weights_(std::move(weights)), ranks_(ranks) {}

  absl::Status Make(const ModelConfig& whole,
                    const ModelShard& shard,
                    const AcceleratorSettings& settings) {
    const ModelConfig& config = shard.config;
    const DigestMaps* maps = settings.selection.maps.get();
    const KvLayout layout = KvLayoutOf(config, settings.page_size, settings.kv);
    const std::size_t digest_bytes = DigestPageBytes(maps, settings.page_size);
    KEYHOLE_ASSIGN_OR_RETURN(const GpuInfo gpu, OpenGpu(0));
    const std::size_t step_bytes = cuda::StepBytes(shard, layout, settings);
    KEYHOLE_ASSIGN_OR_RETURN(
        cuda::AcceleratorMemory memory,
        cuda::ShareMemory(
            layout, digest_bytes, gpu.free_bytes - std::min(gpu.free_bytes, step_bytes), settings));
    if (ranks_ != nullptr) KEYHOLE_RETURN_IF_ERROR(AgreeOn(memory));
    cuda::DeviceModelSettings made;
    made.kv = settings.kv;
    made.page_size = settings.page_size;
    made.n_pages = memory.n_pages;
    made.n_sequences = settings.max_running;
    made.residency = settings.residency;
    made.device_bytes = memory.device_bytes;
    made.attention = settings.attention;
    made.selection = SelectionOf(settings);
    made.ranks = ranks_;
    const RopeTable rope(whole, settings.rope_positions);
    KEYHOLE_ASSIGN_OR_RETURN(model_,
                             cuda::DeviceModel::Create(stream_, shard, weights_, maps, rope, made));
    const ResidencyPlan& plan = model_->kv().plan();
    pages_.n_pages = memory.n_pages;
    pages_.page_bytes = static_cast<std::int64_t>(layout.page_bytes() + digest_bytes);
    pages_.n_host_pages = plan.spills ? memory.n_pages : 0;
    pages_.n_device_pages = plan.n_page_slots;
    pages_.row_bytes = static_cast<std::int64_t>(layout.row_bytes());
    return absl::OkStatus();
  }

  absl::StatusOr<std::span<const float>> Forward(const ModelInput& input,
                                                 StepResult& result) override {
    ForgetDiscarded();
    absl::StatusOr<cuda::DeviceOutputs> outputs = absl::InternalError("the step did not run");
    // However the step ends: nobody else hears of a device that is lost.
    const absl::Cleanup publish = [&] { Publish(outputs.status()); };
    outputs = RunOnce(input, result);
    // A copy may fail once, and a step that failed may be run again.
    if (ranks_ == nullptr && outputs.status().code() == absl::StatusCode::kInternal &&
        !IsSticky(outputs.status())) {
      for (SequenceResult& sequence : result.sequences) sequence.selected_rows = 0;
      outputs = RunOnce(input, result);
    }
    if (!outputs.ok()) return outputs.status();
    return outputs->logits;
  }

  std::size_t weight_bytes() const override { return weights_.bytes(); }

  void Discard(PageId page) override {
    const std::lock_guard lock(mutex_);
    discarded_.push_back(page);
  }

  AcceleratorPages pages() const override {
    const std::lock_guard lock(mutex_);
    return pages_;
  }

  absl::Status health() const override {
    const std::lock_guard lock(mutex_);
    return health_;
  }

  std::string TakeWarning() override {
    const absl::Status& failure = model_->llama().capture_failure();
    if (failure.ok() || std::exchange(warned_, true)) return {};
    return absl::StrCat("a step could not be captured, and is queued launch by launch: ",
                        std::string(failure.message()));
  }

 private:
  absl::StatusOr<cuda::DeviceOutputs> RunOnce(const ModelInput& input, StepResult& result) {
    const bool samples = ranks_ == nullptr || ranks_->shard().is_root();
    try {
      return model_->llama().Forward(
          input,
          samples ? cuda::DeviceLlama::Want::kLogits : cuda::DeviceLlama::Want::kTokens,
          result);
    } catch (const DeviceError& error) {
      return error.status();
    }
  }

  // What all ranks have room for: they must hold and refuse the same.
  absl::Status AgreeOn(cuda::AcceleratorMemory& memory) const {
    KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t n_pages, ranks_->Smallest(memory.n_pages));
    KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t bytes,
                             ranks_->Smallest(static_cast<std::int64_t>(memory.device_bytes)));
    memory.n_pages = static_cast<std::int32_t>(n_pages);
    memory.device_bytes = static_cast<std::size_t>(bytes);
    return absl::OkStatus();
  }

  void ForgetDiscarded() {
    std::vector<PageId> pages;
    {
      const std::lock_guard lock(mutex_);
      pages.swap(discarded_);
    }
    for (const PageId page : pages) model_->attention().ForgetPage(page);
  }

  void Publish(const absl::Status& status) {
    const DevicePages& slots = model_->kv().pages();
    const PageResidency& residency = model_->kv().residency();
    const std::lock_guard lock(mutex_);
    pages_.selected = model_->attention().fetch_stats();
    pages_.n_loaded = residency.n_loaded();
    pages_.n_spilled = residency.n_spilled();
    pages_.n_on_device = slots.n_slots() - slots.n_free();
    if (IsSticky(status)) health_ = status;
  }

  Stream stream_;
  cuda::DeviceWeights weights_;
  DeviceCollectives* ranks_;
  std::unique_ptr<cuda::DeviceModel> model_;
  bool warned_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::vector<PageId> discarded_;
  AcceleratorPages pages_;
  absl::Status health_;
};

}  // namespace

absl::Status CheckAccelerator(const PolicyTraits& policy) {
  if (policy.middle == MiddleRule::kBudget && !policy.digests.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat("the selection policy ", std::string(policy.name), " runs on the CPU only"));
  }
  return OpenGpu(0).status();
}

absl::StatusOr<std::unique_ptr<AcceleratorModel>> LoadAcceleratorModel(
    const WeightSource& source, const AcceleratorSettings& settings) {
  KEYHOLE_RETURN_IF_ERROR(CheckAccelerator(settings.policy));
  const ModelConfig& config = source.config();
  KEYHOLE_ASSIGN_OR_RETURN(
      const ModelShard shard,
      ShardModel(config, settings.ranks == nullptr ? Shard() : settings.ranks->shard()));
  KEYHOLE_ASSIGN_OR_RETURN(Stream stream, Stream::Create());
  KEYHOLE_ASSIGN_OR_RETURN(cuda::DeviceWeights weights,
                           cuda::DeviceWeights::Load(stream, source, shard, config.n_layers));
  auto model =
      std::make_unique<AcceleratedLlama>(std::move(stream), std::move(weights), settings.ranks);
  KEYHOLE_RETURN_IF_ERROR(model->Make(config, shard, settings));
  return model;
}

}  // namespace keyhole
