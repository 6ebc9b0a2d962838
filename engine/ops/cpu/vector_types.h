// Vectors of 4, 8 and 16 values, and the same under the names that VectorMath takes from its `Isa`.
#pragma once

#include <stdint.h>

namespace keyhole {
namespace {

// Vectors of float, int32_t, uint32_t, uint16_t and int8_t. One by one, since the compiler takes no
// vector size from a template's parameter everywhere.
template <int kWidth>
struct VectorTypes;

template <>
struct VectorTypes<4> {
  typedef float V __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  typedef uint32_t U __attribute__((vector_size(16)));
  typedef uint16_t H __attribute__((vector_size(8)));
  typedef int8_t B __attribute__((vector_size(4)));
};

template <>
struct VectorTypes<8> {
  typedef float V __attribute__((vector_size(32)));
  typedef int32_t I __attribute__((vector_size(32)));
  typedef uint32_t U __attribute__((vector_size(32)));
  typedef uint16_t H __attribute__((vector_size(16)));
  typedef int8_t B __attribute__((vector_size(8)));
};

template <>
struct VectorTypes<16> {
  typedef float V __attribute__((vector_size(64)));
  typedef int32_t I __attribute__((vector_size(64)));
  typedef uint32_t U __attribute__((vector_size(64)));
  typedef uint16_t H __attribute__((vector_size(32)));
  typedef int8_t B __attribute__((vector_size(16)));
};

struct Vectors4 : VectorTypes<4> {
  static constexpr int kWidth = 4;
};

struct Vectors8 : VectorTypes<8> {
  static constexpr int kWidth = 8;
};

struct Vectors16 : VectorTypes<16> {
  static constexpr int kWidth = 16;
};

}  // namespace
}  // namespace keyhole
