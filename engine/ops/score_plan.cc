#include "engine/ops/score_plan.h"

#include <algorithm>
#include <cstring>
#include <numbers>

namespace keyhole {
namespace {

constexpr std::int32_t kMaxSpans = 64;  // of one sequence: bounds the states and their merge

std::int32_t CeilDiv(std::int32_t a, std::int32_t b) { return (a + b - 1) / b; }

std::int32_t TilesOf(const ScoreRowsParams& params) {
  const std::int32_t n_blocks =
      CeilDiv(params.rows.end, kScoreBlock) - params.rows.begin / kScoreBlock;
  return CeilDiv(n_blocks, kScoreTileBlocks);
}

bool Keeps(const ScoreRowsParams& params) {
  return params.rule == ScoreRule::kVote && params.n_probes == 1;
}

std::int32_t Pair(std::int8_t low, std::int8_t high) {
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(high) << 16) |
                                   (static_cast<std::uint32_t>(low) & 0xFFFF));
}

class Planner {
 public:
  Planner(std::span<const ScoreRowsParams> sequences, const ScoreKernels& kernels, ScorePlan& plan)
      : sequences_(sequences), kernels_(kernels), plan_(plan) {}

  void Plan() {
    Reset();
    for (const ScoreRowsParams& params : sequences_) {
      if (params.rows.empty()) continue;
      ScoreSequence sequence = {.params = &params,
                                .first_block = params.rows.begin / kScoreBlock,
                                .end_block = CeilDiv(params.rows.end, kScoreBlock),
                                .n_tiles = TilesOf(params),
                                .n_queries = params.n_probes * params.n_heads,
                                .query_begin = static_cast<std::int32_t>(query_),
                                .keeps = Keeps(params),
                                .kept = plan_.n_kept,
                                .part_begin = plan_.n_states};
      plan_.n_kept += KeptFloats(params);
      AddSpans(sequence);
      plan_.n_states += static_cast<std::int64_t>(sequence.n_parts) * sequence.n_queries;
      sequence.chunk_begin = static_cast<std::int32_t>(plan_.chunks.size());
      AddChunks(sequence);
      sequence.chunk_end = static_cast<std::int32_t>(plan_.chunks.size());
      plan_.sequences.push_back(sequence);
    }
  }

 private:
  // Chunks point into the packed arrays: these have their sizes before the first chunk is made.
  void Reset() {
    plan_.sequences.clear();
    plan_.spans.clear();
    plan_.chunks.clear();
    plan_.n_states = 0;
    plan_.n_kept = 0;
    std::size_t n_queries = 0;
    std::size_t n_words = 0;
    for (const ScoreRowsParams& params : sequences_) {
      if (params.rows.empty()) continue;
      const std::size_t n = static_cast<std::size_t>(params.n_probes) * params.n_heads;
      n_queries += n;
      n_words += n * (params.store->layout().rank / 4) * kernels_.words;
    }
    plan_.codes.resize(n_words);
    plan_.starts.resize(n_queries);
    plan_.scales.resize(n_queries);
    plan_.probes.resize(n_queries);
  }

  void AddSpans(ScoreSequence& sequence) {
    const std::int32_t step = CeilDiv(sequence.n_tiles, kMaxSpans);
    const auto index = static_cast<std::int32_t>(plan_.sequences.size());
    for (std::int32_t tile = 0; tile < sequence.n_tiles; tile += step) {
      const std::int32_t end = std::min(tile + step, sequence.n_tiles);
      plan_.spans.push_back({index, tile, end, sequence.n_parts});
      sequence.n_parts += sequence.keeps ? end - tile : 1;
    }
  }

  void AddChunks(const ScoreSequence& sequence) {
    const ScoreRowsParams& params = *sequence.params;
    const DigestLayout& layout = params.store->layout();
    const std::int32_t heads = params.n_heads / layout.n_groups;  // of a group
    for (std::int32_t probe = 0; probe < params.n_probes; probe += kScoreBatchProbes) {
      const std::int32_t n = std::min(kScoreBatchProbes, params.n_probes - probe) * heads;
      for (std::int32_t group = 0; group < layout.n_groups; ++group) {
        for (std::int32_t i = 0; i < n; i += kernels_.max_queries) {
          AddChunk(sequence, group, std::min(kernels_.max_queries, n - i));
          for (std::int32_t q = i; q < i + plan_.chunks.back().count; ++q) {
            const std::int32_t head = group * heads + q % heads;
            PackQuery(params, probe + q / heads, head, q - i);
          }
        }
      }
    }
  }

  void AddChunk(const ScoreSequence& sequence, std::int32_t group, std::int32_t count) {
    const DigestLayout& layout = sequence.params->store->layout();
    const std::int32_t query = static_cast<std::int32_t>(query_) - sequence.query_begin;
    plan_.chunks.push_back(
        {.group_offset = static_cast<std::ptrdiff_t>(group) * layout.rank * kScoreBlock,
         .codes = plan_.codes.data() + word_,
         .start = plan_.starts.data() + query_,
         .scales = plan_.scales.data() + query_,
         .count = count,
         .row = sequence.keeps ? query : 0,
         .query = query,
         .batch = query / (kScoreBatchProbes * sequence.params->n_heads)});
    word_ += static_cast<std::size_t>(count) * (layout.rank / 4) * kernels_.words;
  }

  // As query i of the last chunk.
  void PackQuery(const ScoreRowsParams& params,
                 std::int32_t probe,
                 std::int32_t head,
                 std::int32_t i) {
    const ScoreChunk& chunk = plan_.chunks.back();
    const std::int32_t rank = params.store->layout().rank;
    const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(probe) * params.n_heads + head;
    const std::int8_t* codes = params.queries + from * rank;
    std::int32_t* out = plan_.codes.data() + (chunk.codes - plan_.codes.data()) + i;
    std::int32_t sum = 0;
    for (std::int32_t c = 0; c < rank; c += 4, out += kernels_.words * chunk.count) {
      for (std::int32_t j = c; j < c + 4; ++j) sum += codes[j];
      if (kernels_.words == 1) {
        std::memcpy(out, codes + c, 4);
      } else {
        out[0] = Pair(codes[c], codes[c + 2]);
        out[chunk.count] = Pair(codes[c + 1], codes[c + 3]);
      }
    }
    const float unit = params.rule == ScoreRule::kVote ? std::numbers::log2e_v<float> : 1.0F;
    plan_.starts[query_] = -kDigestBias * sum;
    plan_.scales[query_] = params.scales[from] * unit;
    plan_.probes[query_] = probe % kScoreBatchProbes;
    ++query_;
  }

  std::span<const ScoreRowsParams> sequences_;
  const ScoreKernels& kernels_;
  ScorePlan& plan_;
  std::size_t query_ = 0;  // packed so far, of all sequences
  std::size_t word_ = 0;
};

}  // namespace

std::int64_t KeptFloats(const ScoreRowsParams& params) {
  if (!Keeps(params) || params.rows.empty()) return 0;
  return static_cast<std::int64_t>(TilesOf(params)) * params.n_heads * kScoreStride;
}

void PlanScores(std::span<const ScoreRowsParams> sequences,
                const ScoreKernels& kernels,
                ScorePlan& plan) {
  Planner(sequences, kernels, plan).Plan();
}

}  // namespace keyhole
