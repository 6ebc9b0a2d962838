// Source: FlashAttention-2 (arXiv 2307.08691): scores and weights stay in the registers of tensor
// core products, a tile of keys and one of values at a time in shared memory.
#include "engine/ops/cuda/kernels/attend.h"
#include "engine/ops/cuda/kernels/attend_split.h"
#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/int8_head.h"
#include "engine/ops/cuda/kernels/ptx.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarpQueries = 16;  // query heads of a warp: the rows of a product
constexpr int kTileRows = kManySplitUnit;
constexpr int kKeyTiles = kTileRows / 8;
static_assert(kThreads / kWarpLanes * kWarpQueries == kManyTileLanes);

// Rows [first, first + count) of a part.
struct Tile {
  int part = 0;
  int first = 0;
  int count = 0;
};

// What a block does: a tile of query heads of one KV head, over one split of the rows.
struct Work {
  const AttendArgs& args;
  const AttendSequence& sequence;
  int kv_head;
  int group;
  int first_lane;      // a lane is one query head of one query: [q_len][group]
  int q_end;           // one past the last query of the tile
  std::int32_t begin;  // of the split, in the rows of all parts one after another
  std::int32_t end;

  __device__ int n_lanes() const { return sequence.q_len * group; }

  // The next tile in which any query of the block sees rows. False: there is none.
  __device__ bool Advance(Tile& tile) const {
    int at = tile.first + tile.count;
    for (; tile.part < sequence.n_parts; ++tile.part, at = 0) {
      const AttendPart& part = sequence.parts[tile.part];
      int last = end - part.offset < part.count ? end - part.offset : part.count;
      if (part.causal_from >= 0 && part.causal_from + q_end - part.begin < last) {
        last = part.causal_from + q_end - part.begin;
      }
      if (at < begin - part.offset) at = begin - part.offset;
      if (at >= last) continue;
      tile.first = at;
      tile.count = last - at < kTileRows ? last - at : kTileRows;
      return true;
    }
    tile.count = 0;
    return false;
  }
};

struct RowOffsets {
  std::int64_t keys[kTileRows];
  std::int64_t values[kTileRows];
};

// Rows behind the tile's end are copies of its last one: their weights are zero.
__device__ void FindRows(const Work& work, const Tile& tile, RowOffsets& offsets) {
  if (threadIdx.x >= kTileRows) return;
  const AttendPart& part = work.sequence.parts[tile.part];
  const int i = threadIdx.x < tile.count ? static_cast<int>(threadIdx.x) : tile.count - 1;
  const std::int32_t row =
      part.rows == nullptr ? part.begin + tile.first + i : part.rows[tile.first + i];
  offsets.keys[threadIdx.x] = RowOffset(part.keys, work.sequence.pages, work.args.layer, row);
  offsets.values[threadIdx.x] = RowOffset(part.values, work.sequence.pages, work.args.layer, row);
}

// Rows in shared memory are 16 bytes longer than their values: eight of them then start in
// different banks.
template <int kDim>
struct SharedRows {
  std::uint16_t values[kTileRows][kDim + 8];
  float scales[kTileRows];  // of int8, whose codes are exact in bf16
};

// One KV head of a tile's rows.
struct TileHeads {
  const unsigned char* base;    // of row 0
  const std::int64_t* offsets;  // [kTileRows]
};

// A tile's rows on their way to shared memory, which may be in use until Put. bf16: Put starts
// copies, which WaitForCopies ends.
template <int kDim, Element kType>
struct TileLoad {
  __device__ void Fetch(const TileHeads& /*heads*/) {}

  __device__ void Put(const TileHeads& heads, SharedRows<kDim>& rows) const {
    constexpr int kPieces = kDim / 8;  // of 16 bytes
    for (int i = threadIdx.x; i < kTileRows * kPieces; i += kThreads) {
      const int row = i / kPieces;
      const int dim = i % kPieces * 8;
      CopyAsync16(&rows.values[row][dim],
                  heads.base + heads.offsets[row] + dim * sizeof(std::uint16_t));
    }
  }
};

