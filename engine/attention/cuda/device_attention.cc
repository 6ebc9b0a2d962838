#include "engine/attention/cuda/device_attention.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/status_macros.h"

namespace keyhole::cuda {
namespace {

using Copies = Workspace::Copies;

}  // namespace

DeviceAttention::Memory::Memory(const Stream& stream)
    : pages(stream, Copies::kOne),
      slots(stream, Copies::kOne),
      indices(stream, Copies::kOne),
      bias(stream, Copies::kOne),
      rotated(stream, Copies::kOne),
      append(stream, Copies::kOne),
      digests(stream, Copies::kOne),
      compress(stream, Copies::kOne),
      score(stream, Copies::kOne),
      pool(stream, Copies::kOne),
      top_k(stream, Copies::kOne),
      window(stream, Copies::kOne),
      rows(stream, Copies::kOne),
      scores(stream, Copies::kOne),
      voided(stream),
      moves{Workspace(stream, Copies::kOne), Workspace(stream, Copies::kOne)},
      resolve{Workspace(stream, Copies::kOne), Workspace(stream, Copies::kOne)},
      attend{Workspace(stream, Copies::kOne), Workspace(stream, Copies::kOne)} {}

DeviceAttention::DeviceAttention(const DeviceAttentionShape& shape,
                                 const DeviceAttentionParts& parts)
    : shape_(shape),
      parts_(parts),
      layout_(parts.kv->arena().layout()),
      hot_(*parts.stream, parts.kv->arena(), parts.kv->plan(), shape.n_pages),
      memory_(*parts.stream) {
  if (rectified()) {
    windows_ = ValueOrThrow(DeviceWindows::Create(
        *parts.stream,
        layout_,
        {.capacity = shape.settings.window_rows(), .n_sequences = shape.n_sequences}));
  }
  if (split()) hash_ = ValueOrThrow(DeviceBuffer::Allocate(*parts.stream, sizeof(std::uint64_t)));
  if (parts.kv->plan().spills) {
    read_ = ValueOrThrow(PinnedBuffer::Allocate(hot_.read_words() * sizeof(std::int32_t)));
    read_copied_ = ValueOrThrow(Event::Create());
  }
}

DeviceAttention::~DeviceAttention() = default;

absl::Status DeviceAttention::Begin(const ModelInput& input,
                                    const DeviceProjections& projections,
                                    StepResult& result) {
  TakeRead();
  if (hot_void_) hot_.Reset();
  hot_void_ = false;
  TakeSlices(input, result);
  for (std::size_t i = 0; i < input.sequences.size(); ++i) {
    if (result.sequences[i].status.ok()) continue;
    ClearOutputs(input.sequences[i], projections);
  }
  KEYHOLE_RETURN_IF_ERROR(Hold());
  UploadPageTables();
  ThrowIfFailed(FillAsync(*parts_.stream, hash_.data(), 0, hash_.size()));
  arguments_ = {};
  PlanRotations(input, projections);
  PlanAppends(projections);
  PlaceRows();
  PlanSelection(projections);
  PlanWindows();
  PlanReading(true, projections);
  PlanReading(false, projections);
  arguments_.RoundUp();
  CountRows(result);
  return absl::OkStatus();
}

void DeviceAttention::ClearOutputs(const SequenceSlice& slice,
                                   const DeviceProjections& projections) const {
  const std::size_t row = static_cast<std::size_t>(shape_.n_heads) * head_dim();
  const std::size_t first = slice.q_begin * row;
  const std::size_t n = slice.q_len * row;
  ThrowIfFailed(
      projections.rounded == nullptr
          ? FillAsync(*parts_.stream, projections.out + first, 0, n * sizeof(float))
          : FillAsync(*parts_.stream, projections.rounded + first, 0, n * sizeof(std::uint16_t)));
}

void DeviceAttention::TakeSlices(const ModelInput& input, StepResult& result) {
  slices_.clear();
  for (std::size_t i = 0; i < input.sequences.size(); ++i) {
    if (!result.sequences[i].status.ok()) continue;
    slices_.push_back(
        RowsOf(shape_.settings, shape_.selection, parts_.maps != nullptr, input.sequences[i]));
    slices_.back().index = static_cast<std::int32_t>(i);
  }
  RefuseWideReaders(result);
  std::erase_if(slices_,
                [&](const SliceRows& rows) { return !result.sequences[rows.index].status.ok(); });
}

// A request may ask for as many rows as it likes: that must not fail those beside it.
void DeviceAttention::RefuseWideReaders(StepResult& result) const {
  if (!parts_.kv->plan().spills) return;
  std::vector<const SliceRows*> readers;
  for (const SliceRows& rows : slices_) readers.push_back(&rows);
  std::stable_sort(readers.begin(), readers.end(), [](const auto* a, const auto* b) {
    return a->n_chosen < b->n_chosen;
  });
  const std::int64_t room = parts_.kv->plan().n_hot_rows;
  std::int64_t n_rows = 0;
  for (const SliceRows* rows : readers) {
    n_rows += rows->n_chosen;
    if (n_rows <= room) continue;
    result.sequences[rows->index].status = absl::ResourceExhaustedError(
        absl::StrCat("a sequence reads ",
                     rows->n_chosen,
                     " rows of the middle in one layer; all of a step may fetch ",
                     room));
  }
}

// What the device read in the last step counts as used, before pages have to go.
void DeviceAttention::TakeRead() {
  if (!read_pending_) return;
  ThrowIfFailed(read_copied_->Synchronize());
  const auto* read = reinterpret_cast<const std::int32_t*>(read_.data());
  parts_.kv->TouchRead(hot_.ReadPages(read));
  const ResolveCounts counts = hot_.ReadCounts(read);
  fetch_stats_.n_rows += counts.n_rows;
  fetch_stats_.n_in_pages += counts.n_in_pages;
  fetch_stats_.n_fetched += counts.n_fetched;
  read_pending_ = false;
}

absl::Status DeviceAttention::Hold() {
  std::vector<PageId> held;
  std::vector<PageId> written;
  full_.clear();
  for (const SliceRows& rows : slices_) {
    const SequenceSlice& slice = *rows.slice;
    const RowRange fresh = {slice.kv_len, slice.kv_len + slice.q_len};
    AppendPages(slice, rows.initial, layout_.page_size, held);
    AppendPages(slice, rows.near, layout_.page_size, held);
    AppendPages(slice, fresh, layout_.page_size, written);
    const RowRange whole = {slice.kv_len, fresh.end / layout_.page_size * layout_.page_size};
    AppendPages(slice, whole, layout_.page_size, full_);
  }
  KEYHOLE_RETURN_IF_ERROR(parts_.kv->Hold(held));
  held_ = std::move(held);
  parts_.kv->Write(written);
  ForgetPages(hot_.tables(), parts_.kv->TakeVoided(), memory_.voided);
  hot_.SetPageSlots(parts_.kv->pages().slots());
  return absl::OkStatus();
}

// Those of all sequences, one after another.
void DeviceAttention::UploadPageTables() {
  std::vector<PageId> pages;
  for (const SliceRows& rows : slices_) {
    pages.insert(pages.end(), rows.slice->pages.begin(), rows.slice->pages.end());
  }
  std::vector<std::int32_t> slots(pages.size());
  parts_.kv->SlotsOf(pages, slots);
  const PageId* page = memory_.pages.Upload<PageId>(pages);
  const std::int32_t* slot = memory_.slots.Upload<std::int32_t>(slots);
  tables_.assign(slices_.size(), {});
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const auto n = static_cast<std::int32_t>(slices_[i].slice->pages.size());
    tables_[i].pages = {page, n};
    tables_[i].slots = {slot, n};
    page += n;
    slot += n;
  }
}

