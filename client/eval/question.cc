#include "client/eval/question.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/eval/status.h"

namespace keyhole::eval {

absl::StatusOr<Question> MakeQuestion(const Fact& fact,
                                      const QuestionFormat& format,
                                      Pieces* pieces) {
  Question question{.id = fact.id, .text = fact.question, .answer_text = fact.answer};
  KEYHOLE_EVAL_ASSIGN(question.prompt,
                      pieces->Markup(absl::StrReplaceAll(
                          format.after, {{"{question}", fact.question}, {"{prime}", fact.prime}})));
  KEYHOLE_EVAL_ASSIGN(question.answer, pieces->Text(fact.answer));
  return question;
}

absl::StatusOr<int> RoomForDocument(const DocumentPlan& plan,
                                    const std::vector<Question>& questions) {
  int longest = 0;
  for (const Question& question : questions) {
    longest = std::max(longest, static_cast<int>(question.prompt.size() + question.answer.size()));
  }
  const int room = plan.length - longest - plan.spare_tokens;
  if (room > 0) return room;
  return absl::InvalidArgumentError(
      absl::StrCat("a length of ", plan.length, " tokens leaves no room for a document"));
}

}  // namespace keyhole::eval
