// Stands for the compiler's header where kernels for AVX-512 shall run on a machine without it:
// SIMDe's portable functions under the intrinsics' names, and those that its version 0.7 lacks.
#ifdef KEYHOLE_EMULATED_AVX512
#include_next <immintrin.h>  // what SIMDe itself asks for
#else
#define KEYHOLE_EMULATED_AVX512

#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace keyhole::emulated {

template <class T, int n>
struct Lanes {
  T at[n] = {};

  Lanes() = default;
  template <class Vector>
  explicit Lanes(const Vector& vector) {
    static_assert(sizeof(vector) == sizeof(at));
    std::memcpy(at, &vector, sizeof(at));
  }
  template <class Vector>
  Vector As() const {
    static_assert(sizeof(Vector) == sizeof(at));
    Vector vector;
    std::memcpy(&vector, at, sizeof(at));
    return vector;
  }
};

template <class To, class From, int n, class Convert>
Lanes<To, n> Each(const Lanes<From, n>& from, const Convert& convert) {
  Lanes<To, n> to;
  for (int i = 0; i < n; ++i) to.at[i] = convert(from.at[i]);
  return to;
}

// Lanes whose bit is not set are not read.
template <class T, int n, class Vector>
Vector LoadMasked(std::uint64_t mask, const void* from) {
  Lanes<T, n> to;
  for (int i = 0; i < n; ++i) {
    if ((mask >> i & 1) != 0) {
      std::memcpy(&to.at[i], static_cast<const char*>(from) + i * sizeof(T), sizeof(T));
    }
  }
  return to.template As<Vector>();
}

inline void StoreMasked(void* to, std::uint64_t mask, __m512 from) {
  const Lanes<float, 16> lanes(from);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) {
      std::memcpy(static_cast<char*>(to) + i * sizeof(float), &lanes.at[i], sizeof(float));
    }
  }
}

template <class T, int n, class Vector, class Holds>
std::uint64_t Compare(const Vector& a, const Vector& b, const Holds& holds) {
  const Lanes<T, n> left(a);
  const Lanes<T, n> right(b);
  std::uint64_t mask = 0;
  for (int i = 0; i < n; ++i) mask |= std::uint64_t{holds(left.at[i], right.at[i])} << i;
  return mask;
}

inline std::uint16_t ToBf16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  if (std::isnan(x)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline std::int32_t ToInt(float x) {
  const bool fits = x >= -2147483648.0F && x < 2147483648.0F;
  return fits ? static_cast<std::int32_t>(std::nearbyint(x))
              : std::numeric_limits<std::int32_t>::min();
}

// 128 bits from each: two of `a`, two of `b`.
inline __m512 ShuffleQuarters(__m512 a, __m512 b, int which) {
  const Lanes<float, 16> left(a);
  const Lanes<float, 16> right(b);
  Lanes<float, 16> to;
  for (int q = 0; q < 4; ++q) {
    const float* from = (q < 2 ? left : right).at + (which >> (2 * q) & 3) * 4;
    std::memcpy(to.at + 4 * q, from, 4 * sizeof(float));
  }
  return to.As<__m512>();
}

template <class To, class From, int n, class Result, class Vector>
Result Convert(const Vector& from) {
  return Each<To>(Lanes<From, n>(from), [](From x) { return static_cast<To>(x); })
      .template As<Result>();
}

inline __m512bh ToBf16Pair(__m512 high, __m512 low) {
  const Lanes<float, 16> halves[] = {Lanes<float, 16>(low), Lanes<float, 16>(high)};
  Lanes<std::uint16_t, 32> to;
  for (int i = 0; i < 32; ++i) to.at[i] = ToBf16(halves[i / 16].at[i % 16]);
  return to.As<__m512bh>();
}

inline __m512 FromHalf(__m256i halves) {
  const __m256 parts[] = {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                          _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
  return Lanes<float, 16>(parts).As<__m512>();
}

using HalfBf16 = float __attribute__((vector_size(32)));

inline float Sum(__m512 v) {
  float sum = 0;
  for (const float x : Lanes<float, 16>(v).at) sum += x;
  return sum;
}

inline float Largest(__m512 v) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float x : Lanes<float, 16>(v).at) largest = x > largest ? x : largest;
  return largest;
}

}  // namespace keyhole::emulated

