// Rows and columns of 32-bit words exchanged, for AVX-512.
#pragma once

#include <immintrin.h>
#include <stddef.h>

namespace keyhole {
namespace {

// Sixteen vectors of sixteen words, rows and columns exchanged.
inline __attribute__((always_inline)) void Transpose(__m512i (&v)[16]) {
  __m512i w[16];
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    const __m512i b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
    const __m512i d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
    w[i] = _mm512_unpacklo_epi64(a, c);
    w[i + 1] = _mm512_unpackhi_epi64(a, c);
    w[i + 2] = _mm512_unpacklo_epi64(b, d);
    w[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i a = _mm512_shuffle_i32x4(w[i], w[i + 4], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(w[i], w[i + 4], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(w[i + 8], w[i + 12], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(w[i + 8], w[i + 12], 0xdd);
    v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
    v[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
    v[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
    v[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

// in [n_rows, n_columns] to out [n_columns, n_rows]. n_rows is a multiple of 16.
inline void Transpose(const float* in, int n_rows, int n_columns, float* out) {
  for (int row = 0; row < n_rows; row += 16) {
    for (int c = 0; c < n_columns; c += 16) {
      const int n = n_columns - c < 16 ? n_columns - c : 16;
      const auto mask = static_cast<__mmask16>((1 << n) - 1);
      __m512i v[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        v[i] = _mm512_maskz_loadu_epi32(mask, in + static_cast<ptrdiff_t>(row + i) * n_columns + c);
      }
      Transpose(v);
      for (int i = 0; i < n; ++i) {
        _mm512_storeu_si512(out + static_cast<ptrdiff_t>(c + i) * n_rows + row, v[i]);
      }
    }
  }
}

}  // namespace
}  // namespace keyhole
