#include "client/eval/haystack.h"

#include <cctype>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace keyhole::eval {
namespace {

constexpr std::size_t kMaxSentenceBytes = 1000;

// A full stop, perhaps within quotes or brackets.
bool EndsSentence(absl::string_view word) {
  while (!word.empty() && (word.back() == '"' || word.back() == '\'' || word.back() == ')')) {
    word.remove_suffix(1);
  }
  return !word.empty() && (word.back() == '.' || word.back() == '!' || word.back() == '?');
}

}  // namespace

Haystack Haystack::Filler() {
  return *FromText(
      "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.");
}

absl::StatusOr<Haystack> Haystack::FromText(const std::string& text) {
  Haystack haystack;
  std::string sentence;
  const auto end_sentence = [&] {
    if (!sentence.empty()) haystack.sentences_.push_back(std::exchange(sentence, ""));
  };
  for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \t\r\n\f\v"))) {
    if (word.empty()) continue;
    absl::StrAppend(&sentence, " ", word);
    if (EndsSentence(word) || sentence.size() >= kMaxSentenceBytes) end_sentence();
  }
  end_sentence();
  if (haystack.sentences_.empty()) {
    return absl::InvalidArgumentError("the haystack has no text");
  }
  return haystack;
}

const std::string& Haystack::Sentence(std::int64_t index) const {
  const std::int64_t rest = index % size();
  return sentences_[rest < 0 ? rest + size() : rest];
}

}  // namespace keyhole::eval
