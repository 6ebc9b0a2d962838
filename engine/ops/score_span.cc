#include "engine/ops/score_span.h"

#include <algorithm>
#include <limits>

namespace keyhole {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// One tile with the addresses of its blocks.
struct LoadedTile {
  LoadedTile(const ScoreSequence& sequence, std::int32_t index) {
    const ScoreRowsParams& params = *sequence.params;
    const DigestLayout& layout = params.store->layout();
    const std::int32_t first = sequence.first_block + index * kScoreTileBlocks;
    const std::int32_t end = std::min(first + kScoreTileBlocks, sequence.end_block);
    const std::int32_t per_page = layout.page_size / kScoreBlock;
    const std::int32_t last = sequence.end_block - 1;
    for (std::int32_t i = 0; i < end - first + kScoreAheadBlocks; ++i) {
      std::int32_t block = std::min(first + i, last);
      if (!params.blocks.empty()) block = params.blocks[block];
      blocks[i] = params.store->Slot(params.pages[block / per_page], params.slot) +
                  block % per_page * layout.block_bytes();
    }
    const std::int32_t row = first * kScoreBlock;
    tile = {.blocks = blocks,
            .n_blocks = end - first,
            .first = std::max(params.rows.begin - row, 0),
            .end = std::min(params.rows.end, end * kScoreBlock) - row,
            .n_quads = layout.rank / 4};
    scores = params.out + (row + tile.first - params.rows.begin);
  }
  LoadedTile(const LoadedTile&) = delete;
  LoadedTile& operator=(const LoadedTile&) = delete;

  const unsigned char* blocks[kScoreTileBlocks + kScoreAheadBlocks];
  ScoreTile tile;
  float* scores;  // of the tile's first candidate
};

std::int64_t KeptAt(const ScoreSequence& sequence, std::int32_t tile) {
  return sequence.kept + static_cast<std::int64_t>(tile) * sequence.n_queries * kScoreStride;
}

}  // namespace

void ScorePasses::Reduce(const ScoreSpan& span) const {
  const ScoreSequence& sequence = plan_.sequences[span.sequence];
  const std::int64_t first =
      sequence.part_begin + static_cast<std::int64_t>(span.part) * sequence.n_queries;
  ScoreState* states = buffers_.parts + first;
  const std::int32_t n_parts = sequence.keeps ? span.tile_end - span.tile_begin : 1;
  std::fill_n(states, std::int64_t{n_parts} * sequence.n_queries, ScoreState{kScoreNone, 0});
  for (std::int32_t tile = span.tile_begin; tile < span.tile_end; ++tile) {
    ReduceTile(sequence, tile, states);
    if (sequence.keeps) states += sequence.n_queries;
  }
}

void ScorePasses::ReduceTile(const ScoreSequence& sequence,
                             std::int32_t index,
                             ScoreState* states) const {
  const LoadedTile loaded(sequence, index);
  const ScoreTile& tile = loaded.tile;
  const float* scales = plan_.scales.data() + sequence.query_begin;
  const std::span<const ScoreChunk> chunks(plan_.chunks.data() + sequence.chunk_begin,
                                           plan_.chunks.data() + sequence.chunk_end);
  if (sequence.keeps) {
    auto* rows = reinterpret_cast<std::int32_t*>(buffers_.kept + KeptAt(sequence, index));
    kernels_.score.products(tile, chunks.data(), static_cast<int>(chunks.size()), rows);
    for (std::int32_t q = 0; q < sequence.n_queries; ++q) {
      kernels_.score.sum_keep(tile, rows + std::ptrdiff_t{q} * kScoreStride, scales[q], states + q);
    }
    return;
  }
  alignas(64) std::int32_t rows[kScoreMaxQueries * kScoreStride];
  for (const ScoreChunk& chunk : chunks) {
    if (sequence.params->rule == ScoreRule::kShift) {
      kernels_.score.top(tile, chunk, states + chunk.query);
      continue;
    }
    kernels_.score.products(tile, &chunk, 1, rows);
    for (std::int32_t i = 0; i < chunk.count; ++i) {
      kernels_.score.sum(tile, rows + i * kScoreStride, chunk.scales[i], states + chunk.query + i);
    }
  }
}

