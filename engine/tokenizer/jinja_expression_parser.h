// Parses the expressions of a chat template.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja_token_stream.h"

namespace keyhole::jinja {

// Precedence as in Jinja, from loose to tight: if-else; or; and; not; comparisons; + -; ~; * / //
// %; unary; filters and tests; calls, members and items. Thread: one owner.
class ExpressionParser {
 public:
  // REQUIRES: `stream` outlives this object.
  explicit ExpressionParser(TokenStream* stream) : stream_(*stream) {}

  // Errors: INVALID_ARGUMENT with the line, of all methods.
  absl::StatusOr<NodePtr> Parse() { return ParseConditional(/*with_else=*/true); }

  // Without a trailing "if", which filters a loop.
  absl::StatusOr<NodePtr> ParseWithoutCondition() { return Nested(&ExpressionParser::ParseOr); }

  // One expression, or several with commas between as a list.
  absl::StatusOr<NodePtr> ParseTuple();

 private:
  using Rule = absl::StatusOr<NodePtr> (ExpressionParser::*)();

  absl::StatusOr<NodePtr> Nested(Rule rule);
  absl::StatusOr<NodePtr> ParseConditional(bool with_else);
  absl::StatusOr<NodePtr> ParseOr();
  absl::StatusOr<NodePtr> ParseAnd();
  absl::StatusOr<NodePtr> ParseNot();
  absl::StatusOr<NodePtr> ParseCompare();
  absl::StatusOr<NodePtr> ParseSum();
  absl::StatusOr<NodePtr> ParseConcat();
  absl::StatusOr<NodePtr> ParseProduct();
  absl::StatusOr<NodePtr> ParseUnary();
  absl::StatusOr<NodePtr> ParseOperand();
  absl::StatusOr<NodePtr> ParseFilters(NodePtr node);
  absl::StatusOr<NodePtr> ParseFilter(NodePtr input);
  absl::StatusOr<NodePtr> ParseTest(NodePtr input);
  absl::StatusOr<NodePtr> ParsePrimary();
  absl::StatusOr<NodePtr> ParseNamed();
  absl::StatusOr<NodePtr> ParseParenthesis();
  absl::StatusOr<NodePtr> ParseList();
  absl::StatusOr<NodePtr> ParseDict();
  absl::StatusOr<NodePtr> ParsePostfix(NodePtr node);
  absl::StatusOr<NodePtr> ParseMember(NodePtr object);
  absl::StatusOr<NodePtr> ParseSubscript(NodePtr object);
  absl::Status ParseArguments(Node* call);

  TokenStream& stream_;
  int nesting_ = 0;
};

}  // namespace keyhole::jinja
