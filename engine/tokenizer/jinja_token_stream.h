// The tokens of a chat template as its parser steps through them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/tokenizer/jinja_ast.h"
#include "engine/tokenizer/jinja_lexer.h"

namespace keyhole::jinja {

// Thread: one owner.
class TokenStream {
 public:
  static constexpr int kMaxDepth = 300;  // of expressions and blocks in one another

  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token Take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

  bool Is(TokenKind kind, std::string_view text) const {
    return current().kind == kind && current().text == text;
  }
  bool IsName(std::string_view name) const { return Is(TokenKind::kName, name); }
  bool IsOperator(std::string_view op) const { return Is(TokenKind::kOperator, op); }

  bool Skip(TokenKind kind, std::string_view text) {
    if (!Is(kind, text)) return false;
    Take();
    return true;
  }
  bool SkipName(std::string_view name) { return Skip(TokenKind::kName, name); }
  bool SkipOperator(std::string_view op) { return Skip(TokenKind::kOperator, op); }

  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(
        fmt::format("chat template, line {}: {}", current().line, what));
  }
  absl::Status ExpectOperator(std::string_view op) {
    return SkipOperator(op) ? absl::OkStatus() : Error(fmt::format("'{}' expected", op));
  }
  absl::Status Expect(TokenKind kind, std::string_view what) {
    if (current().kind != kind) return Error(fmt::format("{} expected", what));
    Take();
    return absl::OkStatus();
  }

  // A node of the current line over `children`, none of which is too deep.
  template <typename... Children>
  NodePtr Make(NodeKind kind, Children... children) const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->line = current().line;
    (Adopt(node.get(), std::move(children)), ...);
    return node;
  }

  static void Adopt(Node* parent, NodePtr child) {
    if (child != nullptr) parent->depth = std::max(parent->depth, child->depth + 1);
    parent->children.push_back(std::move(child));
  }
  static void AdoptKeyword(Node* parent, std::string name, NodePtr child) {
    parent->depth = std::max(parent->depth, child->depth + 1);
    parent->keywords.emplace_back(std::move(name), std::move(child));
  }

  // `node`, unless it is too deep.
  absl::StatusOr<NodePtr> Checked(NodePtr node) const {
    if (node->depth > kMaxDepth) return Error("too deeply nested");
    return node;
  }

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace keyhole::jinja
