// Scores of many queries by int8 products, four at a time and twice as many as bf16 pairs in an
// instruction. Each query, and each row's keys of one head, are rounded to int8 with a scale of
// their own: products of INT8 for Q K^T alone, as in SageAttention (arXiv 2410.02367). Part of
// attend_avx512bf16.cc.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/transpose_avx512.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

// Queries as they are packed, in place of [head_dim, padded_lanes] floats.
struct Int8Queries {
  static constexpr int kWidth = 16;  // lanes of a vector

  Int8Queries(const float* at, int head_dim, int lanes)
      : n_words((head_dim + 3) / 4),
        padded_lanes(lanes),
        codes(reinterpret_cast<const int32_t*>(at)),
        scales(at + static_cast<ptrdiff_t>(n_words) * lanes),
        start(reinterpret_cast<const int32_t*>(scales + lanes)) {}

  int n_words;
  int padded_lanes;
  const int32_t* codes;  // [n_words, padded_lanes], a word: four dimensions of one lane
  const float* scales;   // [padded_lanes]
  const int32_t* start;  // [padded_lanes], what takes back that codes of keys are biased
};

constexpr int kKeyBias = 128;  // one operand of the products is unsigned

inline __m512 AbsoluteTop(const float* column, int head_dim, int stride) {
  __m512 top = _mm512_setzero_ps();
  for (int c = 0; c < head_dim; ++c, column += stride) {
    top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_loadu_ps(column)));
  }
  return top;
}

void PackInt8Queries(const float* rows, float* queries, int head_dim, int padded_lanes) {
  Transpose(rows, padded_lanes, head_dim, queries);
  const Int8Queries q(queries, head_dim, padded_lanes);
  const auto writable = [queries](const void* part) {
    return queries + (static_cast<const float*>(part) - queries);
  };
  float* const codes_out = writable(q.codes);
  float* const scales_out = writable(q.scales);
  float* const start_out = writable(q.start);
  for (int lane = 0; lane < padded_lanes; lane += Int8Queries::kWidth) {
    const __m512 top = AbsoluteTop(queries + lane, head_dim, padded_lanes);
    // A query of zeros has codes of zero under any scale.
    const __mmask16 some = _mm512_cmp_ps_mask(top, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 one = _mm512_set1_ps(1);
    const __m512 largest = _mm512_mask_mov_ps(one, some, top);
    const __m512 to_code = _mm512_div_ps(_mm512_set1_ps(127), largest);
    __m512i sum = _mm512_setzero_si512();
    for (int word = 0; word < q.n_words; ++word) {
      __m512i codes = _mm512_setzero_si512();
      for (int c = 4 * word; c < head_dim && c < 4 * word + 4; ++c) {
        const float* values = queries + static_cast<ptrdiff_t>(c) * padded_lanes + lane;
        const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values), to_code));
        const __m512i byte = _mm512_and_si512(code, _mm512_set1_epi32(255));
        codes = _mm512_or_si512(codes, _mm512_slli_epi32(byte, 8 * (c % 4)));
        sum = _mm512_add_epi32(sum, code);
      }
      _mm512_storeu_si512(codes_out + static_cast<ptrdiff_t>(word) * padded_lanes + lane, codes);
    }
    _mm512_storeu_ps(scales_out + lane, _mm512_div_ps(largest, _mm512_set1_ps(127)));
    _mm512_storeu_si512(start_out + lane, _mm512_mullo_epi32(sum, _mm512_set1_epi32(-kKeyBias)));
  }
}

