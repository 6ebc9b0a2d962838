#include "engine/tokenizer/jinja_evaluator.h"

#include <fmt/format.h>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_operators.h"

namespace keyhole::jinja {
namespace {

constexpr int kMaxDepth = 700;  // of evaluations in one another, macro calls included

// Counts a level of recursion while it lives.
class Level {
 public:
  explicit Level(int* depth) : depth_(*depth) { ++depth_; }
  ~Level() { --depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int& depth_;
};

}  // namespace

Evaluator::Evaluator(Heap* heap, Limits limits, std::optional<absl::Time> now)
    : heap_(*heap), limits_(limits), now_(now) {
  for (const char* name : {"range", "namespace", "dict", "raise_exception"}) {
    Define(name, Value{Macro{}});
  }
  if (now) Define("strftime_now", Value{Macro{}});
}

absl::StatusOr<std::string> Evaluator::Run(const Node& root) {
  std::string out;
  KEYHOLE_RETURN_IF_ERROR(Execute(root, &out).status());
  return out;
}

absl::Status Evaluator::At(const Node& node, const absl::Status& status) const {
  constexpr std::string_view kPrefix = "chat template";
  const std::string_view message(status.message().data(), status.message().size());
  if (message.starts_with(kPrefix)) return status;
  return absl::InvalidArgumentError(fmt::format("{}, line {}: {}", kPrefix, node.line, message));
}

absl::Status Evaluator::Step(const Node& node) {
  if (++steps_ > limits_.max_steps || !heap_.within_bound()) {
    return At(node, absl::InvalidArgumentError("the template takes too many steps"));
  }
  if (depth_ > kMaxDepth) return At(node, absl::InvalidArgumentError("too deep a recursion"));
  return absl::OkStatus();
}

absl::Status Evaluator::Append(std::string_view text, std::string* out) const {
  if (text.size() > limits_.max_output - out->size()) {
    return absl::InvalidArgumentError("chat template: the result is too long");
  }
  out->append(text);
  return absl::OkStatus();
}

const Value* Evaluator::Find(std::string_view name) const {
  for (std::size_t i = scopes_.size(); i-- > 0;) {
    if (i < base_ && i > 0) continue;
    for (const auto& [key, value] : scopes_[i]) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Evaluator::Assign(std::string_view name, Value value) {
  for (auto& [key, old] : scopes_.back()) {
    if (key == name) {
      old = value;
      return;
    }
  }
  scopes_.back().emplace_back(name, value);
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const Node& node, std::string* out) {
  const Level level(&depth_);
  KEYHOLE_RETURN_IF_ERROR(Step(node));
  switch (node.kind) {
    case NodeKind::kData:
      KEYHOLE_RETURN_IF_ERROR(Append(node.text, out));
      return Flow::kNext;
    case NodeKind::kOutput: {
      KEYHOLE_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.children[0]));
      KEYHOLE_RETURN_IF_ERROR(value.is_string() ? Append(value.text(), out)
                                                : Append(ToString(value), out));
      return Flow::kNext;
    }
    case NodeKind::kBlock:
      return ExecuteBlock(node, out);
    case NodeKind::kIf:
      return ExecuteIf(node, out);
    case NodeKind::kFor:
      return ExecuteFor(node, out);
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
    case NodeKind::kMacro:
      Assign(node.text, Value{Macro{&node}});
      return Flow::kNext;
    default:
      KEYHOLE_RETURN_IF_ERROR(ExecuteSet(node));
      return Flow::kNext;
  }
}

absl::StatusOr<Evaluator::Flow> Evaluator::ExecuteBlock(const Node& node, std::string* out) {
  for (const NodePtr& child : node.children) {
    KEYHOLE_ASSIGN_OR_RETURN(const Flow flow, Execute(*child, out));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::ExecuteIf(const Node& node, std::string* out) {
  KEYHOLE_ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.children[0]));
  const NodePtr& branch = node.children[IsTrue(condition) ? 1 : 2];
  if (branch == nullptr) return Flow::kNext;
  return Execute(*branch, out);
}

absl::Status Evaluator::Bind(const Node& node, const Value& value) {
  if (node.names.size() == 1) {
    Assign(node.names[0], value);
    return absl::OkStatus();
  }
  KEYHOLE_ASSIGN_OR_RETURN(const List parts, Items(value, &heap_));
  if (parts.size() != node.names.size()) {
    return At(node,
              absl::InvalidArgumentError(
                  fmt::format("{} values for {} variables", parts.size(), node.names.size())));
  }
  for (std::size_t i = 0; i < parts.size(); ++i) Assign(node.names[i], parts[i]);
  return absl::OkStatus();
}

// The items of a loop that pass its condition.
absl::StatusOr<List> Evaluator::LoopItems(const Node& node) {
  KEYHOLE_ASSIGN_OR_RETURN(const Value iterable, Evaluate(*node.children[0]));
  absl::StatusOr<List> items = Items(iterable, &heap_);
  if (!items.ok()) return At(node, items.status());
  if (node.children[1] == nullptr) return items;
  List kept;
  for (const Value& item : *items) {
    scopes_.emplace_back();
    KEYHOLE_RETURN_IF_ERROR(Bind(node, item));
    KEYHOLE_ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.children[1]));
    scopes_.pop_back();
    if (IsTrue(condition)) kept.push_back(item);
  }
  return kept;
}

