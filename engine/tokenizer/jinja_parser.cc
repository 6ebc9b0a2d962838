#include "engine/tokenizer/jinja_parser.h"

#include <initializer_list>
#include <string>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_expression_parser.h"
#include "engine/tokenizer/jinja_lexer.h"
#include "engine/tokenizer/jinja_token_stream.h"

namespace keyhole::jinja {
namespace {

constexpr std::size_t kMaxSourceBytes = std::size_t{1} << 20;
constexpr int kMaxBlockNesting = 60;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : stream_(std::move(tokens)), expressions_(&stream_) {}

  absl::StatusOr<NodePtr> Run() {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr block, ParseBlock({}));
    if (stream_.current().kind != TokenKind::kEnd) {
      return stream_.Error(fmt::format("'{}' without its beginning", stream_.current().text));
    }
    return block;
  }

 private:
  // Statements up to a tag with one of the names of `ends`; that name is then the current token.
  absl::StatusOr<NodePtr> ParseBlock(std::initializer_list<std::string_view> ends) {
    if (++nesting_ > kMaxBlockNesting) return stream_.Error("too deeply nested");
    NodePtr block = stream_.Make(NodeKind::kBlock);
    bool ended = false;
    while (!ended && stream_.current().kind != TokenKind::kEnd) {
      NodePtr statement;
      const Token token = stream_.Take();
      if (token.kind == TokenKind::kData) {
        statement = stream_.Make(NodeKind::kData);
        statement->text = token.text;
      } else if (token.kind == TokenKind::kVariableBegin) {
        KEYHOLE_ASSIGN_OR_RETURN(NodePtr value, expressions_.ParseTuple());
        KEYHOLE_RETURN_IF_ERROR(stream_.Expect(TokenKind::kVariableEnd, "'}}'"));
        statement = stream_.Make(NodeKind::kOutput, std::move(value));
      } else {
        for (const std::string_view end : ends) ended = ended || stream_.IsName(end);
        if (ended) break;
        KEYHOLE_ASSIGN_OR_RETURN(statement, ParseStatement());
      }
      TokenStream::Adopt(block.get(), std::move(statement));
    }
    if (!ended && ends.size() > 0) {
      return stream_.Error(fmt::format("'{}' is missing", *(ends.end() - 1)));
    }
    --nesting_;
    return stream_.Checked(std::move(block));
  }

  absl::StatusOr<NodePtr> ParseStatement() {
    const Token keyword = stream_.current();
    if (keyword.kind != TokenKind::kName) return stream_.Error("name of a statement expected");
    stream_.Take();
    if (keyword.text == "if") return ParseIf();
    if (keyword.text == "for") return ParseFor();
    if (keyword.text == "set") return ParseSet();
    if (keyword.text == "macro") return ParseMacro();
    if (keyword.text == "generation") return ParseGeneration();
    if (keyword.text == "break" || keyword.text == "continue") {
      if (loops_ == 0) return stream_.Error(keyword.text + " outside of a loop");
      NodePtr node = stream_.Make(keyword.text == "break" ? NodeKind::kBreak : NodeKind::kContinue);
      KEYHOLE_RETURN_IF_ERROR(EndTag());
      return node;
    }
    return stream_.Error(fmt::format("statement '{}' is not supported here", keyword.text));
  }

  absl::Status EndTag() { return stream_.Expect(TokenKind::kBlockEnd, "'%}'"); }

  // The tag `name`, which is current, to its end.
  absl::Status CloseTag() {
    stream_.Take();
    return EndTag();
  }

