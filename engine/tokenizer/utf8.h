// Reading, checking and repairing UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace keyhole {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// What stands at one place of a text: a character, or the longest start of one that is then broken
// off (Unicode 15, section 3.9, "substitution of maximal subparts").
struct Utf8Unit {
  char32_t code_point = kReplacementCharacter;
  std::size_t length = 1;  // bytes to step over; at least 1
  bool valid = false;
  bool truncated = false;  // not valid only because the text ends here
};

// REQUIRES: at < text.size().
Utf8Unit ReadUtf8(std::string_view text, std::size_t at);

bool IsValidUtf8(std::string_view text);

void AppendUtf8(char32_t code_point, std::string* out);

// Appends `bytes`, each broken unit as one U+FFFD. Returns the length of the truncated unit at the
// end, which is left out when `keep_truncated`.
std::size_t AppendLossy(std::string_view bytes, bool keep_truncated, std::string* out);

// White_Space of Unicode.
bool IsWhiteSpace(char32_t code_point);

}  // namespace keyhole
