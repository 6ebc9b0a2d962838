// Scores of many queries by int8 products, four at a time and twice as many as bf16 pairs in an
// instruction. Each query, and each row's keys of one head, are rounded to int8 with a scale of
// their own: products of INT8 for Q K^T alone, as in SageAttention (arXiv 2410.02367). Part of
// attend_avx512bf16.cc.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/pin_vector.h"
#include "engine/ops/cpu/transpose_avx512.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kVectorLanes = 16;

// Sixteen packed queries, in place of [head_dim][16] floats.
struct QueryVector {
  QueryVector(const float* queries, int head_dim, int lane)
      : n_words((head_dim + 3) / 4),
        codes(reinterpret_cast<const int32_t*>(queries) + static_cast<ptrdiff_t>(lane) * head_dim),
        scales(queries + static_cast<ptrdiff_t>(lane) * head_dim +
               static_cast<ptrdiff_t>(n_words) * kVectorLanes),
        start(reinterpret_cast<const int32_t*>(scales) + kVectorLanes) {}

  int n_words;
  const int32_t* codes;  // [n_words][16], a word: four dimensions of one lane
  const float* scales;   // [16]
  const int32_t* start;  // [16], what takes back that codes of keys are biased
};

constexpr int kKeyBias = 128;  // one operand of the products is unsigned

// `columns` [head_dim][16] become what QueryVector says.
inline void PackColumns(float* columns, int head_dim) {
  __m512i top_bits = _mm512_setzero_si512();  // as integers, what is no number is above infinity
  for (int c = 0; c < head_dim; ++c) {
    const __m512 size = _mm512_abs_ps(_mm512_loadu_ps(columns + c * kVectorLanes));
    top_bits = _mm512_max_epi32(top_bits, _mm512_castps_si512(size));
  }
  const __m512 top = _mm512_castsi512_ps(top_bits);
  const __mmask16 finite = _mm512_cmp_ps_mask(top, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
  // A query of zeros has codes of zero under any scale.
  const __mmask16 some = _mm512_cmp_ps_mask(top, _mm512_setzero_ps(), _CMP_GT_OQ);
  const __m512 largest = _mm512_mask_mov_ps(_mm512_set1_ps(1), some, top);
  const __m512 to_code = _mm512_div_ps(_mm512_set1_ps(127), largest);
  __m512i sum = _mm512_setzero_si512();
  float* out = columns;
  for (int word = 0; 4 * word < head_dim; ++word, out += kVectorLanes) {
    __m512i codes = _mm512_setzero_si512();
    for (int c = 4 * word; c < head_dim && c < 4 * word + 4; ++c) {
      const __m512 values = _mm512_loadu_ps(columns + c * kVectorLanes);
      const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(values, to_code));
      const __m512i byte = _mm512_and_si512(code, _mm512_set1_epi32(255));
      codes = _mm512_or_si512(codes, _mm512_slli_epi32(byte, 8 * (c % 4)));
      sum = _mm512_add_epi32(sum, code);
    }
    _mm512_storeu_si512(out, codes);
  }
  const __m512 scale = _mm512_div_ps(largest, _mm512_set1_ps(127));
  _mm512_storeu_ps(out, _mm512_mask_mov_ps(_mm512_set1_ps(__builtin_nanf("")), finite, scale));
  _mm512_storeu_si512(out + kVectorLanes, _mm512_mullo_epi32(sum, _mm512_set1_epi32(-kKeyBias)));
}

void PackInt8Queries(const float* rows, float* queries, int head_dim, int padded_lanes) {
  const ptrdiff_t size = static_cast<ptrdiff_t>(head_dim) * kVectorLanes;
  for (int lane = 0; lane < padded_lanes; lane += kVectorLanes, rows += size, queries += size) {
    Transpose(rows, kVectorLanes, head_dim, queries);
    PackColumns(queries, head_dim);
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

// Four rows against sixteen lanes of each query: scores, still to be multiplied by the lane's
// scale, to out [4][row_step]. `tops` become the largest of them and what they were.
template <int n>
inline __attribute__((always_inline)) void ScoreBlock(const QueryVector* queries,
                                                      const unsigned char* keys,
                                                      int row_bytes,
                                                      const float* scales,
                                                      float* out,
                                                      int row_step,
                                                      __m512 (&tops)[n]) {
  __m512i acc[4][n];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < n; ++v) acc[i][v] = _mm512_loadu_si512(queries[v].start);
  }
  for (int word = 0; word < queries[0].n_words; ++word) {
    __m512i codes[n];
#pragma GCC unroll 2
    for (int v = 0; v < n; ++v) {
      codes[v] = _mm512_loadu_si512(queries[v].codes + static_cast<ptrdiff_t>(word) * kVectorLanes);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      int32_t four;
      __builtin_memcpy(&four, keys + i * row_bytes + 4 * word, sizeof(four));
      const __m512i key = _mm512_set1_epi32(four);
#pragma GCC unroll 2
      for (int v = 0; v < n; ++v) {
        acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], key, codes[v]);
        Pin(acc[i][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 scale = _mm512_set1_ps(scales[i]);
#pragma GCC unroll 2
    for (int v = 0; v < n; ++v) {
      const __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][v]), scale);
      _mm512_storeu_ps(out + i * row_step + v * kVectorLanes, score);
      tops[v] = _mm512_max_ps(tops[v], score);
    }
  }
}

}  // namespace
}  // namespace keyhole
