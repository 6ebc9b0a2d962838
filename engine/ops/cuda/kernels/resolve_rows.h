// Finds selected rows on the device: in pages, or among the hot rows of their layer, where those
// that are missing get slots. Source of the order in which rows go: the clock algorithm (second
// chance).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace keyhole::cuda {

// Memory whose bytes are all kNoRowByte holds kNoRow. Numbers between it and -1 are claims.
constexpr int kNoRowByte = 0x80;
constexpr std::int32_t kNoRow = -0x7F7F7F80;

// Of one layer.
struct ResolveClock {
  std::int32_t hand;   // the slot that is looked at next
  std::int32_t batch;  // number of the newest call
};

// Of the rows that calls were asked for.
struct ResolveCounts {
  std::int32_t n_rows;
  std::int32_t n_in_pages;  // of pages on the device
  std::int32_t n_fetched;   // the rest was hot, or asked for twice
};

// Device memory. A row is named by its number over all pages and layers, a hot row by its slot.
struct HotRowTables {
  const std::int32_t* page_slots = nullptr;  // [n_pages]: on the device; negative: not there
  std::int32_t* read_pages = nullptr;        // by slot of a page: 1 where a row of it is read
  std::int32_t* slots = nullptr;             // [n_pages, n_layers, page_size]: of a row; or kNoRow
  std::int32_t* rows = nullptr;              // [n_layers, n_hot_rows]: what a slot holds, or kNoRow
  std::int32_t* marks = nullptr;   // [n_layers, n_hot_rows]: batch that used it, 0 once passed over
  ResolveClock* clocks = nullptr;  // [n_layers]
  ResolveCounts* counts = nullptr;  // added to by each call
  std::int32_t n_layers = 0;
  std::int32_t page_size = 0;
  std::int32_t n_hot_rows = 0;     // slots of each layer
  std::int32_t first_hot_row = 0;  // place of slot 0 of layer 0

  bool operator==(const HotRowTables&) const = default;
};

struct ResolveSequence {
  const std::int32_t* pages = nullptr;  // page table of the sequence
  const std::int32_t* rows = nullptr;   // [n]: its rows
  std::int32_t* places = nullptr;       // [n], out: where each lies in the arena
  std::int32_t n = 0;
  std::int32_t first = 0;  // rows of the sequences before this one
};

constexpr std::int32_t kResolveRows = 256;  // of all sequences, that one block looks for

// A row that is not on the device.
struct alignas(16) MissingRow {
  std::int32_t* place;  // where its place goes
  std::int32_t number;
  std::int32_t index;  // in the call's rows
};

struct ResolveRowsArgs {
  const ResolveSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_rows = 0;  // of all sequences together
  std::int32_t layer = 0;
  HotRowTables tables = {};
  // Only where there are hot rows:
  MissingRow* missing = nullptr;      // [max_rows], scratch: kResolveRows for each block
  std::int32_t* n_missing = nullptr;  // [blocks], scratch
  std::int32_t* from = nullptr;       // [max_rows], out: numbers of rows that have to be fetched
  std::int32_t* to = nullptr;         // [max_rows], out: their places
  std::int32_t* n_moves = nullptr;    // out

  bool operator==(const ResolveRowsArgs&) const = default;
};

// Many blocks find what is on the device; where pages spill, one gives slots to the rest. Depends
// on the rows alone, not on the order in which threads run. No row of the call loses its slot to
// another. REQUIRES: different rows outside the device's pages are at most n_hot_rows.
cudaError_t LaunchResolveRows(const ResolveRowsArgs& args, cudaStream_t stream);

struct ForgetPagesArgs {
  HotRowTables tables = {};
  const std::int32_t* pages = nullptr;  // [n_pages]
  std::int32_t n_pages = 0;
};

// What hot rows hold of these pages is void: their slots are empty.
cudaError_t LaunchForgetPages(const ForgetPagesArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