// Of one row's keys of one head: 64 * n codes with kKeyBias added; returns their scale.
inline float KeyCodes(const Bf16* in, int head_dim, unsigned char* out) {
  __m512i top = _mm512_setzero_si512();
  for (int c = 0; c < head_dim; c += 32) {
    const __m512i bits =
        _mm512_maskz_loadu_epi16(static_cast<__mmask32>(FirstOnes(head_dim - c)), in + c);
    top = _mm512_max_epu16(top, _mm512_and_si512(bits, _mm512_set1_epi16(0x7fff)));
  }
  const __m256i half =
      _mm256_max_epu16(_mm512_castsi512_si256(top), _mm512_extracti64x4_epi64(top, 1));
  const __m128i eight =
      _mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const __m128i least = _mm_minpos_epu16(_mm_xor_si128(eight, _mm_set1_epi16(-1)));
  const auto bits = static_cast<uint32_t>(~_mm_cvtsi128_si32(least) & 0xffff) << 16;
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof(largest));
  const __m512 to_code = _mm512_set1_ps(largest > 0 ? 127 / largest : 0);
  // Narrowing takes four dimensions of each vector in turn.
  const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int c = 0; c < head_dim; c += 64) {
    __m512i codes[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __m512i two = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(
          static_cast<__mmask16>(FirstOnes(head_dim - c - 16 * v)), in + c + 16 * v));
      const auto values = (__m512)_mm512_slli_epi32(two, 16);
      codes[v] = _mm512_cvtps_epi32(_mm512_mul_ps(values, to_code));
    }
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(codes[0], codes[1]),
                                             _mm512_packs_epi32(codes[2], codes[3]));
    _mm512_storeu_si512(out + c,
                        _mm512_xor_si512(_mm512_permutexvar_epi32(in_order, bytes),
                                         _mm512_set1_epi8(static_cast<char>(kKeyBias))));
  }
  return largest / 127;
}
inline float KeyCodes(const Int8* in, int head_dim, unsigned char* out) {
  for (int c = 0; c < head_dim; c += 64) {
    const __m512i codes = _mm512_maskz_loadu_epi8(FirstOnes(head_dim - c), in + c);
    _mm512_storeu_si512(out + c,
                        _mm512_xor_si512(codes, _mm512_set1_epi8(static_cast<char>(kKeyBias))));
  }
  return ScaleOf(in, head_dim);
}

// Four rows against 16 * n lanes: scores, still to be multiplied by the lane's scale.
template <int n>
inline __attribute__((always_inline)) void ScoreBlock(const Int8Queries& q,
                                                      const unsigned char* keys,
                                                      int row_bytes,
                                                      const float* scales,
                                                      int lane,
                                                      float* out) {
  __m512i acc[4][n];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) {
      acc[i][v] = _mm512_loadu_si512(q.start + lane + v * Int8Queries::kWidth);
    }
  }
  for (int word = 0; word < q.n_words; ++word) {
    const int32_t* codes = q.codes + static_cast<ptrdiff_t>(word) * q.padded_lanes + lane;
    __m512i queries[n];
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) {
      queries[v] = _mm512_loadu_si512(codes + v * Int8Queries::kWidth);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      int32_t four;
      __builtin_memcpy(&four, keys + i * row_bytes + 4 * word, sizeof(four));
      const __m512i key = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int v = 0; v < n; ++v) acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], key, queries[v]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 scale = _mm512_set1_ps(scales[i]);
    float* row = out + static_cast<ptrdiff_t>(i) * q.padded_lanes + lane;
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) {
      _mm512_storeu_ps(row + v * Int8Queries::kWidth,
                       _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][v]), scale));
    }
  }
}

// t.scores [rows][lanes] of a tile whose queries PackInt8Queries made.
template <class Element>
void ScoreInt8(const AttendTile& t) {
  const Int8Queries q(t.queries, t.head_dim, t.padded_lanes);
  const int row_bytes = (t.head_dim + 63) / 64 * 64;
  auto* keys = reinterpret_cast<unsigned char*>(t.rows);
  float scales[kAttendMostRows];
  for (int j = 0; j < t.n_rows; ++j) {
    const auto* in = reinterpret_cast<const Element*>(t.keys[j] + t.head_offset);
    scales[j] = KeyCodes(in, t.head_dim, keys + static_cast<ptrdiff_t>(j) * row_bytes);
  }
  // Scores of rows that are not there are read by nobody.
  for (int j = t.n_rows; j % 4 != 0; ++j) scales[j] = 0;
  for (int lane = 0; lane < t.padded_lanes;) {
    const int left = (t.padded_lanes - lane) / Int8Queries::kWidth;
    const int n = left < 4 ? left : 4;
    for (int j = 0; j < t.n_rows; j += 4) {
      const unsigned char* rows = keys + static_cast<ptrdiff_t>(j) * row_bytes;
      float* out = t.scores + static_cast<ptrdiff_t>(j) * t.padded_lanes;
      switch (n) {
        case 1:
          ScoreBlock<1>(q, rows, row_bytes, scales + j, lane, out);
          break;
        case 2:
          ScoreBlock<2>(q, rows, row_bytes, scales + j, lane, out);
          break;
        case 3:
          ScoreBlock<3>(q, rows, row_bytes, scales + j, lane, out);
          break;
        default:
          ScoreBlock<4>(q, rows, row_bytes, scales + j, lane, out);
      }
    }
    lane += n * Int8Queries::kWidth;
  }
}

}  // namespace
}  // namespace keyhole