void ScorePasses::Merge(const ScoreSequence& sequence) const {
  const std::int64_t n = sequence.n_queries;
  const std::int64_t size = n * sequence.n_parts;
  const ScoreState* parts = buffers_.parts + sequence.part_begin;
  const float* scales = plan_.scales.data() + sequence.query_begin;
  ScoreState* totals = buffers_.totals + sequence.query_begin;
  float* weights = buffers_.weights + sequence.part_begin;
  std::fill_n(totals, n, ScoreState{kScoreNone, 0});
  for (std::int64_t part = 0; part < size; part += n) {
    for (std::int64_t q = 0; q < n; ++q) {
      totals[q].top = std::max(totals[q].top, parts[part + q].top);
    }
  }
  if (sequence.params->rule == ScoreRule::kShift) return;
  for (std::int64_t part = 0; part < size; part += n) {
    for (std::int64_t q = 0; q < n; ++q) {
      weights[part + q] = static_cast<float>(parts[part + q].top - totals[q].top) * scales[q];
    }
  }
  kernels_.score.exp2(weights, size);
  for (std::int64_t part = 0; part < size; part += n) {
    for (std::int64_t q = 0; q < n; ++q) totals[q].sum += parts[part + q].sum * weights[part + q];
  }
  for (std::int64_t q = 0; q < n; ++q) totals[q].sum = 1 / totals[q].sum;
  for (std::int64_t part = 0; part < size; part += n) {
    for (std::int64_t q = 0; q < n; ++q) weights[part + q] *= totals[q].sum;
  }
}

void ScorePasses::Write(const ScoreSpan& span) const {
  const ScoreSequence& sequence = plan_.sequences[span.sequence];
  const float* weights = buffers_.weights + sequence.part_begin +
                         static_cast<std::int64_t>(span.part) * sequence.n_queries;
  alignas(64) float out[kScoreStride];
  for (std::int32_t i = span.tile_begin; i < span.tile_end; ++i) {
    const LoadedTile loaded(sequence, i);
    const ScoreTile& tile = loaded.tile;
    if (sequence.keeps) {
      kernels_.score.weigh(
          tile, buffers_.kept + KeptAt(sequence, i), weights, sequence.n_queries, out);
      weights += sequence.n_queries;
    } else {
      WriteTile(sequence, tile, out);
    }
    std::copy(out + tile.first, out + tile.end, loaded.scores);
  }
}

void ScorePasses::WriteTile(const ScoreSequence& sequence,
                            const ScoreTile& tile,
                            float* out) const {
  std::fill_n(out, kScoreStride, kLowest);
  if (sequence.params->rule == ScoreRule::kVote) {
    AddVotes(sequence, tile, out);
    return;
  }
  const ScoreState* totals = buffers_.totals + sequence.query_begin;
  for (std::int32_t c = sequence.chunk_begin; c < sequence.chunk_end; ++c) {
    const ScoreChunk& chunk = plan_.chunks[c];
    kernels_.score.shift(tile, chunk, totals + chunk.query, out);
  }
}

void ScorePasses::AddVotes(const ScoreSequence& sequence, const ScoreTile& tile, float* out) const {
  alignas(64) std::int32_t rows[kScoreMaxQueries * kScoreStride];
  alignas(64) float votes[kScoreBatchProbes * kScoreStride];
  const ScoreState* totals = buffers_.totals + sequence.query_begin;
  const std::int32_t* probes = plan_.probes.data() + sequence.query_begin;
  for (std::int32_t c = sequence.chunk_begin; c < sequence.chunk_end;) {
    const std::int32_t batch = plan_.chunks[c].batch;
    std::int32_t n_probes = 0;
    std::fill(std::begin(votes), std::end(votes), 0.0F);
    for (; c < sequence.chunk_end && plan_.chunks[c].batch == batch; ++c) {
      const ScoreChunk& chunk = plan_.chunks[c];
      kernels_.score.products(tile, &chunk, 1, rows);
      for (std::int32_t i = 0; i < chunk.count; ++i) {
        const std::int32_t q = chunk.query + i;
        n_probes = std::max(n_probes, probes[q] + 1);
        kernels_.score.add(tile,
                           rows + i * kScoreStride,
                           chunk.scales[i],
                           totals[q],
                           votes + probes[q] * kScoreStride);
      }
    }
    for (std::int32_t probe = 0; probe < n_probes; ++probe) {
      kernels_.max_of(out, votes + probe * kScoreStride, kScoreBlock * tile.n_blocks, out);
    }
  }
}

}  // namespace keyhole