// Codes become bf16 on their way: registers hold them while products are made.
template <int kDim>
struct TileLoad<kDim, Element::kInt8> {
  static constexpr int kPieces = kDim / 8;  // of a row: eight codes each
  static constexpr int kTurnRows = kThreads / kPieces;
  static constexpr int kTurns = kTileRows / kTurnRows;

  std::uint32_t codes[kTurns][2];
  float scale;  // of the thread's own row, if it has one

  __device__ static int row(int turn) {
    return static_cast<int>(threadIdx.x) / kPieces + turn * kTurnRows;
  }
  __device__ static int dim() { return static_cast<int>(threadIdx.x) % kPieces * 8; }

  __device__ void Fetch(const TileHeads& heads) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto* from =
          reinterpret_cast<const std::uint32_t*>(heads.base + heads.offsets[row(turn)] + dim());
      codes[turn][0] = __ldg(from);
      codes[turn][1] = __ldg(from + 1);
    }
    if (threadIdx.x < kTileRows) scale = Int8Scale(heads.base + heads.offsets[threadIdx.x], kDim);
  }

  __device__ void Put(const TileHeads& /*heads*/, SharedRows<kDim>& rows) const {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      std::uint32_t pairs[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t word = codes[turn][i / 2];
        pairs[i] = PackExactBf16(Int8Code(word, i % 2 * 2), Int8Code(word, i % 2 * 2 + 1));
      }
      Store16(&rows.values[row(turn)][dim()], make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
    }
    if (threadIdx.x < kTileRows) rows.scales[threadIdx.x] = scale;
  }
};

// A warp's sixteen query heads. With g = lane / 4 a thread holds rows g and g + 8 ("halves").
template <int kDim, Element kType>
struct QueryTile {
  static constexpr int kSteps = kDim / 16;

  std::uint32_t queries[kSteps][4];
  float values[kDim / 8][4];
  float max[2];
  float sum[2];  // of this thread's columns alone
  int query[2];
  int head[2];
  bool there[2];
  float bias[2];

  __device__ void Init(const Work& work) {
    const int lane = threadIdx.x % kWarpLanes;
    const int warp = threadIdx.x / kWarpLanes;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = work.first_lane + warp * kWarpQueries + lane / 4 + half * 8;
      there[half] = at < work.n_lanes();
      query[half] = there[half] ? at / work.group : 0;
      head[half] = work.kv_head * work.group + (there[half] ? at % work.group : 0);
      max[half] = kNoScore;
      sum[half] = 0;
      bias[half] = 0;
    }
#pragma unroll
    for (int i = 0; i < kDim / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) values[i][j] = 0;
    }
  }

  __device__ void LoadQueries(const Work& work, const AttendPart& part) {
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      bias[half] = part.bias == nullptr ? 0 : part.bias[query[half]] * kLog2E;
      const float* from =
          part.queries + (std::int64_t{query[half]} * work.args.n_heads + head[half]) * kDim;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const float* low = from + step * 16 + column;
        queries[step][half] = RoundToBf16(low[0], low[1]);
        queries[step][half + 2] = RoundToBf16(low[8], low[9]);
      }
    }
  }

  // scores[i]: of keys 8 i ... 8 i + 7.
  __device__ void Score(const SharedRows<kDim>& keys, float (&scores)[kKeyTiles][4]) const {
    const int lane = threadIdx.x % kWarpLanes;
    const int key = lane / 16 * 8 + lane % 8;
    const int dim = lane / 8 % 2 * 8;
#pragma unroll
    for (int pair = 0; pair < kKeyTiles / 2; ++pair) {
#pragma unroll
      for (int j = 0; j < 4; ++j) scores[2 * pair][j] = scores[2 * pair + 1][j] = 0;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        std::uint32_t b[4];
        LoadMatrices(b, &keys.values[pair * 16 + key][step * 16 + dim]);
        MmaBf16(scores[2 * pair], queries[step], b[0], b[1]);
        MmaBf16(scores[2 * pair + 1], queries[step], b[2], b[3]);
      }
    }
    Scale(keys, scores);
  }

  // Each column by the scale of its row.
  __device__ void Scale(const SharedRows<kDim>& rows, float (&columns)[kKeyTiles][4]) const {
    if constexpr (kType == Element::kInt8) {
#pragma unroll
      for (int i = 0; i < kKeyTiles; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          columns[i][j] *= rows.scales[i * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + j % 2];
        }
      }
    }
  }

  // Scores become weights relative to the maximum so far.
  __device__ void Weigh(const Work& work, const Tile& tile, float (&scores)[kKeyTiles][4]) {
    const AttendPart& part = work.sequence.parts[tile.part];
    const float scale = work.args.softmax_scale * part.scale * kLog2E;
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int seen = tile.count;
      if (part.causal_from >= 0) {
        const int limit = part.causal_from + query[half] + 1 - (part.begin + tile.first);
        if (limit < seen) seen = limit;
      }
      float top = max[half];
#pragma unroll
      for (int i = 0; i < kKeyTiles; ++i) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& score = scores[i][2 * half + j];
          score = i * 8 + column + j < seen ? score * scale + bias[half] : kNoScore;
          top = fmaxf(top, score);
        }
      }
      top = WarpReduce<4>(top, Max{});
      const float base = SafeMax(top);
      const float correction = Exp2(max[half] - base);
      max[half] = top;
      sum[half] *= correction;
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        values[i][2 * half] *= correction;
        values[i][2 * half + 1] *= correction;
      }
