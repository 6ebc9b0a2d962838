// Attention of a step over rows on the accelerator: append, select, fetch, attend, without the host
// between the step's begin and its end.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/attention/attention_settings.h"
#include "engine/attention/cuda/slice_rows.h"
#include "engine/attention/cuda/step_arguments.h"
#include "engine/batch/model_input.h"
#include "engine/device/event.h"
#include "engine/device/pinned_buffer.h"
#include "engine/kv/device_windows.h"
#include "engine/kv/resident_kv.h"
#include "engine/ops/cuda/hot_row_memory.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct DeviceAttentionShape {
  std::int32_t n_heads = 0;
  std::int32_t all_heads = 0;     // of all ranks, which selection looks at
  std::int32_t all_kv_heads = 0;  // the same
  std::int32_t n_pages = 0;       // of the host
  std::int32_t n_sequences = 0;   // that may run at once
  AttentionSettings settings = {};
  DeviceSelection selection = {};
};

// What it works with; all of it outlives the object. Rows of `kv` are resolved on the device.
struct DeviceAttentionParts {
  const Stream* stream = nullptr;
  ResidentKv* kv = nullptr;
  const HostStore* host = nullptr;         // null where every page is on the device
  RopeRows rope = {};                      // device memory: every position and distance
  const DeviceDigestMaps* maps = nullptr;  // null: nothing is scored
  std::uint8_t* digests = nullptr;         // device: of all pages, in the maps' layout
};

// f32 rows as packed in the step, device memory. Every layer of a step uses the same.
struct DeviceProjections {
  const float* q = nullptr;          // [n_tokens, n_heads, head_dim], un-rotated
  const float* k = nullptr;          // [n_tokens, n_kv_heads, head_dim], un-rotated
  const float* v = nullptr;          // [n_tokens, n_kv_heads, head_dim]
  float* out = nullptr;              // [n_tokens, n_heads * head_dim]
  std::uint16_t* rounded = nullptr;  // where given, the result goes there as bf16 instead

  // Of all ranks' heads; with one rank, q and k.
  const float* all_q = nullptr;  // [n_tokens, all_heads, head_dim]
  const float* all_k = nullptr;  // [n_tokens, all_kv_heads, head_dim]
};

// As SelectiveAttention over policies that score digests, all digests in full; attention within the
// tolerance of cuda::AttendRows. What comes out is the same, bit for bit, with every residency. A
// step is Begin, QueueLayer for each layer in order, End. The host waits in Begin where a page that
// has to go is still on its way to the host, and in End for pages that came from it; elsewhere
// never.
// Owner: the model. Thread: executor only. Throws DeviceError where it says nothing else.
class DeviceAttention {
 public:
  // Errors (DeviceError): those of device memory.
  DeviceAttention(const DeviceAttentionShape& shape, const DeviceAttentionParts& parts);
  ~DeviceAttention();

  // Plans the step and brings its pages to the device. Sequences whose status in `result` is not OK
  // get zeros and append nothing; those that read more rows of one layer than the device has room
  // for beside the others, who read fewer, become RESOURCE_EXHAUSTED. Adds to selected_rows.
  // Errors: RESOURCE_EXHAUSTED where the step holds more pages than the device has room for; those
  // of copies. Then the step is over. Where it throws, End(false) is due.
  absl::Status Begin(const ModelInput& input,
                     const DeviceProjections& projections,
                     StepResult& result);

  // What QueueLayer's launches depend on. Equal arguments: a captured step may be launched again.
  const StepArguments& arguments() const { return arguments_; }

  // Whether the layer chooses rows and reads all_k, and whether this step scores, with all_q.
  bool selects(std::int32_t layer) const {
    return parts_.maps != nullptr && parts_.maps->layer(layer).slot >= 0;
  }
  bool scores() const { return arguments_.top_k.n_sequences > 0; }

  // Device memory: of the rows that the step has chosen in all layers, where ranks compare them
  // (all_heads is not n_heads); else null.
  const std::uint64_t* selection_hash() const { return hash_.data<std::uint64_t>(); }

