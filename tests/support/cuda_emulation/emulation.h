// Runs kernels on the CPU, one thread block after another, each thread of a block as a fiber.
//
// Threads run until they wait at a barrier or for their warp, in an order that a test chooses, so
// that a missing barrier shows as a wrong result in one order or another. A barrier that not all
// threads reach, and a warp operation that not all lanes take part in, end the process. Device
// memory is filled with NaNs when it is taken. Nothing here knows the project.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda_runtime_api.h"

namespace cuda_emulation {

struct Index {
  unsigned x = 0;
  unsigned y = 0;
  unsigned z = 0;
};

// In which order warps, and lanes of a warp, take turns.
enum class Order { kForward, kReverse, kShuffled };
void SetOrder(Order order);

// Runs `kernel` for every thread of every block. REQUIRES: a block is whole warps along x.
void RunGrid(Index grid, unsigned n_threads, const std::function<void()>& kernel);

// Does the work of a stream: at once, or each time the graph that captures it is launched. Returns
// a cudaError_t.
cudaError_t Queue(cudaStream_t stream, std::function<void()> work);

// What a graph takes of the device's memory while it is ready to be launched.
void SetGraphBytes(std::size_t bytes);

// The stream's work does not end: events recorded from now on are never done.
void Hang(cudaStream_t stream);

// How long a rank of the emulated NCCL waits for the others before its stream hangs, or, where it
// joins them, before it fails.
void SetNcclPatience(std::chrono::milliseconds patience);

void SyncBlock();

// What a lane gives to the others of its warp, at most this many bytes.
constexpr std::size_t kSlotBytes = 64;
using Slots = unsigned char (*)[kSlotBytes];

// Waits until all lanes of the warp have given theirs, in operations of the same `kind`. The result
// is valid until the lane's next exchange.
Slots Exchange(unsigned mask, int kind, const void* value, std::size_t size);

// Asynchronous copies of the running thread: in forward order done when they are waited for, in
// reverse order at once, else now so, now so.
void StartCopy(void* to, const void* from, std::size_t size);
void CommitCopies();
void WaitForCopies(int later);

// The calls to the runtime after the next `after` ones of their kind answer `error`, `count` of
// them. An error that destroys the context, such as an illegal address, stays: from then on every
// call answers it and no work is done, until RestoreContext. REQUIRES: nothing runs meanwhile.
enum class Call {
  kMalloc,
  kHostAlloc,
  kLaunch,
  kProduct,
  kSynchronize,
  kCopy,
  kInstantiate,
  kGraphLaunch,
};
constexpr int kCalls = 8;
struct Failures {
  int error = 0;
  int after = 0;
  int count = 0;
};
void FailCalls(Call call, const Failures& failures);
inline void FailCall(Call call, int error, int after = 0) { FailCalls(call, {error, after, 1}); }
void RestoreContext();

// For the runtime; 0: none.
int TakeFailure(Call call);
int LostContext();

unsigned Lane();
std::int64_t LaunchCount();

}  // namespace cuda_emulation