void Evaluator::DefineLoop(const List& items, std::size_t index) {
  const auto n = static_cast<std::int64_t>(items.size());
  const auto i = static_cast<std::int64_t>(index);
  Assign("loop",
         heap_.NewDict({{"index", Value{i + 1}},
                        {"index0", Value{i}},
                        {"revindex", Value{n - i}},
                        {"revindex0", Value{n - i - 1}},
                        {"first", Value{i == 0}},
                        {"last", Value{i + 1 == n}},
                        {"length", Value{n}},
                        {"previtem", i > 0 ? items[index - 1] : Value{}},
                        {"nextitem", i + 1 < n ? items[index + 1] : Value{}}}));
}

absl::StatusOr<Evaluator::Flow> Evaluator::ExecuteFor(const Node& node, std::string* out) {
  KEYHOLE_ASSIGN_OR_RETURN(const List items, LoopItems(node));
  for (std::size_t i = 0; i < items.size(); ++i) {
    scopes_.emplace_back();
    DefineLoop(items, i);
    KEYHOLE_RETURN_IF_ERROR(Bind(node, items[i]));
    KEYHOLE_ASSIGN_OR_RETURN(const Flow flow, Execute(*node.children[2], out));
    scopes_.pop_back();
    if (flow == Flow::kBreak) break;
  }
  if (items.empty() && node.children[3] != nullptr) return Execute(*node.children[3], out);
  return Flow::kNext;
}

absl::Status Evaluator::ExecuteSet(const Node& node) {
  if (node.kind == NodeKind::kSetBlock) {
    std::string text;
    scopes_.emplace_back();
    KEYHOLE_RETURN_IF_ERROR(Execute(*node.children[0], &text).status());
    scopes_.pop_back();
    Assign(node.names[0], heap_.String(std::move(text)));
    return absl::OkStatus();
  }
  KEYHOLE_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.children[0]));
  if (node.text.empty()) return Bind(node, value);
  const Value* target = Find(node.names[0]);
  if (target == nullptr || !target->is<Namespace>()) {
    return At(node, absl::InvalidArgumentError("members can only be set of a namespace"));
  }
  Dict& members = *target->get<Namespace>().members;
  heap_.Charge(node.text.size() + sizeof(Value));
  for (auto& [name, old] : members) {
    if (name == node.text) {
      old = value;
      return absl::OkStatus();
    }
  }
  members.emplace_back(node.text, value);
  return absl::OkStatus();
}

absl::StatusOr<Arguments> Evaluator::EvaluateArguments(const Node& node) {
  Arguments arguments;
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    KEYHOLE_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.children[i]));
    arguments.positional.push_back(value);
  }
  for (const auto& [name, child] : node.keywords) {
    KEYHOLE_ASSIGN_OR_RETURN(const Value value, Evaluate(*child));
    arguments.named.emplace_back(name, value);
  }
  return arguments;
}

absl::StatusOr<Value> Evaluator::CallMacro(const Node& macro, const Arguments& arguments) {
  if (arguments.positional.size() > macro.names.size()) {
    return absl::InvalidArgumentError(fmt::format("too many arguments for '{}'", macro.text));
  }
  Scope scope;
  for (std::size_t i = 0; i < macro.names.size(); ++i) {
    const Value* given = arguments.Find(i, macro.names[i]);
    Value value{Undefined{&macro.names[i]}};
    if (given != nullptr) {
      value = *given;
    } else {
      for (const auto& [name, fallback] : macro.keywords) {
        if (name != macro.names[i]) continue;
        KEYHOLE_ASSIGN_OR_RETURN(value, Evaluate(*fallback));
      }
    }
    scope.emplace_back(macro.names[i], value);
  }
  scopes_.push_back(std::move(scope));
  const std::size_t caller_base = std::exchange(base_, scopes_.size() - 1);
  std::string text;
  KEYHOLE_RETURN_IF_ERROR(Execute(*macro.children[0], &text).status());
  base_ = caller_base;
  scopes_.pop_back();
  return heap_.String(std::move(text));
}

}  // namespace keyhole::jinja
