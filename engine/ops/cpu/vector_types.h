// Vectors of 4, 8 and 16 values, under the names that VectorMath takes from its `Isa`.
#pragma once

#include <stdint.h>

namespace keyhole {
namespace {

struct Vectors4 {
  static constexpr int kWidth = 4;
  typedef float V __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  typedef uint32_t U __attribute__((vector_size(16)));
  typedef uint16_t H __attribute__((vector_size(8)));
};

struct Vectors8 {
  static constexpr int kWidth = 8;
  typedef float V __attribute__((vector_size(32)));
  typedef int32_t I __attribute__((vector_size(32)));
  typedef uint32_t U __attribute__((vector_size(32)));
  typedef uint16_t H __attribute__((vector_size(16)));
};

struct Vectors16 {
  static constexpr int kWidth = 16;
  typedef float V __attribute__((vector_size(64)));
  typedef int32_t I __attribute__((vector_size(64)));
  typedef uint32_t U __attribute__((vector_size(64)));
  typedef uint16_t H __attribute__((vector_size(32)));
};

}  // namespace
}  // namespace keyhole