  absl::StatusOr<NodePtr> ParseIf() {
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr condition, expressions_.ParseTuple());
    KEYHOLE_RETURN_IF_ERROR(EndTag());
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr then, ParseBlock({"elif", "else", "endif"}));
    NodePtr node = stream_.Make(NodeKind::kIf, std::move(condition), std::move(then));
    if (stream_.SkipName("elif")) {
      if (++nesting_ > kMaxBlockNesting) return stream_.Error("too many branches");
      KEYHOLE_ASSIGN_OR_RETURN(NodePtr otherwise, ParseIf());
      --nesting_;
      TokenStream::Adopt(node.get(), std::move(otherwise));
      return stream_.Checked(std::move(node));
    }
    NodePtr otherwise;
    if (stream_.IsName("else")) {
      KEYHOLE_RETURN_IF_ERROR(CloseTag());
      KEYHOLE_ASSIGN_OR_RETURN(otherwise, ParseBlock({"endif"}));
    }
    TokenStream::Adopt(node.get(), std::move(otherwise));
    KEYHOLE_RETURN_IF_ERROR(CloseTag());
    return stream_.Checked(std::move(node));
  }

  // Names with commas between, in parentheses or not.
  absl::StatusOr<std::vector<std::string>> ParseTargets() {
    std::vector<std::string> names;
    const bool parenthesis = stream_.SkipOperator("(");
    do {
      names.push_back(stream_.current().text);
      KEYHOLE_RETURN_IF_ERROR(stream_.Expect(TokenKind::kName, "name of a variable"));
    } while (stream_.SkipOperator(","));
    if (parenthesis) KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
    return names;
  }

  absl::StatusOr<NodePtr> ParseFor() {
    NodePtr node = stream_.Make(NodeKind::kFor);
    KEYHOLE_ASSIGN_OR_RETURN(node->names, ParseTargets());
    if (!stream_.SkipName("in")) return stream_.Error("'in' expected");
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr iterable, expressions_.ParseWithoutCondition());
    NodePtr condition;
    if (stream_.SkipName("if")) {
      KEYHOLE_ASSIGN_OR_RETURN(condition, expressions_.Parse());
    }
    if (stream_.IsName("recursive")) return stream_.Error("a recursive loop is not supported");
    KEYHOLE_RETURN_IF_ERROR(EndTag());
    ++loops_;
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr body, ParseBlock({"else", "endfor"}));
    --loops_;
    NodePtr otherwise;
    if (stream_.IsName("else")) {
      KEYHOLE_RETURN_IF_ERROR(CloseTag());
      KEYHOLE_ASSIGN_OR_RETURN(otherwise, ParseBlock({"endfor"}));
    }
    KEYHOLE_RETURN_IF_ERROR(CloseTag());
    for (NodePtr* child : {&iterable, &condition, &body, &otherwise}) {
      TokenStream::Adopt(node.get(), std::move(*child));
    }
    return stream_.Checked(std::move(node));
  }

  absl::StatusOr<NodePtr> ParseSet() {
    NodePtr node = stream_.Make(NodeKind::kSet);
    KEYHOLE_ASSIGN_OR_RETURN(node->names, ParseTargets());
    if (stream_.SkipOperator(".")) {
      node->text = stream_.current().text;
      KEYHOLE_RETURN_IF_ERROR(stream_.Expect(TokenKind::kName, "name of a member"));
    }
    NodePtr value;
    if (stream_.SkipOperator("=")) {
      KEYHOLE_ASSIGN_OR_RETURN(value, expressions_.ParseTuple());
      KEYHOLE_RETURN_IF_ERROR(EndTag());
    } else {
      if (node->names.size() > 1 || !node->text.empty()) return stream_.Error("'=' expected");
      node->kind = NodeKind::kSetBlock;
      KEYHOLE_RETURN_IF_ERROR(EndTag());
      KEYHOLE_ASSIGN_OR_RETURN(value, ParseBlock({"endset"}));
      KEYHOLE_RETURN_IF_ERROR(CloseTag());
    }
    TokenStream::Adopt(node.get(), std::move(value));
    return stream_.Checked(std::move(node));
  }

  absl::StatusOr<NodePtr> ParseMacro() {
    NodePtr node = stream_.Make(NodeKind::kMacro);
    node->text = stream_.current().text;
    KEYHOLE_RETURN_IF_ERROR(stream_.Expect(TokenKind::kName, "name of a macro"));
    KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator("("));
    while (!stream_.IsOperator(")")) {
      std::string name = stream_.current().text;
      KEYHOLE_RETURN_IF_ERROR(stream_.Expect(TokenKind::kName, "name of a parameter"));
      if (stream_.SkipOperator("=")) {
        KEYHOLE_ASSIGN_OR_RETURN(NodePtr fallback, expressions_.Parse());
        TokenStream::AdoptKeyword(node.get(), name, std::move(fallback));
      }
      node->names.push_back(std::move(name));
      if (!stream_.SkipOperator(",")) break;
    }
    KEYHOLE_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
    KEYHOLE_RETURN_IF_ERROR(EndTag());
    const int loops = std::exchange(loops_, 0);
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr body, ParseBlock({"endmacro"}));
    loops_ = loops;
    KEYHOLE_RETURN_IF_ERROR(CloseTag());
    TokenStream::Adopt(node.get(), std::move(body));
    return stream_.Checked(std::move(node));
  }

  // Marks what the model itself would write; changes nothing of the text.
  absl::StatusOr<NodePtr> ParseGeneration() {
    KEYHOLE_RETURN_IF_ERROR(EndTag());
    KEYHOLE_ASSIGN_OR_RETURN(NodePtr body, ParseBlock({"endgeneration"}));
    KEYHOLE_RETURN_IF_ERROR(CloseTag());
    return body;
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

absl::StatusOr<NodePtr> ParseTemplate(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "chat template: {} bytes; at most {} are read", source.size(), kMaxSourceBytes));
  }
  KEYHOLE_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace keyhole::jinja
