#include "engine/ops/cuda/kernels/resolve_rows.h"

#include "engine/ops/cuda/kernels/lists.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

// A claim says which of the call's rows, the first of equal ones, the slot is for.
__device__ std::int32_t ClaimOf(std::int32_t index) { return -1 - index; }

__device__ std::int32_t RowsOfCall(const ResolveRowsArgs& args) {
  const ResolveSequence& last = args.sequences[args.n_sequences - 1];
  return last.first + last.n;
}

__device__ std::int32_t FirstHotRow(const ResolveRowsArgs& args) {
  return args.tables.first_hot_row + args.layer * args.tables.n_hot_rows;
}

// The sequence that has a row of the call.
__device__ const ResolveSequence& SequenceOf(const ResolveRowsArgs& args, std::int32_t index) {
  int low = 0;
  for (int high = args.n_sequences; high - low > 1;) {
    const int middle = (low + high) / 2;
    if (args.sequences[middle].first <= index) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return args.sequences[low];
}

enum class Found { kInPage, kHot, kNowhere };

// A row that is there gets its place, another claims a slot.
__device__ Found FindOrClaim(const ResolveRowsArgs& args, std::int32_t index, MissingRow& missing) {
  const HotRowTables& tables = args.tables;
  const ResolveSequence& sequence = SequenceOf(args, index);
  const std::int32_t row = sequence.rows[index - sequence.first];
  std::int32_t* place = sequence.places + (index - sequence.first);
  const std::int32_t page = row / tables.page_size;
  const std::int32_t in_page = row - page * tables.page_size;
  const std::int32_t id = sequence.pages[page];
  const std::int32_t page_slot = tables.page_slots[id];
  if (page_slot >= 0) {
    tables.read_pages[page_slot] = 1;
    *place = (page_slot * tables.n_layers + args.layer) * tables.page_size + in_page;
    return Found::kInPage;
  }
  const std::int32_t number = (id * tables.n_layers + args.layer) * tables.page_size + in_page;
  const std::int32_t slot = atomicMax(tables.slots + number, ClaimOf(index));
  if (slot < 0) {
    missing = {place, number, index};
    return Found::kNowhere;
  }
  tables.marks[std::int64_t{args.layer} * tables.n_hot_rows + slot] =
      tables.clocks[args.layer].batch + 1;
  *place = FirstHotRow(args) + slot;
  return Found::kHot;
}

// grid: blocks of the call's rows.
__global__ void __launch_bounds__(kResolveRows) FindRowsKernel(ResolveRowsArgs args) {
  __shared__ std::int32_t scratch[kResolveRows / kWarpLanes];
  const std::int32_t first = blockIdx.x * kResolveRows;
  const std::int32_t n = RowsOfCall(args);
  if (first >= n) return;
  const std::int32_t index = first + static_cast<std::int32_t>(threadIdx.x);
  MissingRow missing = {};
  const Found found = index < n ? FindOrClaim(args, index, missing) : Found::kHot;
  // Both counts in one number.
  const std::int32_t count = found == Found::kNowhere ? 1 : found == Found::kInPage ? 1 << 16 : 0;
  std::int32_t total = 0;
  const std::int32_t before = BlockPrefix<kResolveRows>(count, total, scratch) & 0xFFFF;
  if (found == Found::kNowhere) args.missing[first + before] = missing;
  if (threadIdx.x != 0) return;
  if (args.n_missing != nullptr) args.n_missing[blockIdx.x] = total & 0xFFFF;
  atomicAdd(&args.tables.counts->n_rows, n - first < kResolveRows ? n - first : kResolveRows);
  atomicAdd(&args.tables.counts->n_in_pages, total >> 16);
}

constexpr int kThreads = 1024;
constexpr int kEach = 4;  // rows, or slots, that a thread has on their way at once

// One layer's slots, given out by one block.
struct SlotGiver {
  const ResolveRowsArgs& args;
  std::int32_t* rows;
  std::int32_t* marks;
  std::int32_t batch;

  __device__ Lists<MissingRow> Missing() const {
    return {args.missing, args.n_missing, CeilDiv(RowsOfCall(args), kResolveRows), kResolveRows};
  }

  // Gathers the rows whose claims won, in their order. Returns how many.
  __device__ std::int32_t ListMisses() const {
    __shared__ std::int32_t scratch[kThreads / kWarpLanes];
    std::int32_t n = 0;
    ForEachRun<kThreads, kEach>(Missing(), [&](const MissingRow(&run)[kEach]) {
      bool won[kEach];
      std::int32_t n_won = 0;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        won[i] =
            run[i].place != nullptr && args.tables.slots[run[i].number] == ClaimOf(run[i].index);
        n_won += static_cast<std::int32_t>(won[i]);
      }
      std::int32_t total = 0;
      std::int32_t* from = args.from + n + BlockPrefix<kThreads>(n_won, total, scratch);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (won[i]) *from++ = run[i].number;
      }
      n += total;
      return true;
    });
    return n;
  }

  // The hand goes round: slots of this call stay, slots used since it came by last lose their mark,
  // the others are taken. Side by side as if one after another: a slot is looked at where those
  // before it in the window did not give enough.
  __device__ void TakeSlots(std::int32_t wanted) const {
    __shared__ std::int32_t scratch[kThreads / kWarpLanes];
    __shared__ std::int32_t n_seen;  // of the last window
    const std::int32_t n_slots = args.tables.n_hot_rows;
    const std::int32_t window = n_slots < kThreads * kEach ? n_slots : kThreads * kEach;
    const std::int32_t begin = static_cast<std::int32_t>(threadIdx.x) * kEach;
    std::int32_t hand = args.tables.clocks[args.layer].hand;
    for (std::int32_t taken = 0; taken < wanted;) {
      std::int32_t slots[kEach];
      std::int32_t seen[kEach];  // their marks
      std::int32_t n_free = 0;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        slots[i] = hand + begin + i;
        if (slots[i] >= n_slots) slots[i] -= n_slots;
        seen[i] = begin + i < window ? marks[slots[i]] : batch;
        n_free += static_cast<std::int32_t>(seen[i] == 0);
      }
      std::int32_t total = 0;
      std::int32_t at = taken + BlockPrefix<kThreads>(n_free, total, scratch);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (at >= wanted || seen[i] == batch) continue;
        marks[slots[i]] = seen[i] == 0 ? batch : 0;
        if (seen[i] != 0) continue;
        args.to[at++] = slots[i];
        if (at == wanted) n_seen = begin + i + 1;
      }
      taken += total;
      __syncthreads();
      hand = (hand + (taken < wanted ? window : n_seen)) % n_slots;
    }
    __syncthreads();
    if (threadIdx.x == 0) args.tables.clocks[args.layer] = {hand, batch};
  }

  __device__ void Replace(std::int32_t n) const {
    std::int32_t* slots = args.tables.slots;
    for (std::int32_t first = threadIdx.x; first < n; first += kThreads * kEach) {
      std::int32_t slot[kEach];
      std::int32_t number[kEach];
      std::int32_t old[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const std::int32_t at = first + i * kThreads;
        slot[i] = at < n ? args.to[at] : -1;
        number[i] = at < n ? args.from[at] : kNoRow;
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) old[i] = slot[i] < 0 ? kNoRow : rows[slot[i]];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (slot[i] < 0) continue;
        if (old[i] >= 0) slots[old[i]] = kNoRow;
        rows[slot[i]] = number[i];
        slots[number[i]] = slot[i];
        args.to[first + i * kThreads] = FirstHotRow(args) + slot[i];
      }
    }
  }

  __device__ void Place() const {
    ForEachRun<kThreads, kEach>(Missing(), [&](const MissingRow(&run)[kEach]) {
      std::int32_t slot[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        slot[i] = run[i].place == nullptr ? 0 : args.tables.slots[run[i].number];
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (run[i].place != nullptr) *run[i].place = FirstHotRow(args) + slot[i];
      }
      return true;
    });
  }
};

