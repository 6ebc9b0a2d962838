#include "engine/tokenizer/jinja_expression_parser.h"

#include <charconv>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_builtins.h"

namespace keyhole::jinja {
namespace {

constexpr int kMaxNesting = 100;  // each level takes a dozen frames of the parser's stack

bool IsComparison(const Token& token) {
  if (token.kind != TokenKind::kOperator) return false;
  return token.text == "==" || token.text == "!=" || token.text == "<" || token.text == "<=" ||
         token.text == ">" || token.text == ">=";
}

}  // namespace

absl::StatusOr<NodePtr> ExpressionParser::Nested(Rule rule) {
  if (++nesting_ > kMaxNesting) return stream_.Error("too deeply nested");
  absl::StatusOr<NodePtr> node = (this->*rule)();
  --nesting_;
  return node;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseTuple() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr first, Parse());
  if (!stream_.IsOperator(",")) return first;
  NodePtr list = stream_.Make(NodeKind::kTuple, std::move(first));
  while (stream_.SkipOperator(",")) {
    if (stream_.current().kind == TokenKind::kBlockEnd || stream_.IsOperator(")")) break;
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr item, Parse());
    TokenStream::Adopt(list.get(), std::move(item));
  }
  return list;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseConditional(bool with_else) {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, Nested(&ExpressionParser::ParseOr));
  while (stream_.SkipName("if")) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr condition, Nested(&ExpressionParser::ParseOr));
    NodePtr otherwise;
    if (with_else && stream_.SkipName("else")) {
      if (++nesting_ > kMaxNesting) return stream_.Error("too deeply nested");
      KEYHOLE_ASSIGN_OR_RETURN(otherwise, ParseConditional(with_else));
      --nesting_;
    }
    KEYHOLE_ASSIGN_OR_RETURN(
        value,
        stream_.Checked(stream_.Make(
            NodeKind::kConditional, std::move(value), std::move(condition), std::move(otherwise))));
  }
  return value;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseOr() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr left, ParseAnd());
  while (stream_.SkipName("or")) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr right, ParseAnd());
    KEYHOLE_ASSIGN_OR_RETURN(
        left, stream_.Checked(stream_.Make(NodeKind::kOr, std::move(left), std::move(right))));
  }
  return left;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseAnd() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr left, ParseNot());
  while (stream_.SkipName("and")) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr right, ParseNot());
    KEYHOLE_ASSIGN_OR_RETURN(
        left, stream_.Checked(stream_.Make(NodeKind::kAnd, std::move(left), std::move(right))));
  }
  return left;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseNot() {
  if (!stream_.SkipName("not")) return ParseCompare();
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, Nested(&ExpressionParser::ParseNot));
  return stream_.Checked(stream_.Make(NodeKind::kNot, std::move(value)));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseCompare() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr first, ParseSum());
  NodePtr compare;
  while (true) {
    std::string op;
    if (IsComparison(stream_.current())) {
      op = stream_.Take().text;
    } else if (stream_.SkipName("in")) {
      op = std::string("in");
    } else if (stream_.IsName("not") && stream_.next().kind == TokenKind::kName &&
               stream_.next().text == "in") {
      stream_.Take();
      stream_.Take();
      op = std::string("not in");
    } else {
      break;
    }
    if (compare == nullptr) compare = stream_.Make(NodeKind::kCompare, std::move(first));
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr operand, ParseSum());
    TokenStream::Adopt(compare.get(), std::move(operand));
    compare->names.push_back(std::move(op));
  }
  return stream_.Checked(compare != nullptr ? std::move(compare) : std::move(first));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseSum() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr left, ParseConcat());
  while (stream_.IsOperator("+") || stream_.IsOperator("-")) {
    std::string op = stream_.Take().text;
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr right, ParseConcat());
    NodePtr sum = stream_.Make(NodeKind::kBinary, std::move(left), std::move(right));
    sum->text = std::move(op);
    KEYHOLE_ASSIGN_OR_RETURN(left, stream_.Checked(std::move(sum)));
  }
  return left;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseConcat() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr left, ParseProduct());
  while (stream_.SkipOperator("~")) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr right, ParseProduct());
    NodePtr concat = stream_.Make(NodeKind::kBinary, std::move(left), std::move(right));
    concat->text = std::string("~");
    KEYHOLE_ASSIGN_OR_RETURN(left, stream_.Checked(std::move(concat)));
  }
  return left;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseProduct() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr left, ParseUnary());
  while (stream_.IsOperator("*") || stream_.IsOperator("/") || stream_.IsOperator("//") ||
         stream_.IsOperator("%")) {
    std::string op = stream_.Take().text;
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr right, ParseUnary());
    NodePtr product = stream_.Make(NodeKind::kBinary, std::move(left), std::move(right));
    product->text = std::move(op);
    KEYHOLE_ASSIGN_OR_RETURN(left, stream_.Checked(std::move(product)));
  }
  if (stream_.IsOperator("**")) return stream_.Error("'**' is not supported");
  return left;
}

