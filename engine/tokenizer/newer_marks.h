// Combining marks that Unicode knows only since version 10.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

namespace keyhole {

// Models are trained with the normalisation of Hugging Face tokenizers, whose tables are those of
// Unicode 9: it neither moves nor composes what came later. These are the later code points that
// utf8proc would: marks of a combining class other than 0, and both ends of the one new composition
// (U+11935 U+11930 -> U+11938).
constexpr bool IsNewerMark(char32_t code_point) {
  constexpr auto kRanges = std::to_array<std::pair<char32_t, char32_t>>({
      {0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
      {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
      {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
      {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
      {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
      {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
      {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
      {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
      {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
      {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
  });
  if (code_point < kRanges.front().first) return false;
  return std::ranges::any_of(kRanges, [code_point](const auto& range) {
    return range.first <= code_point && code_point <= range.second;
  });
}

}  // namespace keyhole
