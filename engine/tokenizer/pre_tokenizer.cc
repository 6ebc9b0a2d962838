#include "engine/tokenizer/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace keyhole {
namespace {

// As tokenizer.json files write them.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Each digit alone, then GPT-2's rule between them.
constexpr std::string_view kDigit = R"(\p{N})";

struct Known {
  std::string_view name;
  bool single_digits;
  std::string_view pattern;
};

constexpr Known kKnown[] = {
    {"gpt-2", false, kGpt2},
    {"default", false, kGpt2},
    {"llama-bpe", false, kLlama3},
    {"llama3", false, kLlama3},
    {"llama-v3", false, kLlama3},
    {"qwen2", false, kQwen2},
    {"smollm", true, kGpt2},
    {"starcoder", true, kGpt2},
    {"refact", true, kGpt2},
    {"command-r", true, kGpt2},
    {"tekken", false, kTekken},
};

// PCRE2's own \s counts U+180E as a space, Unicode does not.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// `pattern` with every \s and \S spelled out.
std::string SpellOutSpaces(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view two = pattern.substr(i, 2);
    if (two == R"(\s)" || two == R"(\S)") {
      const bool negated = two[1] == 'S';
      out += in_class ? std::string(kSpaces) : fmt::format("[{}{}]", negated ? "^" : "", kSpaces);
      ++i;
    } else if (two[0] == '\\') {
      out += two;
      ++i;
    } else {
      if (two[0] == '[') in_class = true;
      if (two[0] == ']') in_class = false;
      out += two[0];
    }
  }
  return out;
}

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

using Code = std::unique_ptr<pcre2_code, FreeCode>;

absl::StatusOr<Code> Compile(std::string_view pattern) {
  const std::string spelled = SpellOutSpaces(pattern);
  int error = 0;
  std::size_t offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()),
                          spelled.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                          &error,
                          &offset,
                          nullptr));
  if (code == nullptr) {
    return absl::InternalError(fmt::format("pattern {} does not compile: {}", pattern, error));
  }
  // Where the machine allows no JIT, the interpreter gives the same pieces.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

constexpr std::uint32_t kMatchLimit = 50'000'000;
constexpr std::size_t kJitStackStart = 32 << 10;
constexpr std::size_t kJitStackMax = 16 << 20;

// One thread's working memory for matching.
class Matcher {
 public:
  explicit Matcher(const pcre2_code* code)
      : code_(code),
        data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    pcre2_set_match_limit(context_.get(), kMatchLimit);
  }

  // Appends matches and the gaps between them.
  absl::Status Split(std::string_view text, std::vector<std::string_view>* pieces) {
    std::size_t done = 0;
    while (done < text.size()) {
      const int count = Match(text, done);
      if (count == PCRE2_ERROR_NOMATCH) break;
      if (count < 0) {
        return absl::InvalidArgumentError(
            fmt::format("cutting the text into words failed at byte {} (PCRE2 {})", done, count));
      }
      const std::size_t* range = pcre2_get_ovector_pointer(data_.get());
      if (range[0] > done) pieces->push_back(text.substr(done, range[0] - done));
      pieces->push_back(text.substr(range[0], range[1] - range[0]));
      done = range[1];
    }
    if (done < text.size()) pieces->push_back(text.substr(done));
    return absl::OkStatus();
  }

 private:
  int Match(std::string_view text, std::size_t at) {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const auto match = [&] {
      return pcre2_match(code_,
                         subject,
                         text.size(),
                         at,
                         PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                         data_.get(),
                         context_.get());
    };
    const int count = match();
    if (count != PCRE2_ERROR_JIT_STACKLIMIT || stack_ != nullptr) return count;
    // The thread's own stack was too small, which is rare.
    stack_.reset(pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr));
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
    return match();
  }

  const pcre2_code* code_;
  std::unique_ptr<pcre2_match_data, FreeMatchData> data_;
  std::unique_ptr<pcre2_match_context, FreeContext> context_;
  std::unique_ptr<pcre2_jit_stack, FreeStack> stack_;
};

}  // namespace

struct PreTokenizer::Compiled {
  Code digits;  // null: digits are not cut apart first
  Code words;
};

PreTokenizer::PreTokenizer(std::unique_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)) {}
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

absl::StatusOr<PreTokenizer> PreTokenizer::Create(std::string_view name) {
  if (name.empty()) name = "default";
  std::string names;
  for (const Known& known : kKnown) {
    if (known.name != name) {
      fmt::format_to(std::back_inserter(names), " {}", known.name);
      continue;
    }
    auto compiled = std::make_unique<Compiled>();
    absl::StatusOr<Code> words = Compile(known.pattern);
    if (!words.ok()) return words.status();
    compiled->words = *std::move(words);
    if (known.single_digits) {
      absl::StatusOr<Code> digits = Compile(kDigit);
      if (!digits.ok()) return digits.status();
      compiled->digits = *std::move(digits);
    }
    return PreTokenizer(std::move(compiled));
  }
  return absl::UnimplementedError(
      fmt::format("pre-tokenizer '{:.64}' is not known; known are:{}", name, names));
}

std::string_view PreTokenizer::NameOfPattern(std::string_view pattern) {
  for (const Known& known : kKnown) {
    if (known.pattern == pattern && !known.single_digits) return known.name;
  }
  return {};
}

absl::Status PreTokenizer::Split(std::string_view text,
                                 std::vector<std::string_view>* pieces) const {
  Matcher words(compiled_->words.get());
  if (compiled_->digits == nullptr) return words.Split(text, pieces);
  std::vector<std::string_view> parts;
  absl::Status status = Matcher(compiled_->digits.get()).Split(text, &parts);
  for (const std::string_view part : parts) {
    if (!status.ok()) return status;
    status = words.Split(part, pieces);
  }
  return status;
}

}  // namespace keyhole
