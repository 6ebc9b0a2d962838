// Kernels of Linear for any processor.
#include "engine/ops/cpu/linear_kernels_impl.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Portable : Vectors4 {
  static constexpr int kVectors = kPanelColumns / kWidth;
  static constexpr int kMaxRows = 2;
  static constexpr int kMaxRowsInt8 = 2;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kPanelsOneRow = 1;
  static constexpr int kSums = 8;

  static inline V MulAdd(V a, V b, V c) { return a * b + c; }

  // The fraction and exponent of an f16 number, moved to where f32 has them, are its value times
  // 2^-112.
  static inline V LoadHalf(const uint16_t* p) {
    H h;
    __builtin_memcpy(&h, p, sizeof(h));
    const U bits = __builtin_convertvector(h, U);
    const V magnitude = reinterpret_cast<V>((bits & 0x7FFF) << 13) * 0x1p112F;
    const I no_number = (bits & 0x7C00) == 0x7C00;
    const U infinite = reinterpret_cast<U>(no_number) & 0x7F800000;
    return reinterpret_cast<V>(reinterpret_cast<U>(magnitude) | infinite | ((bits & 0x8000) << 16));
  }

  static inline void StoreBytes(I q, signed char* to) {
    for (int i = 0; i < kWidth; ++i) to[i] = static_cast<signed char>(q[i]);
  }

  static inline int Code(unsigned char byte, int bits, int nibble) {
    return bits == 8 ? byte : (byte >> (4 * nibble)) & 15;
  }

  template <int kBits, int kRows>
  static inline void DotBlock(const unsigned char* codes,
                              const int32_t* x,
                              const int32_t* start,
                              V (*out)[kVectors]) {
    for (int r = 0; r < kRows; ++r) {
      int32_t sums[kPanelColumns];
      for (int32_t& sum : sums) sum = start[r];
      for (int g = 0; g < 8; ++g) {
        signed char xs[4];
        __builtin_memcpy(xs, x + r * kBlockWords + g, sizeof(xs));
        const unsigned char* group = codes + g % kBits * 4 * kPanelColumns;
        for (int c = 0; c < kPanelColumns; ++c) {
          for (int j = 0; j < 4; ++j) sums[c] += xs[j] * Code(group[4 * c + j], kBits, g / kBits);
        }
      }
      for (int v = 0; v < kVectors; ++v) {
        I part;
        __builtin_memcpy(&part, sums + v * kWidth, sizeof(part));
        out[r][v] = __builtin_convertvector(part, V);
      }
    }
  }
};

}  // namespace

LinearKernels LinearKernelsPortable() { return LinearKernelsImpl<Portable>::Set(); }

}  // namespace keyhole
