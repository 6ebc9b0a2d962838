// What a step of decode allocates: as much at any depth and with any number of layers, so nothing
// inside a layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/engine_config.h"
#include "tests/support/long_context.h"

namespace {

std::atomic<std::int64_t> g_allocations = 0;

void* Allocate(std::size_t size, std::size_t alignment) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t whole = (std::max<std::size_t>(size, 1) + alignment - 1) / alignment;
  void* memory = std::aligned_alloc(alignment, whole * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 16;
constexpr int kSteps = 12;

EngineConfig ConfigOf(int n_layers) {
  EngineConfig config;
  config.model.path = absl::StrCat("synthetic:tiny,layers=", n_layers);
  config.model.weights = WeightMode::kInt8;
  config.kv.page_size = kPage;
  config.selection.initial = 8;
  config.selection.local = 64;
  config.selection.selected = 16;
  config.selection.tail_chunk = 8;
  config.selection.coarse_dims = 8;
  config.selection.fine_rows = 64;
  config.selection.recall_interval = 0;  // a sample is rare and allocates
  config.scheduler.max_context = 4096;
  config.scheduler.chunk_size = 32;
  config.threads = 2;
  return config;
}

// Of that step which has the fewest: in some a thread does what it has not done before, and its
// buffers grow.
std::int64_t AllocationsOfAStep(int n_layers, std::int32_t depth, int n_sequences) {
  RunnerSequence sequence;
  sequence.capacity = depth + kPage;
  sequence.prompt_len = depth;
  const auto context = LongContext::Create(ConfigOf(n_layers), n_sequences * sequence.capacity);
  EXPECT_TRUE(context.ok()) << context.status();
  if (!context.ok()) return 0;
  const TokenId token = 5;
  std::vector<RunnerSlice> slices;
  for (int i = 0; i < n_sequences; ++i) {
    const auto filled = (*context)->Fill(depth, sequence);
    EXPECT_TRUE(filled.ok()) << filled.status();
    slices.push_back({filled.value_or(0), {&token, 1}});
  }
  std::int64_t fewest = std::numeric_limits<std::int64_t>::max();
  for (int step = 0; step < kSteps; ++step) {
    const std::int64_t before = g_allocations.load();
    EXPECT_TRUE((*context)->runner().Step(slices).ok());
    fewest = std::min(fewest, g_allocations.load() - before);
  }
  return fewest;
}

TEST(DecodeAllocations, AreAsManyAtAnyDepthAndWithAnyNumberOfLayers) {
  for (const int n_sequences : {1, 3}) {  // of three each thread chooses rows for some
    const std::int64_t expected = AllocationsOfAStep(2, kPage, n_sequences);
    for (const int n_layers : {2, 7}) {
      // Nothing to choose from, all of it chosen, all of it scored, blocks ranked before that.
      for (const std::int32_t depth : {16, 80, 128, 2048}) {
        EXPECT_EQ(AllocationsOfAStep(n_layers, depth, n_sequences), expected)
            << n_layers << " layers, " << n_sequences << " sequences of " << depth;
      }
    }
  }
}

}  // namespace
}  // namespace keyhole
