// The question of a fact in tokens.
#pragma once

#include <vector>

#include "client/eval/document.h"

namespace keyhole::eval {

// Depth stays 0. Errors: the tokenizer's.
absl::StatusOr<Question> MakeQuestion(const Fact& fact,
                                      const QuestionFormat& format,
                                      Pieces* pieces);

// Tokens left for the document beside its longest question, answer and spare tokens.
// Errors: INVALID_ARGUMENT if there are none.
absl::StatusOr<int> RoomForDocument(const DocumentPlan& plan,
                                    const std::vector<Question>& questions);

}  // namespace keyhole::eval
