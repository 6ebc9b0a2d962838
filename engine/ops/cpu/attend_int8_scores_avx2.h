// Scores of many queries by products of bytes. Each query, and each row's keys of one head, have a
// scale of their own: products of INT8 for Q K^T alone, as in SageAttention (arXiv 2410.02367).
// Four products are added in 16 bits, which bounds the codes. Part of attend_avx2.cc.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_isa_avx2.h"
#include "engine/ops/cpu/attend_many_avx2.h"
#include "engine/ops/cpu/pin_vector.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

// The largest code of a key; one operand of the products is unsigned, so that codes are biased.
// Codes of int8 rows are taken as they are. For bf16 rows fewer codes of keys leave more for
// queries: the errors of both are about the same.
template <class Element>
constexpr int kMostKey = 88;
template <>
constexpr int kMostKey<Int8> = 127;
template <class Element>
constexpr int kKeyBias = kMostKey<Element> + 1;

// Of four codes of a query that are added in 16 bits the absolute values may sum up to this.
template <class Element>
constexpr int kMostQuerySum = 32767 / (kMostKey<Element> + kKeyBias<Element>);

// Sixteen packed queries.
struct QueryBlock {
  QueryBlock(const float* queries, int head_dim, int block)
      : n_words(head_dim / 4),
        codes(reinterpret_cast<const int32_t*>(queries) +
              static_cast<ptrdiff_t>(block) * (n_words + 2) * kBlockLanes),
        scales(queries + (codes - reinterpret_cast<const int32_t*>(queries)) +
               static_cast<ptrdiff_t>(n_words) * kBlockLanes),
        start(reinterpret_cast<const int32_t*>(scales) + kBlockLanes) {}

  int n_words;           // even
  const int32_t* codes;  // [n_words][16], a word: four dimensions of one lane
  const float* scales;   // [16]
  const int32_t* start;  // [16], what takes back that codes of keys are biased
};

inline __m256 Absolute(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), v); }

// Eight codes, which fit a byte.
inline __m128i ToBytes(__m256 v) {
  const __m256i words = _mm256_cvtps_epi32(v);
  const __m128i pairs =
      _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  return _mm_packs_epi16(pairs, pairs);
}

// The codes of one query for a unit: none above 127, nor four that are added above `most`. No
// number, if one in it is none.
inline float QueryCodesOf(const float* row, int head_dim, int most) {
  __m256 top_sum = _mm256_setzero_ps();
  for (int c = 0; c < head_dim; c += 8) {
    const __m256 v = Absolute(_mm256_loadu_ps(row + c));
    // Dimensions 4 i + 2 p and the next of two words i are added: pairs p of both halves.
    const __m256 pairs = _mm256_hadd_ps(v, v);
    top_sum = _mm256_max_ps(top_sum, _mm256_add_ps(pairs, _mm256_permute2f128_ps(pairs, pairs, 1)));
  }
  const float largest = LargestIn(row, head_dim);
  const float largest_sum = Avx2::MaxOf(top_sum);
  // Each of the four may be rounded up by a half.
  const float by_one = 127 / largest;
  const float by_sum = static_cast<float>(most - 2) / largest_sum;
  if (!(largest < __builtin_inff())) return __builtin_nanf("");
  if (!(largest > 0)) return 1;  // zeros have codes of zero under any scale
  return by_sum < by_one ? by_sum : by_one;
}

template <class Element>
void PackInt8Queries(const float* rows, float* queries, int head_dim, int padded_lanes) {
  for (int lane = 0; lane < padded_lanes; ++lane, rows += head_dim) {
    const QueryBlock block(queries, head_dim, lane / kBlockLanes);
    const ptrdiff_t in_block = lane % kBlockLanes;
    float* const at = queries + (block.scales - queries) -
                      static_cast<ptrdiff_t>(block.n_words) * kBlockLanes + in_block;
    const float to_code = QueryCodesOf(rows, head_dim, kMostQuerySum<Element>);
    const __m256 factor = _mm256_set1_ps(to_code);
    __m256i sum = _mm256_setzero_si256();
    for (int c = 0; c < head_dim; c += 8) {
      const __m256 codes = _mm256_mul_ps(_mm256_loadu_ps(rows + c), factor);
      sum = _mm256_add_epi32(sum, _mm256_cvtps_epi32(codes));
      const int64_t bytes = _mm_cvtsi128_si64(ToBytes(codes));
      float* word = at + static_cast<ptrdiff_t>(c) / 4 * kBlockLanes;
      __builtin_memcpy(word, &bytes, 4);
      __builtin_memcpy(word + kBlockLanes, reinterpret_cast<const char*>(&bytes) + 4, 4);
    }
    alignas(32) int32_t sums[8];
    StoreWords(sums, sum);
    uint32_t start = 0;  // may wrap around
    for (const int32_t s : sums) start -= static_cast<uint32_t>(s) * kKeyBias<Element>;
    const float scale = 1 / to_code;
    float* const scale_at = at + static_cast<ptrdiff_t>(block.n_words) * kBlockLanes;
    *scale_at = scale;
    __builtin_memcpy(scale_at + kBlockLanes, &start, sizeof(start));
  }
}

// Of one row's keys of one head: head_dim codes with their bias; returns their scale.
template <class Element>
float KeyCodes(const Element* in, int head_dim, unsigned char* out) {
  float scale;
  const __m256 factor = CodeFactor(in, head_dim, kMostKey<Element>, scale);
  for (int c = 0; c < head_dim; c += 8) {
    const __m128i bytes = ToBytes(_mm256_mul_ps(VectorMath<Avx2>::Load(in + c), factor));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + c),
                     _mm_add_epi8(bytes, _mm_set1_epi8(static_cast<char>(kKeyBias<Element>))));
  }
  return scale;
}

// Four rows against sixteen lanes: scores, still to be multiplied by the lane's scale. `tops`
// become the largest of them and what they were.
inline void ScoreBlock(const QueryBlock& q,
                       const unsigned char* keys,
                       const float* scales,
                       float* out,
                       __m256 (&tops)[kBlockVectors]) {
  const __m256i ones = _mm256_set1_epi16(1);
  const ptrdiff_t row_bytes = 4 * static_cast<ptrdiff_t>(q.n_words);
  __m256i acc[4][kBlockVectors];
#pragma GCC unroll 4
  for (auto& row : acc) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) row[v] = LoadWords(q.start + v * kVectorLanes);
  }
  const int32_t* codes = q.codes;
  for (int word = 0; word < q.n_words; word += 2, codes += 2 * kBlockLanes) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const unsigned char* key = keys + i * row_bytes + 4 * static_cast<ptrdiff_t>(word);
      const __m256i low = SpreadWord(key);
      const __m256i high = SpreadWord(key + 4);
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) {
        const int32_t* query = codes + v * kVectorLanes;
        __m256i sums = _mm256_add_epi16(_mm256_maddubs_epi16(low, LoadWords(query)),
                                        _mm256_maddubs_epi16(high, LoadWords(query + kBlockLanes)));
        Pin(sums);
        acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_madd_epi16(sums, ones));
        Pin(acc[i][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256 scale = _mm256_set1_ps(scales[i]);
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      const __m256 score = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[i][v]), scale);
      _mm256_storeu_ps(out + i * kBlockLanes + v * kVectorLanes, score);
      tops[v] = _mm256_max_ps(tops[v], score);
    }
  }
}

}  // namespace
}  // namespace keyhole
