#include "engine/tokenizer/jinja_lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_value.h"
#include "engine/tokenizer/utf8.h"

namespace keyhole::jinja {
namespace {

constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "*",
                                           "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                           "]",  "{",  "}",  ",",  ".",  ":",  "|"};

bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAsciiSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Python reads all line ends as one, and a template's last one does not count.
std::string UnifyLineEnds(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) KEYHOLE_RETURN_IF_ERROR(ReadTextAndTag());
    Push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(fmt::format("chat template, line {}: {}", line_, what));
  }

  void Push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  std::string_view rest() const { return source_.substr(at_); }

  void Advance(std::size_t n) {
    const std::string_view passed = source_.substr(at_, n);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    if (!passed.empty()) line_start_ = passed.back() == '\n';
    at_ += passed.size();
  }

  // Text up to the next tag, then the tag.
  absl::Status ReadTextAndTag() {
    std::size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == source_.npos || tag + 1 == source_.size()) {
        Push(TokenKind::kData, std::string(rest()));
        Advance(source_.size() - at_);
        return absl::OkStatus();
      }
      if (std::string_view("{%#").find(source_[tag + 1]) != std::string_view::npos) break;
      ++tag;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    const std::string_view text = TrimBeforeTag(source_.substr(at_, tag - at_), kind, sign);
    if (!text.empty()) Push(TokenKind::kData, std::string(text));
    Advance(tag - at_);
    Advance(sign == '-' || sign == '+' ? 3 : 2);
    if (kind == '#') return SkipComment();
    Push(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    return ReadTag(kind == '%');
  }

  std::string_view TrimBeforeTag(std::string_view text, char kind, char sign) const {
    if (sign == '-') return Strip(text, "", /*left=*/false, /*right=*/true);
    if (sign == '+' || kind == '{') return text;
    const std::size_t line_begin = text.rfind('\n') + 1;  // 0 when there is no line end
    const bool at_line_begin = line_begin > 0 || line_start_;
    const std::string_view last_line = text.substr(line_begin);
    const bool blank = Strip(last_line, "", /*left=*/true, /*right=*/false).empty();
    return at_line_begin && blank ? text.substr(0, line_begin) : text;
  }

  absl::Status SkipComment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == source_.npos) return Error("a comment does not end");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    Advance(end + 2 - at_);
    TrimAfterTag(sign, /*trims_line_end=*/true);
    return absl::OkStatus();
  }

  void TrimAfterTag(char sign, bool trims_line_end) {
    if (sign == '-') {
      Advance(rest().size() - Strip(rest(), "", /*left=*/true, /*right=*/false).size());
    } else if (sign != '+' && trims_line_end && rest().starts_with('\n')) {
      Advance(1);
    }
  }

  // True, and past it, when the tag ends here.
  bool ReadTagEnd(bool is_block) {
    const std::string_view end = is_block ? "%}" : "}}";
    const bool is_signed = !rest().empty() && (rest()[0] == '-' || (is_block && rest()[0] == '+'));
    if (!rest().substr(is_signed ? 1 : 0).starts_with(end)) return false;
    const char sign = is_signed ? rest()[0] : ' ';
    Push(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
    Advance(end.size() + (is_signed ? 1 : 0));
    TrimAfterTag(sign, is_block);
    return true;
  }

  absl::Status ReadTag(bool is_block) {
    int brackets = 0;
    while (true) {
      while (!rest().empty() && IsAsciiSpace(rest()[0])) Advance(1);
      if (rest().empty()) return Error("a tag does not end");
      if (brackets == 0 && ReadTagEnd(is_block)) return absl::OkStatus();
      const char c = rest()[0];
      if (c == '\'' || c == '"') {
        KEYHOLE_RETURN_IF_ERROR(ReadString(c));
      } else if (IsDigit(c)) {
        ReadNumber();
      } else if (IsNameStart(c)) {
        ReadWhile(TokenKind::kName, [](char n) { return IsNameStart(n) || IsDigit(n); });
      } else {
        KEYHOLE_RETURN_IF_ERROR(ReadOperator(&brackets));
      }
    }
  }

  template <typename Predicate>
  void ReadWhile(TokenKind kind, Predicate belongs) {
    std::size_t n = 0;
    while (n < rest().size() && belongs(rest()[n])) ++n;
    Push(kind, std::string(rest().substr(0, n)));
    Advance(n);
  }

  void ReadNumber() {
    std::size_t n = 0;
    const auto digits = [&] {
      while (n < rest().size() && IsDigit(rest()[n])) ++n;
    };
    digits();
    const bool fraction = n + 1 < rest().size() && rest()[n] == '.' && IsDigit(rest()[n + 1]);
    if (fraction) {
      ++n;
      digits();
    }
    Push(fraction ? TokenKind::kFloat : TokenKind::kInteger, std::string(rest().substr(0, n)));
    Advance(n);
  }

  absl::Status ReadOperator(int* brackets) {
    for (const std::string_view op : kOperators) {
      if (!rest().starts_with(op)) continue;
      if (op == "(" || op == "[" || op == "{") ++*brackets;
      if (op == ")" || op == "]" || op == "}") --*brackets;
      if (*brackets < 0) return Error("a bracket is closed that was not opened");
      Push(TokenKind::kOperator, std::string(op));
      Advance(op.size());
      return absl::OkStatus();
    }
    return Error(fmt::format("unexpected character '{}'", rest()[0]));
  }

  absl::Status ReadString(char quote) {
    std::string value;
    std::size_t i = 1;
    while (true) {
      if (i >= rest().size()) return Error("a string does not end");
      const char c = rest()[i];
      if (c == quote) break;
      if (c != '\\') {
        value += c;
        ++i;
        continue;
      }
      const std::optional<std::size_t> length = ReadEscape(rest().substr(i + 1), &value);
      if (!length) return Error("a string has an escape that is not supported");
      i += 1 + *length;
    }
    Push(TokenKind::kString, std::move(value));
    Advance(i + 1);
    return absl::OkStatus();
  }

  // Appends what `text`, which follows a backslash, stands for; returns how much of it was read.
  static std::optional<std::size_t> ReadEscape(std::string_view text, std::string* out) {
    if (text.empty()) return std::nullopt;
    constexpr std::string_view kNames = "ntrbfva0\\'\"\n";
    constexpr std::string_view kValues("\n\t\r\b\f\v\a\0\\'\"", 11);
    const std::size_t simple = kNames.find(text[0]);
    if (simple < kValues.size()) {
      out->push_back(kValues[simple]);
      return 1;
    }
    if (text[0] == '\n') return 1;
    const std::size_t digits = text[0] == 'x' ? 2 : text[0] == 'u' ? 4 : text[0] == 'U' ? 8 : 0;
    if (digits == 0) {  // not an escape: both characters stay
      out->append({'\\', text[0]});
      return 1;
    }
    std::uint32_t code_point = 0;
    const std::string_view hex = text.substr(1, digits);
    const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code_point, 16);
    const bool is_surrogate = code_point >= 0xD800 && code_point < 0xE000;
    if (error != std::errc() || hex.size() != digits || end != hex.data() + digits ||
        code_point > 0x10FFFF || is_surrogate) {
      return std::nullopt;
    }
    AppendUtf8(code_point, out);
    return 1 + digits;
  }

  std::string_view source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  if (!IsValidUtf8(source)) return absl::InvalidArgumentError("chat template: not valid UTF-8");
  const std::string unified = UnifyLineEnds(source);
  return Lexer(unified).Run();
}

}  // namespace keyhole::jinja
