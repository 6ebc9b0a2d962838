#include "engine/tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/tokenizer/newer_marks.h"
#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

bool IsAscii(char byte) { return static_cast<std::uint8_t>(byte) < 0x80; }

utf8proc_propval_t CombiningClass(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<utf8proc_int32_t> Decompose(std::string_view text) {
  std::vector<utf8proc_int32_t> out;
  utf8proc_int32_t parts[32];
  int boundary = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Unit unit = ReadUtf8(text, at);
    utf8proc_ssize_t n = 0;
    if (!IsNewerMark(unit.code_point)) {
      n = utf8proc_decompose_char(
          static_cast<utf8proc_int32_t>(unit.code_point), parts, 32, UTF8PROC_DECOMPOSE, &boundary);
    }
    if (n > 0 && n <= 32) {
      out.insert(out.end(), parts, parts + n);
    } else {
      out.push_back(static_cast<utf8proc_int32_t>(unit.code_point));
    }
    at += unit.length;
  }
  return out;
}

// Marks after a base into canonical order. utf8proc's own ordering takes quadratic time on a long
// run of marks.
void OrderMarks(std::span<utf8proc_int32_t> code_points) {
  const auto is_base = [](utf8proc_int32_t c) { return CombiningClass(c) == 0; };
  const auto by_class = [](utf8proc_int32_t a, utf8proc_int32_t b) {
    return CombiningClass(a) < CombiningClass(b);
  };
  for (auto begin = code_points.begin(); begin != code_points.end();) {
    begin = std::find_if_not(begin, code_points.end(), is_base);
    const auto end = std::find_if(begin, code_points.end(), is_base);
    std::stable_sort(begin, end, by_class);
    begin = end;
  }
}

void AppendComposed(std::span<utf8proc_int32_t> code_points, std::string* out) {
  OrderMarks(code_points);
  const utf8proc_ssize_t n =
      utf8proc_normalize_utf32(code_points.data(),
                               static_cast<utf8proc_ssize_t>(code_points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  for (utf8proc_ssize_t i = 0; i < n; ++i) AppendUtf8(code_points[i], out);
}

void AppendNfc(std::string_view text, std::string* out) {
  std::vector<utf8proc_int32_t> code_points = Decompose(text);
  const auto is_newer = [](utf8proc_int32_t c) { return IsNewerMark(static_cast<char32_t>(c)); };
  for (auto begin = code_points.begin();;) {
    const auto end = std::find_if(begin, code_points.end(), is_newer);
    AppendComposed({begin, end}, out);
    if (end == code_points.end()) return;
    AppendUtf8(*end, out);
    begin = end + 1;
  }
}

}  // namespace

std::string ToNfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  while (done < text.size()) {
    const auto first = std::find_if_not(text.begin() + done, text.end(), IsAscii);
    std::size_t begin = first - text.begin();
    if (first == text.end()) {
      out.append(text.substr(done));
      break;
    }
    if (begin > done) --begin;  // an ASCII letter may take the mark that follows it
    out.append(text.substr(done, begin - done));
    const auto last = std::find_if(first, text.end(), IsAscii);
    AppendNfc(text.substr(begin, last - (text.begin() + begin)), &out);
    done = last - text.begin();
  }
  return out;
}

}  // namespace keyhole
