#include "tests/support/cuda_emulation/emulation.h"

#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace cuda_emulation {
namespace {

constexpr unsigned kLanes = 32;
constexpr std::size_t kStackBytes = std::size_t{128} << 10;

[[noreturn]] void Fail(const char* problem) {
  std::fprintf(stderr,
               "emulated kernel: %s (block %u %u %u, thread %u)\n",
               problem,
               blockIdx.x,
               blockIdx.y,
               blockIdx.z,
               threadIdx.x);
  std::abort();
}

struct Copy {
  void* to;
  const void* from;
  std::size_t size;
};

void Run(const Copy& copy) { std::memcpy(copy.to, copy.from, copy.size); }

// As the compiler's own setjmp keeps it, which costs far less than the library's.
using Place = void* [5];

enum class State { kReady, kAtBarrier, kInWarp, kDone };

struct Fiber {
  ucontext_t start = {};
  Place resume = {};
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  bool started = false;
  State state = State::kReady;
  unsigned index = 0;
  int kind = 0;
  unsigned parity = 0;  // of the exchange: one lane is at most one exchange ahead of another
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

struct Warp {
  unsigned char slots[2][kLanes][kSlotBytes];
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  unsigned n_threads = 0;
  const std::function<void()>* kernel = nullptr;
  Fiber* running = nullptr;
  Place scheduler = {};
  Order order = Order::kForward;
  std::mt19937 random{1};
  std::int64_t n_launches = 0;
  Failures failures[kCalls] = {};
};

Machine machine;
std::atomic<int> lost_context = 0;  // the error that destroyed it

bool DestroysContext(int error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

// Apart, since a function must not leave a place and go to one.
[[noreturn, gnu::noinline]] void GoTo(Place& place) { __builtin_longjmp(place, 1); }

[[gnu::noinline]] void Yield() {
  if (__builtin_setjmp(machine.running->resume) == 0) GoTo(machine.scheduler);
}

// A copy may happen at any time between its start and the wait for it.
bool CopiesAtOnce() {
  if (machine.order == Order::kShuffled) return machine.random() % 2 == 0;
  return machine.order == Order::kReverse;
}

void FiberMain() {
  for (;;) {
    (*machine.kernel)();
    if (!machine.running->open.empty() || !machine.running->groups.empty()) {
      Fail("asynchronous copies were never waited for");
    }
    machine.running->state = State::kDone;
    Yield();
  }
}

[[gnu::noinline]] void Resume(Fiber& fiber) {
  machine.running = &fiber;
  threadIdx = {fiber.index, 0, 0};
  if (__builtin_setjmp(machine.scheduler) != 0) return;
  if (fiber.started) GoTo(fiber.resume);
  fiber.started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStackBytes;
  makecontext(&fiber.start, FiberMain, 0);
  setcontext(&fiber.start);
}

std::vector<unsigned> Turns(unsigned n) {
  std::vector<unsigned> turns(n);
  std::iota(turns.begin(), turns.end(), 0U);
  if (machine.order == Order::kReverse) std::reverse(turns.begin(), turns.end());
  if (machine.order == Order::kShuffled) {
    std::shuffle(turns.begin(), turns.end(), machine.random);
  }
  return turns;
}

// Lets the lanes go on that have all come to the same exchange.
bool ReleaseWarp(unsigned warp) {
  const auto first = machine.fibers.begin() + warp * kLanes;
  if (!std::all_of(first, first + kLanes, [](const auto& fiber) {
        return fiber->state == State::kInWarp;
      })) {
    return false;
  }
  for (auto fiber = first; fiber != first + kLanes; ++fiber) {
    if ((*fiber)->kind != (*first)->kind) Fail("lanes of a warp are in different operations");
    (*fiber)->state = State::kReady;
  }
  return true;
}

void RunWarp(unsigned warp) {
  const std::vector<unsigned> lanes = Turns(kLanes);
  do {
    for (const unsigned lane : lanes) {
      Fiber& fiber = *machine.fibers[warp * kLanes + lane];
      if (fiber.state == State::kReady) Resume(fiber);
    }
  } while (ReleaseWarp(warp));
}

void RunBlock() {
  for (unsigned i = 0; i < machine.n_threads; ++i) machine.fibers[i]->state = State::kReady;
  const auto count = [](State state) {
    return std::count_if(machine.fibers.begin(),
                         machine.fibers.begin() + machine.n_threads,
                         [state](const auto& fiber) { return fiber->state == state; });
  };
  for (;;) {
    for (const unsigned warp : Turns(machine.n_threads / kLanes)) RunWarp(warp);
    if (count(State::kDone) == machine.n_threads) return;
    if (count(State::kAtBarrier) != machine.n_threads) {
      Fail("some threads wait at a barrier or for their warp, others do not");
    }
    for (unsigned i = 0; i < machine.n_threads; ++i) machine.fibers[i]->state = State::kReady;
  }
}

}  // namespace

void SetOrder(Order order) { machine.order = order; }

void RunGrid(Index grid, unsigned n_threads, const std::function<void()>& kernel) {
  ++machine.n_launches;
  if (n_threads % kLanes != 0) Fail("a block is not whole warps");
  while (machine.fibers.size() < n_threads) {
    machine.fibers.push_back(std::make_unique<Fiber>());
    machine.fibers.back()->index = static_cast<unsigned>(machine.fibers.size()) - 1;
  }
  machine.warps.resize(std::max<std::size_t>(machine.warps.size(), n_threads / kLanes));
  machine.n_threads = n_threads;
  machine.kernel = &kernel;
  gridDim = dim3(grid.x, grid.y, grid.z);
  blockDim = dim3(n_threads);
  const bool reverse = machine.order == Order::kReverse;
  const std::int64_t n_blocks = std::int64_t{grid.x} * grid.y * grid.z;
  for (std::int64_t i = 0; i < n_blocks; ++i) {
    const auto block = static_cast<unsigned>(reverse ? n_blocks - 1 - i : i);
    blockIdx = {block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y};
    RunBlock();
  }
}

void SyncBlock() {
  machine.running->state = State::kAtBarrier;
  Yield();
}

Slots Exchange(unsigned mask, int kind, const void* value, std::size_t size) {
  if (mask != 0xFFFFFFFFU) Fail("a warp operation without all lanes");
  if (size > kSlotBytes) Fail("a warp operation on too large a value");
  Fiber& fiber = *machine.running;
  Warp& warp = machine.warps[fiber.index / kLanes];
  fiber.parity ^= 1;
  std::memcpy(warp.slots[fiber.parity][fiber.index % kLanes], value, size);
  fiber.kind = kind;
  fiber.state = State::kInWarp;
  Yield();
  return warp.slots[machine.running->parity];
}

void StartCopy(void* to, const void* from, std::size_t size) {
  const auto aligned = [size](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % size == 0;
  };
  if (!aligned(to) || !aligned(from)) Fail("an asynchronous copy is not aligned");
  const Copy copy = {to, from, size};
  if (CopiesAtOnce()) {
    Run(copy);
  } else {
    machine.running->open.push_back(copy);
  }
}

void CommitCopies() {
  machine.running->groups.push_back(std::move(machine.running->open));
  machine.running->open.clear();
}

void WaitForCopies(int later) {
  std::deque<std::vector<Copy>>& groups = machine.running->groups;
  for (; groups.size() > static_cast<std::size_t>(later); groups.pop_front()) {
    for (const Copy& copy : groups.front()) Run(copy);
  }
}

void FailCalls(Call call, const Failures& failures) {
  machine.failures[static_cast<int>(call)] = failures;
}

void RestoreContext() { lost_context = 0; }

int LostContext() { return lost_context; }

int TakeFailure(Call call) {
  if (lost_context != 0) return lost_context;
  Failures& failures = machine.failures[static_cast<int>(call)];
  if (failures.count == 0 || failures.after-- > 0) return 0;
  --failures.count;
  failures.after = 0;
  if (DestroysContext(failures.error)) lost_context = failures.error;
  return failures.error;
}

unsigned Lane() { return machine.running->index % kLanes; }

std::int64_t LaunchCount() { return machine.n_launches; }

}  // namespace cuda_emulation
