#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/eval/document.h"
#include "client/eval/question.h"
#include "client/eval/status.h"

namespace keyhole::eval {
namespace {

constexpr std::uint64_t kEndStream = 1;

// The last `tokens` tokens of the prose before the end that the seed chooses, by sentence; the
// first of them lacks its beginning.
absl::StatusOr<std::deque<TokenIds>> TakeSentences(const Haystack& haystack,
                                                   std::uint64_t seed,
                                                   int tokens,
                                                   Pieces* pieces) {
  auto index = static_cast<std::int64_t>(Random(seed, kEndStream).Below(haystack.size()));
  std::deque<TokenIds> sentences;
  for (int left = tokens; left > 0; --index) {
    KEYHOLE_EVAL_ASSIGN(TokenIds ids, pieces->Text(haystack.Sentence(index)));
    if (ids.size() > left) ids.erase(ids.begin(), ids.end() - left);
    left -= static_cast<int>(ids.size());
    sentences.push_front(std::move(ids));
  }
  return sentences;
}

struct TokenizedFact {
  const PlacedFact* placed;
  TokenIds ids;
};

absl::StatusOr<std::vector<TokenizedFact>> TokenizeFacts(const DocumentPlan& plan, Pieces* pieces) {
  std::vector<TokenizedFact> facts;
  for (const PlacedFact& placed : plan.facts) {
    KEYHOLE_EVAL_ASSIGN(TokenIds ids, pieces->Text(placed.fact.sentence));
    facts.push_back({&placed, std::move(ids)});
  }
  return facts;
}

// Puts each fact at the end of the sentence nearest to its depth. `starts` gets the index of its
// first token.
TokenIds Interleave(const std::deque<TokenIds>& sentences,
                    const std::vector<TokenizedFact>& facts,
                    int prose_tokens,
                    std::vector<std::size_t>* starts) {
  TokenIds ids;
  std::size_t next = 0;
  double done = 0;
  for (const TokenIds& sentence : sentences) {
    const double middle = done + sentence.size() / 2.0;
    for (; next < facts.size() && facts[next].placed->depth * prose_tokens < middle; ++next) {
      starts->push_back(ids.size());
      Append(facts[next].ids, &ids);
    }
    Append(sentence, &ids);
    done += static_cast<double>(sentence.size());
  }
  for (; next < facts.size(); ++next) {
    starts->push_back(ids.size());
    Append(facts[next].ids, &ids);
  }
  return ids;
}

}  // namespace

absl::StatusOr<Document> BuildProse(const DocumentPlan& plan,
                                    const Haystack& haystack,
                                    Pieces* pieces) {
  Document document{.length = plan.length, .seed = plan.seed};
  for (const PlacedFact& placed : plan.facts) {
    if (!placed.asked) continue;
    KEYHOLE_EVAL_ASSIGN(Question question, MakeQuestion(placed.fact, plan.format, pieces));
    document.questions.push_back(std::move(question));
  }
  KEYHOLE_EVAL_ASSIGN(const auto facts, TokenizeFacts(plan, pieces));
  KEYHOLE_EVAL_ASSIGN(document.ids, pieces->Beginning());
  KEYHOLE_EVAL_ASSIGN(const TokenIds before, pieces->Markup(plan.format.before));
  Append(before, &document.ids);

  KEYHOLE_EVAL_ASSIGN(const int room, RoomForDocument(plan, document.questions));
  int prose = room - static_cast<int>(document.ids.size());
  for (const TokenizedFact& fact : facts) prose -= static_cast<int>(fact.ids.size());
  if (prose < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        facts.size(), " facts need ", plan.length - prose, " tokens; the length is ", plan.length));
  }
  KEYHOLE_EVAL_ASSIGN(const auto sentences, TakeSentences(haystack, plan.seed, prose, pieces));
  std::vector<std::size_t> starts;
  const std::size_t first = document.ids.size();
  Append(Interleave(sentences, facts, prose, &starts), &document.ids);
  for (std::size_t i = 0, asked = 0; i < facts.size(); ++i) {
    if (!facts[i].placed->asked) continue;
    document.questions[asked++].depth =
        static_cast<double>(first + starts[i]) / static_cast<double>(document.ids.size());
  }
  return document;
}

absl::StatusOr<Document> BuildScoredProse(const DocumentPlan& plan,
                                          int scored,
                                          const Haystack& haystack,
                                          Pieces* pieces) {
  Document document{.length = plan.length, .seed = plan.seed};
  KEYHOLE_EVAL_ASSIGN(document.ids, pieces->Beginning());
  const int prose = plan.length - plan.spare_tokens - static_cast<int>(document.ids.size());
  // The first token of a prompt has no probability.
  if (scored < 1 || scored >= prose) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot score ", scored, " tokens of a length of ", plan.length));
  }
  KEYHOLE_EVAL_ASSIGN(const auto sentences, TakeSentences(haystack, plan.seed, prose, pieces));
  for (const TokenIds& sentence : sentences) Append(sentence, &document.ids);
  Question question{.id = "prose", .depth = 1};
  question.answer.assign(document.ids.end() - scored, document.ids.end());
  document.ids.resize(document.ids.size() - scored);
  document.questions.push_back(std::move(question));
  return document;
}

}  // namespace keyhole::eval
