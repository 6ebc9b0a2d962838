// A document in tokens, exactly as long as asked for, and the questions about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/eval/fact.h"
#include "client/eval/haystack.h"
#include "client/eval/pieces.h"

namespace keyhole::eval {

// A question: `prompt` after the document, then the answer that is expected.
struct Question {
  std::string id = {};
  double depth = 0;  // share of the document that stands before the fact; 1: nothing was placed
  std::string text = {};  // as asked in a chat
  TokenIds prompt = {};
  TokenIds answer = {};
  std::string answer_text = {};
};

struct Document {
  int length = 0;  // tokens of the longest prompt with its answer, one output token included
  std::uint64_t seed = 0;
  TokenIds ids = {};
  std::vector<Question> questions = {};
};

// How a document and a question become one text. {question} and {prime} are filled in; special
// tokens are recognised.
struct QuestionFormat {
  std::string before = {};  // the document
  std::string after = {};
};

struct PlacedFact {
  Fact fact = {};
  double depth = 0;  // in [0, 1]
  bool asked = true;
};

struct DocumentPlan {
  int length = 0;
  std::uint64_t seed = 0;
  int spare_tokens = 1;  // room for output
  QuestionFormat format = {};
  std::vector<PlacedFact> facts = {};  // by rising depth
};

// Prose that ends where the seed says, the same place for every length, with the facts at sentence
// ends.
// Errors: INVALID_ARGUMENT for a length that the facts and questions alone exceed; the tokenizer's.
absl::StatusOr<Document> BuildProse(const DocumentPlan& plan,
                                    const Haystack& haystack,
                                    Pieces* pieces);

// Prose whose last `scored` tokens are the answer to an empty question.
// Errors: as above.
absl::StatusOr<Document> BuildScoredProse(const DocumentPlan& plan,
                                          int scored,
                                          const Haystack& haystack,
                                          Pieces* pieces);

// A JSON object of random keys and values; asks for the keys nearest to `depths`.
// Errors: as above.
absl::StatusOr<Document> BuildKeyValues(const DocumentPlan& plan,
                                        const std::vector<double>& depths,
                                        Pieces* pieces);

}  // namespace keyhole::eval