// A filter applies to the negated value: -5|abs is 5.
absl::StatusOr<NodePtr> ExpressionParser::ParseUnary() {
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, ParseOperand());
  return ParseFilters(std::move(value));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseOperand() {
  const bool negative = stream_.IsOperator("-");
  if (negative || stream_.IsOperator("+")) {
    stream_.Take();
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, Nested(&ExpressionParser::ParseOperand));
    if (!negative) return value;
    return stream_.Checked(stream_.Make(NodeKind::kNegate, std::move(value)));
  }
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, ParsePrimary());
  return ParsePostfix(std::move(value));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseFilters(NodePtr node) {
  while (true) {
    if (stream_.SkipOperator("|")) {
      KEYHOLE_ASSIGN_OR_RETURN(node, ParseFilter(std::move(node)));
    } else if (stream_.SkipName("is")) {
      KEYHOLE_ASSIGN_OR_RETURN(node, ParseTest(std::move(node)));
    } else {
      return node;
    }
  }
}

absl::StatusOr<NodePtr> ExpressionParser::ParseFilter(NodePtr input) {
  NodePtr filter = stream_.Make(NodeKind::kFilter, std::move(input));
  if (stream_.current().kind != TokenKind::kName) return stream_.Error("name of a filter expected");
  filter->text = stream_.current().text;
  if (!IsFilter(filter->text)) {
    return stream_.Error(fmt::format("filter '{}' is not supported", filter->text));
  }
  stream_.Take();
  if (stream_.IsOperator("(")) KEYHOLE_RETURN_IF_ERROR(ParseArguments(filter.get()));
  return stream_.Checked(std::move(filter));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseTest(NodePtr input) {
  const bool negated = stream_.SkipName("not");
  NodePtr test = stream_.Make(NodeKind::kTest, std::move(input));
  if (stream_.current().kind != TokenKind::kName) return stream_.Error("name of a test expected");
  test->text = stream_.current().text;
  if (!IsTest(test->text)) {
    return stream_.Error(fmt::format("test '{}' is not supported", test->text));
  }
  stream_.Take();
  const Token& token = stream_.current();
  const bool is_word = token.kind == TokenKind::kName;
  const bool is_value = token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
                        token.kind == TokenKind::kFloat || stream_.IsOperator("[") ||
                        stream_.IsOperator("{");
  const bool goes_on = is_word && token.text != "else" && token.text != "or" &&
                       token.text != "and" && token.text != "is" && token.text != "if" &&
                       token.text != "in" && token.text != "not";
  if (stream_.IsOperator("(")) {
    KEYHOLE_RETURN_IF_ERROR(ParseArguments(test.get()));
  } else if (is_value || goes_on) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr argument, ParsePrimary());
    KEYHOLE_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    TokenStream::Adopt(test.get(), std::move(argument));
  }
  if (negated) test = stream_.Make(NodeKind::kNot, std::move(test));
  return stream_.Checked(std::move(test));
}

absl::StatusOr<NodePtr> ExpressionParser::ParsePrimary() {
  const Token token = stream_.current();
  NodePtr node;
  switch (token.kind) {
    case TokenKind::kName:
      return ParseNamed();
    case TokenKind::kString:
      node = stream_.Make(NodeKind::kString);
      // Neighbouring strings are one.
      while (stream_.current().kind == TokenKind::kString) node->text += stream_.Take().text;
      return node;
    case TokenKind::kInteger:
    case TokenKind::kFloat: {
      node =
          stream_.Make(token.kind == TokenKind::kInteger ? NodeKind::kInteger : NodeKind::kFloat);
      const char* const end = token.text.data() + token.text.size();
      const auto result = token.kind == TokenKind::kInteger
                              ? std::from_chars(token.text.data(), end, node->integer)
                              : std::from_chars(token.text.data(), end, node->number);
      if (result.ec != std::errc()) return stream_.Error("a number is out of range");
      stream_.Take();
      return node;
    }
    default:
      break;
  }
  if (stream_.IsOperator("(")) return Nested(&ExpressionParser::ParseParenthesis);
  if (stream_.IsOperator("[")) return Nested(&ExpressionParser::ParseList);
  if (stream_.IsOperator("{")) return Nested(&ExpressionParser::ParseDict);
  return stream_.Error("expression expected");
}

