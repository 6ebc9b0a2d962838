#include "engine/tokenizer/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace keyhole {
namespace {

// Length of the sequence that a first byte opens (0: none) and the range of its second byte.
struct Lead {
  int length;
  std::uint8_t second_min;
  std::uint8_t second_max;
};

Lead LeadOf(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Length of the run of ASCII at `at`.
std::size_t AsciiRun(std::string_view text, std::size_t at) {
  std::size_t end = at;
  for (; end + 8 <= text.size(); end += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + end, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (end < text.size() && static_cast<std::uint8_t>(text[end]) < 0x80) ++end;
  return end - at;
}

}  // namespace

Utf8Unit ReadUtf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[at + i]); };
  const Lead lead = LeadOf(byte(0));
  if (lead.length == 0) return {};
  if (lead.length == 1) return {byte(0), 1, true, false};
  const std::size_t available = std::min<std::size_t>(text.size() - at, lead.length);
  char32_t code_point = byte(0) & (0xFF >> (lead.length + 1));
  for (std::size_t i = 1; i < available; ++i) {
    const std::uint8_t low = i == 1 ? lead.second_min : 0x80;
    const std::uint8_t high = i == 1 ? lead.second_max : 0xBF;
    if (byte(i) < low || byte(i) > high) return {kReplacementCharacter, i, false, false};
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  if (available < static_cast<std::size_t>(lead.length)) {
    return {kReplacementCharacter, available, false, true};
  }
  return {code_point, available, true, false};
}

bool IsValidUtf8(std::string_view text) {
  for (std::size_t at = AsciiRun(text, 0); at < text.size(); at += AsciiRun(text, at)) {
    const Utf8Unit unit = ReadUtf8(text, at);
    if (!unit.valid) return false;
    at += unit.length;
  }
  return true;
}

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    out->push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    out->append({static_cast<char>(0xC0 | code_point >> 6), tail(0)});
  } else if (code_point < 0x10000) {
    out->append({static_cast<char>(0xE0 | code_point >> 12), tail(6), tail(0)});
  } else {
    out->append({static_cast<char>(0xF0 | code_point >> 18), tail(12), tail(6), tail(0)});
  }
}

std::size_t AppendLossy(std::string_view bytes, bool keep_truncated, std::string* out) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t ascii = AsciiRun(bytes, at);
    out->append(bytes.substr(at, ascii));
    at += ascii;
    if (at == bytes.size()) break;
    const Utf8Unit unit = ReadUtf8(bytes, at);
    if (unit.truncated && keep_truncated) return unit.length;
    if (unit.valid) {
      out->append(bytes.substr(at, unit.length));
    } else {
      AppendUtf8(kReplacementCharacter, out);
    }
    at += unit.length;
  }
  return 0;
}

bool IsWhiteSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace keyhole
