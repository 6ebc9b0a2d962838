#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/eval/document.h"
#include "client/eval/question.h"
#include "client/eval/status.h"

namespace keyhole::eval {
namespace {

constexpr std::uint64_t kPairStream = 4;
constexpr const char* kHeader = "A JSON object of keys and values:\n\n{";
constexpr const char* kFooter = "}";
constexpr const char* kAfter = "\n\n{question}\n{prime}";

struct Pair {
  std::string key;
  std::string value;
  std::size_t start = 0;  // of its first token in the document
};

std::string Hex(Random* random) { return absl::StrFormat("%08x", random->Next() >> 32); }

Fact FactOf(const Pair& pair) {
  return {.id = pair.key,
          .sentence = "",
          .question = absl::StrCat("What is the value of the key \"", pair.key, "\"?"),
          .prime = absl::StrCat("\"", pair.key, "\": \""),
          .answer = pair.value};
}

// Appends pairs until the next one would not fit.
absl::StatusOr<std::vector<Pair>> FillWithPairs(std::uint64_t seed,
                                                std::size_t size,
                                                Pieces* pieces,
                                                TokenIds* ids) {
  Random random(seed, kPairStream);
  std::vector<Pair> pairs;
  for (;;) {
    Pair pair{.key = Hex(&random), .value = Hex(&random), .start = ids->size()};
    KEYHOLE_EVAL_ASSIGN(const TokenIds text,
                        pieces->Text(absl::StrCat("\"", pair.key, "\": \"", pair.value, "\",\n")));
    if (ids->size() + text.size() > size) return pairs;
    Append(text, ids);
    pairs.push_back(std::move(pair));
  }
}

}  // namespace

absl::StatusOr<Document> BuildKeyValues(const DocumentPlan& plan,
                                        const std::vector<double>& depths,
                                        Pieces* pieces) {
  Document document{.length = plan.length, .seed = plan.seed};
  KEYHOLE_EVAL_ASSIGN(document.ids, pieces->Beginning());
  KEYHOLE_EVAL_ASSIGN(const TokenIds header,
                      pieces->Text(absl::StrCat(plan.format.before, kHeader)));
  KEYHOLE_EVAL_ASSIGN(const TokenIds footer, pieces->Text(kFooter));
  KEYHOLE_EVAL_ASSIGN(const TokenIds filler, pieces->Text("\n"));
  if (filler.empty()) return absl::InvalidArgumentError("the model has no token for a line end");
  Append(header, &document.ids);

  // A question's tokens depend on its key: the longest imaginable is left room for.
  const QuestionFormat format{.before = "", .after = kAfter};
  KEYHOLE_EVAL_ASSIGN(Question longest,
                      MakeQuestion(FactOf({"0a1b2c3d", "0a1b2c3d"}), format, pieces));
  longest.prompt.resize(longest.prompt.size() + 8);
  KEYHOLE_EVAL_ASSIGN(const int room, RoomForDocument(plan, {longest}));
  const std::size_t size = room - footer.size();
  KEYHOLE_EVAL_ASSIGN(const auto pairs, FillWithPairs(plan.seed, size, pieces, &document.ids));
  if (pairs.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a length of ", plan.length, " tokens leaves no room for a pair"));
  }
  while (document.ids.size() < size) Append(filler, &document.ids);
  document.ids.resize(size);
  Append(footer, &document.ids);

  std::size_t unasked = 0;
  for (const double depth : depths) {
    const auto index = std::min(
        pairs.size() - 1, static_cast<std::size_t>(depth * static_cast<double>(pairs.size())));
    if (index < unasked) continue;
    unasked = index + 1;
    KEYHOLE_EVAL_ASSIGN(Question question, MakeQuestion(FactOf(pairs[index]), format, pieces));
    question.depth = static_cast<double>(pairs[index].start) / static_cast<double>(room);
    document.questions.push_back(std::move(question));
  }
  return document;
}

}  // namespace keyhole::eval