  // Queues kernels and does nothing else, so that it can be captured.
  void QueueLayer(std::int32_t layer) const {
    arguments_.Queue(layer, parts_.maps, *parts_.stream);
  }

  // Writes back pages that became full, releases all. `ran`: every layer was queued. Errors: of
  // copies; then the step does not count and may be run again. Throws no DeviceError, so that it
  // may follow one.
  absl::Status End(bool ran);

  // The sequence will not come again.
  void EndSequence(RequestId id);

  // Selected rows of all steps but the last; zeros where every page is on the device.
  const FetchStats& fetch_stats() const { return fetch_stats_; }

  // Nobody has the page any more. REQUIRES: no step runs.
  void ForgetPage(PageId page) { parts_.kv->Forget(page); }

 private:
  // Device memory of one sequence, while a step is planned.
  struct Tables {
    DevicePageTable pages;               // by page id: digests, and rows on the host
    DevicePageTable slots;               // by slot of the arena, of held pages: rows that are near
    const std::int32_t* rows = nullptr;  // [n_chosen]
    std::int32_t* chosen = nullptr;      // the same where they are scored
    std::int32_t* places = nullptr;      // [n_chosen]
    KeyRing window = {};                 // of layer 0; rectified positions only
    RowRange fresh = {};                 // rows of the window that have to be written
  };
  struct Selecting;  // sequences whose rows are scored
  struct Probes {
    std::int32_t span = 0;
    std::int32_t count = 0;
  };
  struct Rotated {
    float* near = nullptr;
    float* selected = nullptr;
    float* initial = nullptr;
    float* keys = nullptr;  // native positions
  };

  void TakeRead();
  void TakeSlices(const ModelInput& input, StepResult& result);
  void RefuseWideReaders(StepResult& result) const;
  absl::Status Hold();
  void UploadPageTables();
  void CountRows(StepResult& result) const;
  void ClearOutputs(const SequenceSlice& slice, const DeviceProjections& projections) const;
  void PlanRotations(const ModelInput& input, const DeviceProjections& projections);
  void PlanAppends(const DeviceProjections& projections);
  void PlaceRows();
  Probes ProbesOf(const SliceRows& rows) const;
  std::int32_t QueriesPerProbe() const;
  void AddSelecting(std::size_t i,
                    const DeviceProjections& projections,
                    Workspace::Block& scratch,
                    Selecting& selecting) const;
  void PlanSelection(const DeviceProjections& projections);
  void PlanWindows();
  void PlanReading(bool selects, const DeviceProjections& projections);
  void Release(bool ran);
  bool split() const { return shape_.all_heads != shape_.n_heads; }
  bool rectified() const { return shape_.settings.positions == PositionMode::kRectified; }
  float SoftmaxScale() const;
  std::int32_t head_dim() const { return layout_.head_dim; }

  DeviceAttentionShape shape_;
  DeviceAttentionParts parts_;
  KvLayout layout_;
  HotRowMemory hot_;
  bool hot_void_ = false;                 // a step failed whose rows may be missing
  DeviceBuffer hash_;                     // one number
  std::optional<DeviceWindows> windows_;  // rectified positions only
  PinnedBuffer read_;                     // what the last step read
  std::optional<Event> read_copied_;      // unset where every page is on the device
  bool read_pending_ = false;
  FetchStats fetch_stats_;

  // One for each kind of launch, so that its arguments stay where they are.
  struct Memory {
    explicit Memory(const Stream& stream);
    Workspace pages, slots, indices, bias, rotated, append, digests, compress, score, pool, top_k;
    Workspace window, rows, scores, voided;
    Workspace moves[2], resolve[2], attend[2];  // of layers that select, and of those that do not
  };
  Memory memory_;

  // Of the step.
  std::vector<SliceRows> slices_;
  std::vector<Tables> tables_;
  std::vector<PageId> held_;
  std::vector<PageId> full_;
  QueryDistances distances_;
  Rotated rotated_;
  const float* far_bias_ = nullptr;
  StepArguments arguments_;
};

}  // namespace keyhole::cuda
