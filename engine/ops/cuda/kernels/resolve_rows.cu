#include "engine/ops/cuda/kernels/resolve_rows.h"

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarpLanes;

// Sum of x over the threads before this one; `total` becomes that over all.
__device__ std::int32_t BlockPrefix(std::int32_t x, std::int32_t& total) {
  __shared__ std::int32_t warps[kWarps];
  const int warp = threadIdx.x / kWarpLanes;
  const std::int32_t in_warp = WarpPrefix(x);
  __syncthreads();  // until the last call's sums were read
  if (threadIdx.x % kWarpLanes == kWarpLanes - 1) warps[warp] = in_warp + x;
  __syncthreads();
  std::int32_t before = 0;
  total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += warps[w];
    total += warps[w];
  }
  return before + in_warp;
}

// A claim says which of the call's rows, the first of equal ones, the slot is for.
__device__ std::int32_t ClaimOf(std::int32_t index) { return -1 - index; }

// One layer's slots, resolved by one block.
struct Resolver {
  const ResolveRowsArgs& args;
  std::int32_t* rows;
  std::int32_t* marks;
  std::int32_t first_place;
  std::int32_t batch;

  __device__ std::int32_t NumberOf(const ResolveSequence& sequence, std::int32_t i) const {
    const std::int32_t row = sequence.rows[i];
    const std::int32_t page = row / args.tables.page_size;
    const std::int32_t in_page = row - page * args.tables.page_size;
    return (sequence.pages[page] * args.tables.n_layers + args.layer) * args.tables.page_size +
           in_page;
  }

  // Rows that are there get their places, the others claim a slot: places hold the claim until
  // there is one. Returns whether the row's page is on the device.
  __device__ bool FindOrClaim(const ResolveSequence& sequence, std::int32_t i) const {
    const std::int32_t row = sequence.rows[i];
    const std::int32_t page = row / args.tables.page_size;
    const std::int32_t page_slot = args.tables.page_slots[sequence.pages[page]];
    if (page_slot >= 0) {
      args.tables.read_pages[page_slot] = 1;
      sequence.places[i] = (page_slot * args.tables.n_layers + args.layer) * args.tables.page_size +
                           row - page * args.tables.page_size;
      return true;
    }
    std::int32_t* slot = args.tables.slots + NumberOf(sequence, i);
    const std::int32_t claim = ClaimOf(sequence.first + i);
    const std::int32_t before = atomicMax(slot, claim);
    if (before >= 0) marks[before] = batch;
    sequence.places[i] = before >= 0 ? first_place + before : claim;
    return false;
  }

  __device__ void Count(std::int32_t n_in_pages, std::int32_t n_fetched) const {
    std::int32_t all_in_pages = 0;
    BlockPrefix(n_in_pages, all_in_pages);
    if (threadIdx.x != 0) return;
    const ResolveSequence& last = args.sequences[args.n_sequences - 1];
    args.tables.counts->n_rows += last.first + last.n;
    args.tables.counts->n_in_pages += all_in_pages;
    args.tables.counts->n_fetched += n_fetched;
  }

  // Gathers the rows whose claims won, in their order. Returns how many.
  __device__ std::int32_t ListMisses() const {
    std::int32_t n = 0;
    for (std::int32_t s = 0; s < args.n_sequences; ++s) {
      const ResolveSequence& sequence = args.sequences[s];
      for (std::int32_t begin = 0; begin < sequence.n; begin += kThreads) {
        const std::int32_t i = begin + static_cast<std::int32_t>(threadIdx.x);
        bool won = false;
        std::int32_t number = 0;
        if (i < sequence.n && sequence.places[i] < 0) {
          number = NumberOf(sequence, i);
          won = args.tables.slots[number] == ClaimOf(sequence.first + i);
        }
        std::int32_t total = 0;
        const std::int32_t before = BlockPrefix(static_cast<std::int32_t>(won), total);
        if (won) args.from[n + before] = number;
        n += total;
      }
    }
    return n;
  }