// grid: one block.
__global__ void __launch_bounds__(kThreads, 1) GiveSlotsKernel(ResolveRowsArgs args) {
  const std::int64_t first = std::int64_t{args.layer} * args.tables.n_hot_rows;
  const SlotGiver giver = {.args = args,
                           .rows = args.tables.rows + first,
                           .marks = args.tables.marks + first,
                           .batch = args.tables.clocks[args.layer].batch + 1};
  const std::int32_t n = giver.ListMisses();
  if (threadIdx.x == 0) {
    *args.n_moves = n;
    args.tables.counts->n_fetched += n;
  }
  giver.TakeSlots(n);
  __syncthreads();
  giver.Replace(n);
  __syncthreads();
  giver.Place();
}

constexpr int kForgetThreads = 128;

// A thread looks at one row number. grid: pages, of which there may be any number; row numbers of a
// page.
__global__ void __launch_bounds__(kForgetThreads) ForgetPagesKernel(ForgetPagesArgs args) {
  const HotRowTables& tables = args.tables;
  const std::int32_t per_page = tables.n_layers * tables.page_size;
  const std::int32_t in_page = blockIdx.y * kForgetThreads + threadIdx.x;
  if (in_page >= per_page) return;
  std::int32_t& slot = tables.slots[args.pages[blockIdx.x] * per_page + in_page];
  if (slot < 0) return;
  const std::int64_t at = std::int64_t{in_page / tables.page_size} * tables.n_hot_rows + slot;
  tables.rows[at] = kNoRow;
  tables.marks[at] = 0;
  slot = kNoRow;
}

}  // namespace

cudaError_t LaunchResolveRows(const ResolveRowsArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_rows == 0) return cudaSuccess;
  const dim3 blocks(CeilDiv(args.max_rows, kResolveRows));
  const cudaError_t error = Launch(FindRowsKernel, blocks, kResolveRows, stream, args);
  if (error != cudaSuccess || args.tables.n_hot_rows == 0) return error;
  return Launch(GiveSlotsKernel, dim3(1), kThreads, stream, args);
}

cudaError_t LaunchForgetPages(const ForgetPagesArgs& args, cudaStream_t stream) {
  if (args.n_pages == 0 || args.tables.n_hot_rows == 0) return cudaSuccess;
  const std::int32_t per_page = args.tables.n_layers * args.tables.page_size;
  const dim3 grid(args.n_pages, CeilDiv(per_page, kForgetThreads));
  return Launch(ForgetPagesKernel, grid, kForgetThreads, stream, args);
}

}  // namespace keyhole::cuda
