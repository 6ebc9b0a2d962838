#include "engine/ops/append_digests.h"

#include <algorithm>

#include "engine/ops/cpu/selection_dispatch.h"
#include "engine/ops/op_check.h"

namespace keyhole {
namespace {

constexpr std::int32_t kTokensPerTask = 32;

std::int32_t TasksOf(const AppendDigestsParams& params) {
  return (params.n_tokens + kTokensPerTask - 1) / kTokensPerTask;
}

void Check(const AppendDigestsParams& params) {
  constexpr std::string_view kOp = "AppendDigests";
  CheckOp(params.store != nullptr, kOp, "null store");
  const DigestLayout& layout = params.store->layout();
  const std::int64_t room = static_cast<std::int64_t>(params.pages.size()) * layout.page_size;
  CheckOp(params.first >= 0 && params.n_tokens >= 0 &&
              params.first + std::int64_t{params.n_tokens} <= room,
          kOp,
          "rows leave the page table");
  CheckOp(params.slot >= 0 && params.slot < layout.n_slots, kOp, "no such slot");
  CheckOp(params.n_tokens == 0 ||
              (params.keys != nullptr && params.map != nullptr && params.in_dim > 0),
          kOp,
          "keys or map are missing");
}

// Fewer bits of the codes just written.
void AppendCoarse(const DigestLayout& layout,
                  const std::uint8_t* slot,
                  std::uint8_t* coarse,
                  std::int32_t token) {
  for (std::int32_t group = 0; group < layout.n_groups; ++group) {
    const std::uint8_t* low = slot + layout.offset(token, group, 0);
    const std::uint8_t* high = slot + layout.offset(token, group, 4);
    std::uint8_t* out = coarse + layout.coarse_offset(token, group, 0);
    for (std::int32_t i = 0; i < 4; ++i) {
      out[i] = static_cast<std::uint8_t>(low[i] >> 4 | (high[i] & 0xF0));
    }
    for (std::int32_t line = 1; line < CoarseLines(layout.coarse_dims); ++line) {
      out = coarse + layout.coarse_offset(token, group, line);
      std::fill_n(out, 4, std::uint8_t{0});
      const std::int32_t first = 16 * line - 8;
      const std::int32_t end = std::min(first + 16, layout.coarse_dims);
      for (std::int32_t dim = first; dim < end; dim += 4) {
        const std::uint8_t* codes = slot + layout.offset(token, group, dim);
        for (std::int32_t i = 0; i < 4; ++i) {
          out[i] |= static_cast<std::uint8_t>(TwoBits(codes[i]) << (dim - first) / 2);
        }
      }
    }
  }
}

void AppendTokens(const SelectionKernels& kernels,
                  const AppendDigestsParams& params,
                  std::int32_t begin,
                  std::int32_t end) {
  const DigestLayout& layout = params.store->layout();
  const std::ptrdiff_t map_size = static_cast<std::ptrdiff_t>(layout.rank) * params.in_dim;
  DigestTask task = {
      .key = params.keys + static_cast<std::ptrdiff_t>(begin) * layout.n_groups * params.in_dim,
      .map = nullptr,
      .rank = layout.rank,
      .in_dim = params.in_dim,
      .out = nullptr};
  for (std::int32_t i = begin; i < end; ++i) {
    const std::int32_t row = params.first + i;
    const PageId page = params.pages[row / layout.page_size];
    const std::int32_t token = row % layout.page_size;
    std::uint8_t* slot = params.store->Slot(page, params.slot);
    for (std::int32_t group = 0; group < layout.n_groups; ++group, task.key += params.in_dim) {
      task.map = params.map + group * map_size;
      task.out = slot + layout.offset(token, group, 0);
      kernels.digest(task);
    }
    if (layout.coarse_dims > 0) {
      AppendCoarse(layout, slot, params.store->CoarseSlot(page, params.slot), token);
    }
  }
}

}  // namespace

void AppendDigests(Device& device, std::span<const AppendDigestsParams> sequences) {
  std::int64_t n_tasks = 0;
  for (const AppendDigestsParams& params : sequences) {
    Check(params);
    n_tasks += TasksOf(params);
  }
  const SelectionKernels kernels = SelectionKernelsFor(device.cpu_level());
  // A step of decode alone takes a microsecond a sequence: not worth waking the pool.
  if (n_tasks <= static_cast<std::int64_t>(sequences.size())) {
    for (const AppendDigestsParams& params : sequences) {
      AppendTokens(kernels, params, 0, params.n_tokens);
    }
    return;
  }
  device.pool().ParallelFor(n_tasks, [&](std::int64_t task) {
    std::size_t s = 0;
    while (task >= TasksOf(sequences[s])) task -= TasksOf(sequences[s++]);
    const auto begin = static_cast<std::int32_t>(task * kTokensPerTask);
    AppendTokens(
        kernels, sequences[s], begin, std::min(begin + kTokensPerTask, sequences[s].n_tokens));
  });
}

}  // namespace keyhole