  // The hand goes round: slots of this call stay, slots used since it came by last lose their mark,
  // the others are taken. Side by side as if one after another: a thread's slot is looked at where
  // those before it in the window did not give enough.
  __device__ void TakeSlots(std::int32_t wanted) const {
    const std::int32_t n_slots = args.tables.n_hot_rows;
    const std::int32_t window = n_slots < kThreads ? n_slots : kThreads;
    const auto thread = static_cast<std::int32_t>(threadIdx.x);
    std::int32_t hand = args.tables.clocks[args.layer].hand;
    for (std::int32_t taken = 0; taken < wanted;) {
      const std::int32_t slot = (hand + thread) % n_slots;
      const std::int32_t mark = thread < window ? marks[slot] : batch;
      std::int32_t total = 0;
      const std::int32_t before = BlockPrefix(static_cast<std::int32_t>(mark == 0), total);
      const bool seen = thread < window && taken + before < wanted;
      if (seen && mark == 0) {
        marks[slot] = batch;
        args.to[taken + before] = slot;
      } else if (seen && mark != batch) {
        marks[slot] = 0;
      }
      std::int32_t n_seen = 0;
      BlockPrefix(static_cast<std::int32_t>(seen), n_seen);
      taken += total < wanted - taken ? total : wanted - taken;
      hand = (hand + n_seen) % n_slots;
    }
    __syncthreads();
    if (threadIdx.x == 0) args.tables.clocks[args.layer] = {hand, batch};
  }

  __device__ void Replace(std::int32_t n) const {
    for (std::int32_t i = threadIdx.x; i < n; i += kThreads) {
      const std::int32_t slot = args.to[i];
      if (rows[slot] >= 0) args.tables.slots[rows[slot]] = kNoRow;
      rows[slot] = args.from[i];
      args.tables.slots[args.from[i]] = slot;
      args.to[i] = first_place + slot;
    }
  }
};

// grid: one block.
__global__ void __launch_bounds__(kThreads) ResolveRowsKernel(ResolveRowsArgs args) {
  const std::int64_t first = std::int64_t{args.layer} * args.tables.n_hot_rows;
  const Resolver resolver = {
      .args = args,
      .rows = args.tables.rows + first,
      .marks = args.tables.marks + first,
      .first_place = args.tables.first_hot_row + args.layer * args.tables.n_hot_rows,
      .batch = args.tables.clocks[args.layer].batch + 1};
  std::int32_t n_in_pages = 0;  // of this thread's rows
  for (std::int32_t s = 0; s < args.n_sequences; ++s) {
    const ResolveSequence& sequence = args.sequences[s];
    for (std::int32_t i = threadIdx.x; i < sequence.n; i += kThreads) {
      n_in_pages += static_cast<std::int32_t>(resolver.FindOrClaim(sequence, i));
    }
  }
  __syncthreads();
  const std::int32_t n = resolver.ListMisses();
  __syncthreads();
  if (threadIdx.x == 0) *args.n_moves = n;
  resolver.Count(n_in_pages, n);
  resolver.TakeSlots(n);
  __syncthreads();
  resolver.Replace(n);
  __syncthreads();
  for (std::int32_t s = 0; s < args.n_sequences; ++s) {
    const ResolveSequence& sequence = args.sequences[s];
    for (std::int32_t i = threadIdx.x; i < sequence.n; i += kThreads) {
      if (sequence.places[i] >= 0) continue;
      const std::int32_t slot = args.tables.slots[resolver.NumberOf(sequence, i)];
      sequence.places[i] = resolver.first_place + slot;
    }
  }
}

constexpr int kForgetThreads = 128;

// A thread looks at one row number. grid: row numbers of a page; pages.
__global__ void __launch_bounds__(kForgetThreads) ForgetPagesKernel(ForgetPagesArgs args) {
  const HotRowTables& tables = args.tables;
  const std::int32_t per_page = tables.n_layers * tables.page_size;
  const std::int32_t in_page = blockIdx.x * kForgetThreads + threadIdx.x;
  if (in_page >= per_page) return;
  std::int32_t& slot = tables.slots[args.pages[blockIdx.y] * per_page + in_page];
  if (slot < 0) return;
  const std::int64_t at = std::int64_t{in_page / tables.page_size} * tables.n_hot_rows + slot;
  tables.rows[at] = kNoRow;
  tables.marks[at] = 0;
  slot = kNoRow;
}

}  // namespace

cudaError_t LaunchResolveRows(const ResolveRowsArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0) return cudaSuccess;
  return Launch(ResolveRowsKernel, dim3(1), kThreads, stream, args);
}

cudaError_t LaunchForgetPages(const ForgetPagesArgs& args, cudaStream_t stream) {
  if (args.n_pages == 0 || args.tables.n_hot_rows == 0) return cudaSuccess;
  const std::int32_t per_page = args.tables.n_layers * args.tables.page_size;
  const dim3 grid(CeilDiv(per_page, kForgetThreads), args.n_pages);
  return Launch(ForgetPagesKernel, grid, kForgetThreads, stream, args);
}

}  // namespace keyhole::cuda