#define KEYHOLE_EMULATED keyhole::emulated

// Macros of some compilers' headers.
#undef _mm512_cmpeq_epi16_mask
#undef _mm512_cmpneq_ps_mask
#undef _mm512_shuffle_f32x4

// Their arguments may have commas within braces.
#undef _mm512_fmadd_ps
#undef _mm512_store_si512
#define _mm512_fmadd_ps(...) simde_mm512_fmadd_ps(__VA_ARGS__)
#define _mm512_store_si512(...) simde_mm512_store_si512(__VA_ARGS__)

// SIMDe 0.7 gives this name to another function's macro.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)

#define _mm_maskz_loadu_epi8(m, p) (KEYHOLE_EMULATED::LoadMasked<char, 16, __m128i>(m, p))
#define _mm256_maskz_loadu_epi16(m, p) (KEYHOLE_EMULATED::LoadMasked<short, 16, __m256i>(m, p))
#define _mm512_maskz_loadu_epi8(m, p) (KEYHOLE_EMULATED::LoadMasked<char, 64, __m512i>(m, p))
#define _mm512_maskz_loadu_epi16(m, p) (KEYHOLE_EMULATED::LoadMasked<short, 32, __m512i>(m, p))
#define _mm512_maskz_loadu_epi32(m, p) (KEYHOLE_EMULATED::LoadMasked<int, 16, __m512i>(m, p))
#define _mm512_maskz_loadu_ps(m, p) (KEYHOLE_EMULATED::LoadMasked<float, 16, __m512>(m, p))
#define _mm512_mask_storeu_ps(p, m, v) (KEYHOLE_EMULATED::StoreMasked(p, m, v))
#define _mm512_cmpneq_ps_mask(a, b)                                     \
  (static_cast<__mmask16>(KEYHOLE_EMULATED::Compare<float, 16, __m512>( \
      a, b, [](float x, float y) { return !(x == y); })))
#define _mm512_cmpeq_epi16_mask(a, b)                                    \
  (static_cast<__mmask32>(KEYHOLE_EMULATED::Compare<short, 32, __m512i>( \
      a, b, [](short x, short y) { return x == y; })))
#define _mm512_cvtepi32_ps(v) (KEYHOLE_EMULATED::Convert<float, std::int32_t, 16, __m512>(v))
#define _mm512_cvtepi32_epi8(v) \
  (KEYHOLE_EMULATED::Convert<std::int8_t, std::int32_t, 16, __m128i>(v))
#define _mm512_cvtepi8_epi32(v) \
  (KEYHOLE_EMULATED::Convert<std::int32_t, std::int8_t, 16, __m512i>(v))
#define _mm512_cvtepu16_epi32(v) \
  (KEYHOLE_EMULATED::Convert<std::int32_t, std::uint16_t, 16, __m512i>(v))
#define _mm512_cvtps_epi32(v)                                                          \
  (KEYHOLE_EMULATED::Each<std::int32_t>(KEYHOLE_EMULATED::Lanes<float, 16>(__m512(v)), \
                                        KEYHOLE_EMULATED::ToInt)                       \
       .As<__m512i>())
#define _mm512_cvtne2ps_pbh(high, low) (KEYHOLE_EMULATED::ToBf16Pair(high, low))
#define _mm512_cvtneps_pbh(v)                                                           \
  (KEYHOLE_EMULATED::Each<std::uint16_t>(KEYHOLE_EMULATED::Lanes<float, 16>(__m512(v)), \
                                         KEYHOLE_EMULATED::ToBf16)                      \
       .As<KEYHOLE_EMULATED::HalfBf16>())
#define _mm512_cvtph_ps(v) (KEYHOLE_EMULATED::FromHalf(v))
#define _mm512_rcp14_ps(v)                                                                    \
  (KEYHOLE_EMULATED::Each<float>(KEYHOLE_EMULATED::Lanes<float, 16>(__m512(v)), [](float x) { \
     return 1 / x;                                                                            \
   }).As<__m512>())
#define _mm512_reduce_add_ps(v) (KEYHOLE_EMULATED::Sum(v))
#define _mm512_reduce_max_ps(v) (KEYHOLE_EMULATED::Largest(v))
#define _mm512_shuffle_f32x4(a, b, which) (KEYHOLE_EMULATED::ShuffleQuarters(a, b, which))

#endif
