// The threads of a block as fibers: who runs next, what they exchange, and copies they wait for.
#include <algorithm>
#include <cstdint>
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
#include "tests/support/cuda_emulation/emulation.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

// Leaves this stack, whose top goes to *from, and goes on with the one at `to`. A plain call and
// return: lanes that leave and come back at the same place in turn are what processors foresee.
extern "C" void SwitchStacks(void** from, void* to);
asm(R"(
  .text
  .type SwitchStacks, @function
SwitchStacks:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
  .size SwitchStacks, .-SwitchStacks
)");

namespace cuda_emulation {
namespace {

constexpr unsigned kLanes = 32;
constexpr unsigned kMostThreads = 1024;
// Not a multiple of a page: or the tops of all stacks would share a few sets of the nearest cache.
constexpr std::size_t kStackBytes = (std::size_t{128} << 10) + 320;

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

enum class State : unsigned char { kReady, kWaiting, kDone };

struct Fiber {
  void* place = nullptr;  // top of its stack while another runs
  unsigned index = 0;
  unsigned parity = 0;  // of the exchange: one lane is at most one exchange ahead of another
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

struct Warp {
  unsigned char slots[2][kLanes][kSlotBytes];
  State states[kLanes];
  unsigned n_exchanging = 0;  // lanes that have come to an exchange, all to one of this kind
  int kind = 0;
};

using Turns = unsigned char[kLanes];  // of the lanes of a warp, or of the warps of a block

struct Machine {
  std::vector<Fiber> fibers = std::vector<Fiber>(kMostThreads);
  std::vector<Warp> warps = std::vector<Warp>(kMostThreads / kLanes);
  std::unique_ptr<char[]> stacks;
  const std::function<void()>* kernel = nullptr;
  unsigned n_threads = 0;
  unsigned n_at_barrier = 0;
  unsigned n_done = 0;

  Fiber* running = nullptr;
  void* scheduler = nullptr;  // as Fiber::place
  unsigned warp = 0;          // whose lanes take turns
  unsigned turn = 0;
  Turns turns = {};

  Order order = Order::kForward;
  std::mt19937 random{1};
  std::int64_t n_launches = 0;
};

Machine machine;

void Become(Fiber& fiber) {
  machine.running = &fiber;
  threadIdx = {fiber.index, 0, 0};
}

// The lane of the warp that runs next; lanes that have all come to the same exchange go on. Null:
// the others wait for the block, or have ended.
Fiber* NextLane() {
  Warp& warp = machine.warps[machine.warp];
  for (;;) {
    while (machine.turn < kLanes) {
      const unsigned lane = machine.turns[machine.turn++];
      if (warp.states[lane] == State::kReady) return &machine.fibers[machine.warp * kLanes + lane];
    }
    if (warp.n_exchanging != kLanes) return nullptr;
    warp.n_exchanging = 0;
    std::fill_n(warp.states, kLanes, State::kReady);
    machine.turn = 0;
  }
}

// Goes on with the next lane, and returns when it is this one's turn again.
void Yield(State state) {
  Fiber& fiber = *machine.running;
  machine.warps[machine.warp].states[fiber.index % kLanes] = state;
  Fiber* next = NextLane();
  if (next == &fiber) return;
  if (next != nullptr) Become(*next);
  SwitchStacks(&fiber.place, next != nullptr ? next->place : machine.scheduler);
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
    ++machine.n_done;
    Yield(State::kDone);
  }
}

// As if FiberMain were about to be called, from nowhere, and six registers lay on the stack.
void Prepare(Fiber& fiber, char* stack) {
  static_assert(kStackBytes % alignof(std::max_align_t) == 0, "as new aligns the first stack");
  auto* end = reinterpret_cast<void**>(stack + kStackBytes);
  *--end = nullptr;
  *--end = reinterpret_cast<void*>(FiberMain);
  for (int i = 0; i < 6; ++i) *--end = nullptr;
  fiber.place = end;
}

void TakeTurns(Turns& turns, unsigned n) {
  std::iota(turns, turns + n, 0);
  if (machine.order == Order::kReverse) std::reverse(turns, turns + n);
  if (machine.order == Order::kShuffled) std::shuffle(turns, turns + n, machine.random);
}

void RunWarp(unsigned warp) {
  machine.warp = warp;
  machine.turn = 0;
  TakeTurns(machine.turns, kLanes);
  Fiber* first = NextLane();
  Become(*first);
  SwitchStacks(&machine.scheduler, first->place);
}

void RunBlock() {
  const unsigned n_warps = machine.n_threads / kLanes;
  machine.n_done = 0;
  do {
    machine.n_at_barrier = 0;
    for (unsigned warp = 0; warp < n_warps; ++warp) {
      std::fill_n(machine.warps[warp].states, kLanes, State::kReady);
    }
    Turns warps;
    TakeTurns(warps, n_warps);
    for (unsigned i = 0; i < n_warps; ++i) RunWarp(warps[i]);
    if (machine.n_done == machine.n_threads) return;
  } while (machine.n_at_barrier == machine.n_threads);
  Fail("some threads wait at a barrier or for their warp, others do not");
}

}  // namespace

void SetOrder(Order order) { machine.order = order; }

void RunGrid(Index grid, unsigned n_threads, const std::function<void()>& kernel) {
  ++machine.n_launches;
  if (n_threads % kLanes != 0) Fail("a block is not whole warps");
  if (n_threads > kMostThreads) Fail("a block has too many threads");
  if (machine.stacks == nullptr) {
    machine.stacks = std::make_unique_for_overwrite<char[]>(kMostThreads * kStackBytes);
    for (unsigned i = 0; i < kMostThreads; ++i) {
      machine.fibers[i].index = i;
      Prepare(machine.fibers[i], machine.stacks.get() + i * kStackBytes);
    }
  }
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
  ++machine.n_at_barrier;
  Yield(State::kWaiting);
}

Slots Exchange(unsigned mask, int kind, const void* value, std::size_t size) {
  if (mask != 0xFFFFFFFFU) Fail("a warp operation without all lanes");
  if (size > kSlotBytes) Fail("a warp operation on too large a value");
  Fiber& fiber = *machine.running;
  Warp& warp = machine.warps[machine.warp];
  if (warp.n_exchanging++ == 0) warp.kind = kind;
  if (warp.kind != kind) Fail("lanes of a warp are in different operations");
  fiber.parity ^= 1;
  std::memcpy(warp.slots[fiber.parity][fiber.index % kLanes], value, size);
  Yield(State::kWaiting);
  return warp.slots[fiber.parity];
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

unsigned Lane() { return machine.running->index % kLanes; }

std::int64_t LaunchCount() { return machine.n_launches; }

}  // namespace cuda_emulation