void DeviceAttention::CountRows(StepResult& result) const {
  for (std::int32_t layer = 0; layer < layout_.n_layers; ++layer) {
    for (const SliceRows& rows : slices_) {
      if (rows.choice == Choice::kScored && !selects(layer)) continue;
      result.sequences[rows.index].selected_rows += rows.n_chosen;
    }
  }
}

absl::Status DeviceAttention::End(bool ran) {
  absl::Status status = parts_.kv->Settle();
  if (status.ok() && ran) status = parts_.kv->Save(full_);
  if (ran && read_copied_.has_value()) {
    status.Update(hot_.TakeRead(reinterpret_cast<std::int32_t*>(read_.data())));
    status.Update(read_copied_->Record(*parts_.stream));
    read_pending_ = status.ok();
  }
  // A copy to the host that failed is made again; nothing is lost unless the device is.
  const absl::Status collected = parts_.kv->Collect();
  if (IsSticky(collected)) status.Update(collected);
  Release(ran && status.ok());
  return status;
}

void DeviceAttention::Release(bool ran) {
  parts_.kv->Release(held_);
  held_.clear();
  if (ran) return;
  hot_void_ = true;  // not reset here: that is another call to a device that may be lost
  if (!windows_.has_value()) return;
  for (const SliceRows& rows : slices_) windows_->Close(rows.slice->id);
}

void DeviceAttention::EndSequence(RequestId id) {
  if (windows_.has_value()) windows_->Close(id);
}

}  // namespace keyhole::cuda