#pragma unroll
      for (int i = 0; i < kKeyTiles; ++i) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& score = scores[i][2 * half + j];
          score = Exp2(score - base);
          sum[half] += score;
        }
      }
    }
  }

  // The weights of two products' results are the left side of the next.
  __device__ void AddValues(const SharedRows<kDim>& rows, float (&weights)[kKeyTiles][4]) {
    Scale(rows, weights);
    const int lane = threadIdx.x % kWarpLanes;
    const int key = lane / 8 % 2 * 8 + lane % 8;
    const int dim = lane / 16 * 8;
#pragma unroll
    for (int step = 0; step < kTileRows / 16; ++step) {
      const float(&low)[4] = weights[2 * step];
      const float(&high)[4] = weights[2 * step + 1];
      const std::uint32_t a[4] = {RoundToBf16(low[0], low[1]),
                                  RoundToBf16(low[2], low[3]),
                                  RoundToBf16(high[0], high[1]),
                                  RoundToBf16(high[2], high[3])};
#pragma unroll
      for (int pair = 0; pair < kDim / 16; ++pair) {
        std::uint32_t b[4];
        LoadMatricesTransposed(b, &rows.values[step * 16 + key][pair * 16 + dim]);
        MmaBf16(values[2 * pair], a, b[0], b[1]);
        MmaBf16(values[2 * pair + 1], a, b[2], b[3]);
      }
    }
  }

  __device__ void Write(const Work& work) const {
    const AttendArgs& args = work.args;
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = WarpReduce<4>(sum[half], Sum{});
      if (!there[half]) continue;
      const std::int64_t vector = std::int64_t{query[half]} * args.n_heads + head[half];
      const std::int64_t partial = work.sequence.partial +
                                   std::int64_t{blockIdx.y} * work.sequence.q_len * args.n_heads +
                                   vector;
      const bool whole = work.sequence.n_splits == 1;
      const float factor = !whole ? 1 : total == 0 ? 0 : 1 / total;
      float* to = whole ? work.sequence.out : args.partial_values;
      std::uint16_t* rounded = whole ? work.sequence.rounded : nullptr;
      const std::int64_t at = (whole ? vector : partial) * kDim + column;
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        Store(values[i][2 * half] * factor, at + i * 8, to, rounded);
        Store(values[i][2 * half + 1] * factor, at + i * 8 + 1, to, rounded);
      }
      if (!whole && threadIdx.x % 4 == 0) args.partial_states[partial] = {max[half], total};
    }
  }
};

