// What the integer kernels of AVX2 for many queries share. Part of attend_avx2.cc.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_isa_avx2.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/pin_vector.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kBlockLanes = 16;
constexpr int kVectorLanes = 8;
constexpr int kBlockVectors = kBlockLanes / kVectorLanes;

inline __m256i LoadWords(const int32_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
inline void StoreWords(int32_t* at, __m256i words) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), words);
}

// One word in all lanes.
inline __m256i SpreadWord(const void* at) {
  int32_t word;
  __builtin_memcpy(&word, at, sizeof(word));
  return _mm256_set1_epi32(word);
}

// The largest absolute value of a head; infinity if one is no finite number.
template <class Element>
inline float LargestIn(const Element* in, int head_dim) {
  __m256i top = _mm256_setzero_si256();
  for (int c = 0; c < head_dim; c += 8) {
    const __m256i bits = _mm256_castps_si256(VectorMath<Avx2>::Load(in + c));
    // As integers, what is no number is above infinity.
    top = _mm256_max_epi32(top, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
  }
  const __m128i half = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
  const __m128i pair = _mm_max_epi32(half, _mm_unpackhi_epi64(half, half));
  const int32_t bits = _mm_cvtsi128_si32(_mm_max_epi32(pair, _mm_srli_epi64(pair, 32)));
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof(largest));
  return largest < __builtin_inff() ? largest : __builtin_inff();
}

// What a head's elements are multiplied by to become codes of up to `most`; `scale` takes them
// back, and is infinite if one is no finite number.
template <class Element>
inline __m256 CodeFactor(const Element* in, int head_dim, int most, float& scale) {
  if constexpr (kHasScale<Element>) {
    scale = ScaleOf(in, head_dim);
    if (!(scale < __builtin_inff())) scale = __builtin_inff();
    return _mm256_set1_ps(1);
  }
  const float largest = LargestIn(in, head_dim);
  scale = largest / static_cast<float>(most);
  return _mm256_set1_ps(largest > 0 ? static_cast<float>(most) / largest : 0);
}

}  // namespace
}  // namespace keyhole
