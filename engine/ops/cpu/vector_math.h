// Arithmetic on vectors of floats for any width, written with the compiler's vector extension.
// `Isa` gives kWidth and MulAdd, and may give LoadBf16. Includes no library header: see
// attend_kernels_impl.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Bf16 {
  uint16_t bits;
};

// 1.5 * 2^23: adding it leaves the nearest integer, ties to even, in the low bits.
constexpr float kRound = 12582912;

// Of f^3, f^2, f and 1 in 2^f, relative error 1e-4: least maximum of it over [-1/2, 1/2] that makes
// 1 of 0, since what was summed before is scaled by 2^0 again and again.
constexpr float kRoughExp2[] = {5.50088655e-2F, 2.42210969e-1F, 6.93282935e-1F, 1};

// Codes of a head, whose scale follows them.
struct Int8 {
  int8_t code;
};

template <class Element>
inline constexpr bool kHasScale = false;
template <>
inline constexpr bool kHasScale<Int8> = true;

template <class Isa>
struct VectorMath {
  static constexpr int kWidth = Isa::kWidth;
  using V = typename VectorTypes<kWidth>::V;
  using I = typename VectorTypes<kWidth>::I;
  using U = typename VectorTypes<kWidth>::U;
  using H = typename VectorTypes<kWidth>::H;
  using B = typename VectorTypes<kWidth>::B;

  static inline V Set(float x) { return x - V{}; }

  static inline V Load(const float* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  static inline V Load(const Bf16* p) {
    if constexpr (requires { Isa::LoadBf16(p); }) {
      return Isa::LoadBf16(p);
    } else {
      H h;
      __builtin_memcpy(&h, p, sizeof(h));
      return reinterpret_cast<V>(__builtin_convertvector(h, U) << 16);
    }
  }
  static inline V Load(const Int8* p) {
    if constexpr (requires { Isa::LoadInt8(p); }) {
      return Isa::LoadInt8(p);
    } else {
      B b;
      __builtin_memcpy(&b, p, sizeof(b));
      return __builtin_convertvector(b, V);
    }
  }
  static inline I LoadInt(const int32_t* p) {
    I v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  static inline void Store(float* p, V v) { __builtin_memcpy(p, &v, sizeof(v)); }

  static inline float Scalar(float x) { return x; }
  static inline float Scalar(Bf16 x) {
    const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }

  static inline float Scalar(Int8 x) { return x.code; }

  static inline float First(V v) { return v[0]; }
  // b, where one is no number.
  static inline V Max(V a, V b) { return a > b ? a : b; }

  // 2^x for x <= 0, relative error 2e-7; 0 below -125, and for minus infinity. Of what is no number
  // it is none either.
  static inline V Exp2(V x) {
    constexpr float kLeast = -125;
    const V clamped = Max(Set(kLeast), x);
    const V shifted = clamped + Set(kRound);
    const V f = clamped - (shifted - Set(kRound));
    // Least squares of the relative error over [-1/2, 1/2].
    V p = Set(1.5337576e-4F);
    p = Isa::MulAdd(p, f, Set(1.33998604e-3F));
    p = Isa::MulAdd(p, f, Set(9.61851953e-3F));
    p = Isa::MulAdd(p, f, Set(5.55032900e-2F));
    p = Isa::MulAdd(p, f, Set(2.40226466e-1F));
    p = Isa::MulAdd(p, f, Set(6.93147206e-1F));
    p = Isa::MulAdd(p, f, Set(1));
    const I exponent = reinterpret_cast<I>(shifted) - reinterpret_cast<I>(Set(kRound)) + 127;
    return x < Set(kLeast) ? Set(0) : p * reinterpret_cast<V>(exponent << 23);
  }
};

}  // namespace
}  // namespace keyhole