// While one tile's products are made, the next tile's rows are on their way; they were found a tile
// before that. grid: KV heads and tiles of queries; splits; sequences.
template <int kDim, Element kType>
__global__ void __launch_bounds__(kThreads) AttendManyKernel(AttendArgs args) {
  const AttendSequence& sequence = args.sequences[blockIdx.z];
  const int group = args.n_heads / args.n_kv_heads;
  const int split = blockIdx.y;
  const int first_lane = static_cast<int>(blockIdx.x) / args.n_kv_heads * kManyTileLanes;
  if (split >= sequence.n_splits || first_lane >= sequence.q_len * group) return;
  __shared__ __align__(16) SharedRows<kDim> keys;
  __shared__ __align__(16) SharedRows<kDim> values;
  __shared__ RowOffsets offsets[2];

  const int q_end = (first_lane + kManyTileLanes - 1) / group + 1;
  const Work work = {.args = args,
                     .sequence = sequence,
                     .kv_head = static_cast<int>(blockIdx.x) % args.n_kv_heads,
                     .group = group,
                     .first_lane = first_lane,
                     .q_end = q_end < sequence.q_len ? q_end : sequence.q_len,
                     .begin = split * sequence.split_rows,
                     .end = (split + 1) * sequence.split_rows};
  const std::int64_t head = work.kv_head * HeadBytes(kType, kDim);
  QueryTile<kDim, kType> queries;
  queries.Init(work);
  TileLoad<kDim, kType> load;
  const auto keys_of = [&](const Tile& of, int buffer) {
    return TileHeads{sequence.parts[of.part].keys.base + head, offsets[buffer].keys};
  };
  const auto values_of = [&](const Tile& of, int buffer) {
    return TileHeads{sequence.parts[of.part].values.base + head, offsets[buffer].values};
  };

  Tile tile;
  bool there = work.Advance(tile);
  if (there) {
    FindRows(work, tile, offsets[0]);
    __syncthreads();
    load.Fetch(keys_of(tile, 0));
    load.Put(keys_of(tile, 0), keys);
    CommitCopies();
    load.Fetch(values_of(tile, 0));
    load.Put(values_of(tile, 0), values);
    CommitCopies();
  }
  Tile next = tile;
  bool more = work.Advance(next);
  if (more) FindRows(work, next, offsets[1]);
  for (int part = -1, turn = 1; there; turn ^= 1) {
    if (tile.part != part) {
      part = tile.part;
      queries.LoadQueries(work, sequence.parts[part]);
    }
    float scores[kKeyTiles][4];
    WaitForCopies<1>();
    __syncthreads();
    if (more) load.Fetch(keys_of(next, turn));
    queries.Score(keys, scores);
    __syncthreads();
    if (more) load.Put(keys_of(next, turn), keys);
    CommitCopies();
    if (more) load.Fetch(values_of(next, turn));
    queries.Weigh(work, tile, scores);
    WaitForCopies<1>();
    __syncthreads();
    queries.AddValues(values, scores);
    __syncthreads();
    if (more) load.Put(values_of(next, turn), values);
    CommitCopies();
    there = more;
    tile = next;
    more = work.Advance(next);
    if (more) FindRows(work, next, offsets[turn ^ 1]);
  }
  WaitForCopies<0>();
  queries.Write(work);
}

template <Element kType>
cudaError_t LaunchForType(const AttendArgs& args, dim3 grid, cudaStream_t stream) {
  return args.head_dim == 64 ? Launch(AttendManyKernel<64, kType>, grid, kThreads, stream, args)
                             : Launch(AttendManyKernel<128, kType>, grid, kThreads, stream, args);
}

}  // namespace

cudaError_t LaunchAttendMany(const AttendArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_q_len == 0) return cudaSuccess;
  const int group = args.n_heads / args.n_kv_heads;
  const int tiles = CeilDiv(args.max_q_len * group, kManyTileLanes);
  const dim3 grid(args.n_kv_heads * tiles, args.max_splits, args.n_sequences);
  return args.type == Element::kInt8 ? LaunchForType<Element::kInt8>(args, grid, stream)
                                     : LaunchForType<Element::kBF16>(args, grid, stream);
}

}  // namespace keyhole::cuda
