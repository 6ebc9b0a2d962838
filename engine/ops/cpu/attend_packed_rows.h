// A tile's rows as products of int8 and of bf16 pairs take them. Part of attend_avx512bf16.cc.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_int8_scores.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_row_groups.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/bf16_math.h"

namespace keyhole {
namespace {

struct PackedRows {
  explicit PackedRows(int n_rows) : rows(n_rows) {}

  const TileRows rows;
  int key_bytes = 0;                    // of a row
  const unsigned char* keys = nullptr;  // [rows.n][key_bytes], codes
  const float* values = nullptr;        // [rows.with_means() / 2][padded_dim], pairs of two rows'
  float key_scales[kManyRows];
  bool finite = true;
};

// Sixteen dimensions of the mean of a group's values of one head, from c on.
template <class Element>
__m512 MeanOfValues(const AttendTile& t, int group, int c) {
  const auto mask = static_cast<__mmask16>(FirstOnes(t.head_dim - c));
  const int first = group * kRowGroup;
  const int n = t.n_rows - first < kRowGroup ? t.n_rows - first : kRowGroup;
  __m512 sum = _mm512_setzero_ps();
  for (int r = first; r < first + n; ++r) {
    const auto* head = reinterpret_cast<const Element*>(t.values[r] + t.head_offset);
    const __m256i row = LoadBf16(head + c, mask, ScaleOf(head, t.head_dim));
    sum = _mm512_add_ps(sum, (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(row), 16));
  }
  return _mm512_mul_ps(sum, _mm512_set1_ps(1 / static_cast<float>(n)));
}

template <class Element>
void PackRows(const AttendTile& t, PackedRows& packed) {
  const TileRows& rows = packed.rows;
  packed.key_bytes = (t.head_dim + 63) / 64 * 64;
  auto* keys = reinterpret_cast<unsigned char*>(t.rows);
  float* values = t.rows + static_cast<ptrdiff_t>(rows.n) * packed.key_bytes / 4;
  packed.keys = keys;
  packed.values = values;
  for (int j = 0; j < rows.n; ++j, keys += packed.key_bytes) {
    const float scale = KeyCodes(HeadOf<Element>(t, t.keys, j), t.head_dim, keys);
    const bool finite = scale < __builtin_inff();
    packed.key_scales[j] = finite ? scale : __builtin_nanf("");
    packed.finite = packed.finite && finite;
  }
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 no_number = 0;
  for (int j = 0; j < rows.n; j += 2, values += t.padded_dim) {
    const Element* low = HeadOf<Element>(t, t.values, j);
    const Element* high = HeadOf<Element>(t, t.values, j + 1);
    const float low_scale = ScaleOf(low, t.head_dim);
    const float high_scale = ScaleOf(high, t.head_dim);
    for (int c = 0; c < t.padded_dim; c += kVectorLanes) {
      const auto mask = static_cast<__mmask16>(FirstOnes(t.head_dim - c));
      const __m512i pairs =
          Pair(LoadBf16(low + c, mask, low_scale), LoadBf16(high + c, mask, high_scale));
      no_number |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(pairs, exponent), exponent);
      _mm512_storeu_si512(values + c, pairs);
    }
  }
  packed.finite = packed.finite && no_number == 0;
  const __m512i interleave = Interleave();
  for (int g = 0; g < rows.n_means; g += 2, values += t.padded_dim) {
    const int low = g < rows.n_groups ? g : rows.n_groups - 1;
    const int high = g + 1 < rows.n_groups ? g + 1 : rows.n_groups - 1;
    for (int c = 0; c < t.padded_dim; c += kVectorLanes) {
      const __m512 mean = MeanOfValues<Element>(t, low, c);
      _mm512_storeu_si512(values + c,
                          RoundToPairs(mean, MeanOfValues<Element>(t, high, c), interleave));
    }
  }
}

}  // namespace
}  // namespace keyhole