absl::StatusOr<NodePtr> ExpressionParser::ParseNamed() {
  const std::string name = stream_.current().text;
  NodePtr node = stream_.Make(NodeKind::kName);
  if (name == "true" || name == "True") {
    node->kind = NodeKind::kTrue;
  } else if (name == "false" || name == "False") {
    node->kind = NodeKind::kFalse;
  } else if (name == "none" || name == "None") {
    node->kind = NodeKind::kNone;
  } else {
    node->text = name;
  }
  stream_.Take();
  return node;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseParenthesis() {
  stream_.Take();
  if (stream_.SkipOperator(")")) return stream_.Make(NodeKind::kTuple);
  KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, ParseTuple());
  KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return value;
}

absl::StatusOr<NodePtr> ExpressionParser::ParseList() {
  stream_.Take();
  NodePtr list = stream_.Make(NodeKind::kList);
  while (!stream_.IsOperator("]")) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr item, Parse());
    TokenStream::Adopt(list.get(), std::move(item));
    if (!stream_.SkipOperator(",")) break;
  }
  KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  return stream_.Checked(std::move(list));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseDict() {
  stream_.Take();
  NodePtr dict = stream_.Make(NodeKind::kDict);
  while (!stream_.IsOperator("}")) {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr key, Parse());
    KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator(":"));
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, Parse());
    TokenStream::Adopt(dict.get(), std::move(key));
    TokenStream::Adopt(dict.get(), std::move(value));
    if (!stream_.SkipOperator(",")) break;
  }
  KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator("}"));
  return stream_.Checked(std::move(dict));
}

absl::StatusOr<NodePtr> ExpressionParser::ParsePostfix(NodePtr node) {
  while (true) {
    if (stream_.SkipOperator(".")) {
      KEYHOLE_ASSIGN_OR_RETURN(node, ParseMember(std::move(node)));
    } else if (stream_.SkipOperator("[")) {
      KEYHOLE_ASSIGN_OR_RETURN(node, ParseSubscript(std::move(node)));
    } else if (stream_.IsOperator("(")) {
      NodePtr call = stream_.Make(NodeKind::kCall, std::move(node));
      KEYHOLE_RETURN_IF_ERROR(ParseArguments(call.get()));
      KEYHOLE_ASSIGN_OR_RETURN(node, stream_.Checked(std::move(call)));
    } else {
      return node;
    }
  }
}

absl::StatusOr<NodePtr> ExpressionParser::ParseMember(NodePtr object) {
  NodePtr member = stream_.Make(NodeKind::kAttribute, std::move(object));
  if (stream_.current().kind == TokenKind::kInteger) {
    NodePtr index = stream_.Make(NodeKind::kString);
    KEYHOLE_ASSIGN_OR_RETURN(index, ParsePrimary());
    member->kind = NodeKind::kItem;
    TokenStream::Adopt(member.get(), std::move(index));
    return stream_.Checked(std::move(member));
  }
  member->text = stream_.current().text;
  KEYHOLE_RETURN_IF_ERROR(stream_.Expect(TokenKind::kName, "name of a member"));
  return stream_.Checked(std::move(member));
}

absl::StatusOr<NodePtr> ExpressionParser::ParseSubscript(NodePtr object) {
  NodePtr bounds[3];
  int n_colons = 0;
  while (!stream_.IsOperator("]")) {
    if (stream_.SkipOperator(":")) {
      if (++n_colons > 2) return stream_.Error("a slice has at most two colons");
      continue;
    }
    if (bounds[n_colons] != nullptr) return stream_.Error("']' expected");
    KEYHOLE_ASSIGN_OR_RETURN(bounds[n_colons], Parse());
  }
  stream_.Take();
  if (n_colons == 0 && bounds[0] == nullptr) return stream_.Error("an index is missing");
  if (n_colons == 0) {
    return stream_.Checked(stream_.Make(NodeKind::kItem, std::move(object), std::move(bounds[0])));
  }
  return stream_.Checked(stream_.Make(NodeKind::kSlice,
                                      std::move(object),
                                      std::move(bounds[0]),
                                      std::move(bounds[1]),
                                      std::move(bounds[2])));
}

absl::Status ExpressionParser::ParseArguments(Node* call) {
  KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator("("));
  while (!stream_.IsOperator(")")) {
    const bool named = stream_.current().kind == TokenKind::kName &&
                       stream_.next().kind == TokenKind::kOperator && stream_.next().text == "=";
    std::string name;
    if (named) {
      name = stream_.Take().text;
      stream_.Take();
    }
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, Parse());
    if (named) {
      TokenStream::AdoptKeyword(call, std::move(name), std::move(value));
    } else if (!call->keywords.empty()) {
      return stream_.Error("a positional argument follows a named one");
    } else {
      TokenStream::Adopt(call, std::move(value));
    }
    if (!stream_.SkipOperator(",")) break;
  }
  return stream_.ExpectOperator(")");
}

}  // namespace keyhole::jinja
