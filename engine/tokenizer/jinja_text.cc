#include "engine/tokenizer/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>

#include "engine/tokenizer/jinja_value.h"
#include "engine/tokenizer/utf8.h"

namespace keyhole::jinja {
namespace {

char32_t Upper(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
char32_t Lower(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
bool IsCased(char32_t c) { return Upper(c) != c || Lower(c) != c; }

// `map` gets each character and whether the one before it has a case.
template <typename Map>
std::string MapCharacters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  bool after_cased = false;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Unit unit = ReadUtf8(text, at);
    AppendUtf8(map(unit.code_point, after_cased, at == 0), &out);
    after_cased = IsCased(unit.code_point);
    at += unit.length;
  }
  return out;
}

std::vector<std::string_view> SplitAtSpaces(std::string_view text, std::int64_t max) {
  std::vector<std::string_view> parts;
  text = Strip(text, "", /*left=*/true, /*right=*/false);
  while (!text.empty()) {
    if (max >= 0 && static_cast<std::int64_t>(parts.size()) == max) {
      parts.push_back(text);
      return parts;
    }
    std::size_t end = 0;
    while (end < text.size() && !IsPythonSpace(ReadUtf8(text, end).code_point)) {
      end += ReadUtf8(text, end).length;
    }
    parts.push_back(text.substr(0, end));
    text = Strip(text.substr(end), "", /*left=*/true, /*right=*/false);
  }
  return parts;
}

}  // namespace

std::string ToUpper(std::string_view text) {
  return MapCharacters(text, [](char32_t c, bool, bool) { return Upper(c); });
}

std::string ToLower(std::string_view text) {
  return MapCharacters(text, [](char32_t c, bool, bool) { return Lower(c); });
}

std::string Capitalize(std::string_view text) {
  return MapCharacters(text,
                       [](char32_t c, bool, bool first) { return first ? Upper(c) : Lower(c); });
}

std::string ToTitle(std::string_view text) {
  return MapCharacters(text,
                       [](char32_t c, bool cased, bool) { return cased ? Lower(c) : Upper(c); });
}

std::int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = ReadUtf8(text, at).length;
    out.push_back(text.substr(at, length));
    at += length;
  }
  return out;
}

std::vector<std::string_view> Split(std::string_view text,
                                    std::optional<std::string_view> separator,
                                    std::int64_t max,
                                    bool from_right) {
  if (!separator) return SplitAtSpaces(text, max);
  std::vector<std::string_view> parts;
  while (max < 0 || static_cast<std::int64_t>(parts.size()) < max) {
    const std::size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == text.npos) break;
    const std::string_view after = text.substr(at + separator->size());
    parts.push_back(from_right ? after : text.substr(0, at));
    text = from_right ? text.substr(0, at) : after;
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\n\r"), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
    if (text.starts_with("\r\n")) text.remove_prefix(1);
    if (!text.empty()) text.remove_prefix(1);
  }
  return lines;
}

std::size_t ReplacedSize(std::string_view text, std::string_view from, std::string_view to) {
  return text.size() + (from.empty() ? text.size() + 1 : text.size() / from.size()) * to.size();
}

std::string Replace(std::string_view text,
                    std::string_view from,
                    std::string_view to,
                    std::int64_t max) {
  std::string out;
  if (from.empty()) {
    for (const std::string_view character : Characters(text)) {
      if (max-- != 0) out += to;
      out += character;
    }
    return max != 0 ? out + std::string(to) : out;
  }
  while (max != 0) {
    const std::size_t at = text.find(from);
    if (at == text.npos) break;
    out.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
    --max;
  }
  return out.append(text);
}

}  // namespace keyhole::jinja
