// Integers drawn from a seed, the same on every machine (SplitMix64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace keyhole::eval {

// Thread: one owner.
class Random {
 public:
  // `stream` separates the draws of one seed by what they are for.
  Random(std::uint64_t seed, std::uint64_t stream) : state_(seed) {
    state_ = Next() ^ (stream * 0x9e3779b97f4a7c15u);
  }

  std::uint64_t Next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // In [0, limit); limit is far below 2^32, so that the modulo's bias does not matter.
  std::size_t Below(std::size_t limit) { return Next() % limit; }

  // In [0, 1), a multiple of 2^-20.
  double Share() { return static_cast<double>(Next() >> 44) / (1 << 20); }

  // Five digits, the first not 0.
  std::string Number() { return std::to_string(10'000 + Below(90'000)); }

  template <typename T>
  void Shuffle(std::vector<T>* values) {
    for (std::size_t i = values->size(); i > 1; --i)
      std::swap((*values)[i - 1], (*values)[Below(i)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace keyhole::eval
