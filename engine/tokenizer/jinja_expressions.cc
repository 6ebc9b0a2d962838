// Evaluation of expressions.
#include <fmt/format.h>

#include <algorithm>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_evaluator.h"
#include "engine/tokenizer/jinja_operators.h"

namespace keyhole::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;  // items, as Jinja's sandbox has it

absl::StatusOr<Value> Range(const Arguments& arguments, Heap* heap) {
  std::int64_t bounds[3] = {0, 0, 1};  // from, to, step
  const std::size_t n = arguments.positional.size();
  for (std::size_t i = 0; i < n && i < 3; ++i) {
    if (!arguments.positional[i].is_integer()) {
      return absl::InvalidArgumentError("range needs integers");
    }
    bounds[n == 1 ? 1 : i] = arguments.positional[i].integer();
  }
  const auto [from, to, step] = bounds;
  if (n < 1 || n > 3 || step == 0) return absl::InvalidArgumentError("range needs 1 to 3 integers");
  List list;
  for (std::int64_t at = from; step > 0 ? at < to : at > to;) {
    if (static_cast<std::int64_t>(list.size()) == kMaxRange) {
      return absl::InvalidArgumentError("range is too long");
    }
    list.push_back(Value{at});
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return heap->NewList(std::move(list));
}

}  // namespace

absl::StatusOr<Value> Evaluator::Evaluate(const Node& node) {
  ++depth_;
  absl::Status step = Step(node);
  if (!step.ok()) return step;
  absl::StatusOr<Value> value = EvaluateInner(node);
  --depth_;
  if (!value.ok()) return At(node, value.status());
  return value;
}

absl::StatusOr<Value> Evaluator::EvaluateInner(const Node& node) {
  switch (node.kind) {
    case NodeKind::kString:
      return Value{&node.text};
    case NodeKind::kInteger:
      return Value{node.integer};
    case NodeKind::kFloat:
      return Value{node.number};
    case NodeKind::kTrue:
      return Value{true};
    case NodeKind::kFalse:
      return Value{false};
    case NodeKind::kNone:
      return Value{None{}};
    case NodeKind::kName: {
      const Value* found = Find(node.text);
      if (found != nullptr) return *found;
      return Value{Undefined{&node.text}};
    }
    case NodeKind::kNot: {
      KEYHOLE_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.children[0]));
      return Value{!IsTrue(value)};
    }
    case NodeKind::kAnd:
    case NodeKind::kOr: {
      KEYHOLE_ASSIGN_OR_RETURN(const Value left, Evaluate(*node.children[0]));
      if (IsTrue(left) == (node.kind == NodeKind::kOr)) return left;
      return Evaluate(*node.children[1]);
    }
    case NodeKind::kConditional: {
      KEYHOLE_ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.children[1]));
      if (IsTrue(condition)) return Evaluate(*node.children[0]);
      return node.children[2] != nullptr ? Evaluate(*node.children[2]) : Value{};
    }
    default:
      return EvaluateConstruct(node);
  }
}

absl::StatusOr<Value> Evaluator::EvaluateConstruct(const Node& node) {
  switch (node.kind) {
    case NodeKind::kBinary:
      return EvaluateBinary(node);
    case NodeKind::kCompare:
      return EvaluateCompare(node);
    case NodeKind::kCall:
      return EvaluateCall(node);
    case NodeKind::kDict:
      return EvaluateDict(node);
    case NodeKind::kSlice:
      return EvaluateSlice(node);
    case NodeKind::kList:
    case NodeKind::kTuple: {
      List list;
      for (const NodePtr& child : node.children) {
        KEYHOLE_ASSIGN_OR_RETURN(const Value item, Evaluate(*child));
        list.push_back(item);
      }
      return heap_.NewList(std::move(list), node.kind == NodeKind::kTuple);
    }
    default:
      break;
  }
  KEYHOLE_ASSIGN_OR_RETURN(const Value object, Evaluate(*node.children[0]));
  switch (node.kind) {
    case NodeKind::kAttribute:
      return GetItem(object, Value{&node.text}, &heap_);
    case NodeKind::kItem: {
      KEYHOLE_ASSIGN_OR_RETURN(const Value index, Evaluate(*node.children[1]));
      return GetItem(object, index, &heap_);
    }
    case NodeKind::kFilter: {
      KEYHOLE_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
      return ApplyFilter(node.text, object, arguments, &heap_);
    }
    case NodeKind::kTest: {
      KEYHOLE_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
      KEYHOLE_ASSIGN_OR_RETURN(const bool passes, ApplyTest(node.text, object, arguments));
      return Value{passes};
    }
    default:  // kNegate
      return Compute("-", Value{std::int64_t{0}}, object, &heap_);
  }
}

absl::StatusOr<Value> Evaluator::EvaluateDict(const Node& node) {
  Dict dict;
  for (std::size_t i = 0; i < node.children.size(); i += 2) {
    KEYHOLE_ASSIGN_OR_RETURN(const Value key, Evaluate(*node.children[i]));
    KEYHOLE_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.children[i + 1]));
    if (!key.is_string()) return absl::InvalidArgumentError("a mapping's keys must be strings");
    const auto same = std::find_if(
        dict.begin(), dict.end(), [&](const auto& entry) { return entry.first == key.text(); });
    if (same != dict.end()) {
      same->second = value;
    } else {
      dict.emplace_back(key.text(), value);
    }
  }
  return heap_.NewDict(std::move(dict));
}

absl::StatusOr<Value> Evaluator::EvaluateSlice(const Node& node) {
  KEYHOLE_ASSIGN_OR_RETURN(const Value object, Evaluate(*node.children[0]));
  Value bounds[3] = {Value{None{}}, Value{None{}}, Value{None{}}};
  for (int i = 0; i < 3; ++i) {
    if (node.children[i + 1] == nullptr) continue;
    KEYHOLE_ASSIGN_OR_RETURN(bounds[i], Evaluate(*node.children[i + 1]));
  }
  return GetSlice(object, bounds, &heap_);
}

absl::StatusOr<Value> Evaluator::EvaluateBinary(const Node& node) {
  KEYHOLE_ASSIGN_OR_RETURN(const Value left, Evaluate(*node.children[0]));
  KEYHOLE_ASSIGN_OR_RETURN(const Value right, Evaluate(*node.children[1]));
  return Compute(node.text, left, right, &heap_);
}

absl::StatusOr<Value> Evaluator::EvaluateCompare(const Node& node) {
  KEYHOLE_ASSIGN_OR_RETURN(Value left, Evaluate(*node.children[0]));
  for (std::size_t i = 0; i < node.names.size(); ++i) {
    KEYHOLE_ASSIGN_OR_RETURN(const Value right, Evaluate(*node.children[i + 1]));
    for (const Value& side : {left, right}) {
      heap_.Charge(ExtentOf(side).weight / 64);
    }
    KEYHOLE_ASSIGN_OR_RETURN(const bool holds, Compare(node.names[i], left, right));
    if (!holds) return Value{false};
    left = right;
  }
  return Value{true};
}

absl::StatusOr<Value> Evaluator::EvaluateCall(const Node& node) {
  const Node& callee = *node.children[0];
  KEYHOLE_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
  if (callee.kind == NodeKind::kAttribute) {
    KEYHOLE_ASSIGN_OR_RETURN(const Value object, Evaluate(*callee.children[0]));
    return CallMethod(callee.text, object, arguments, &heap_);
  }
  if (callee.kind != NodeKind::kName) {
    return absl::InvalidArgumentError("only functions, macros and methods can be called");
  }
  const Value* variable = Find(callee.text);
  if (variable == nullptr || !variable->is<Macro>()) {
    return absl::InvalidArgumentError(fmt::format("'{}' cannot be called", callee.text));
  }
  const Node* definition = variable->get<Macro>().definition;
  return definition != nullptr ? CallMacro(*definition, arguments)
                               : CallFunction(callee, arguments);
}

absl::StatusOr<Value> Evaluator::CallFunction(const Node& node, const Arguments& arguments) {
  const Value* first = arguments.Find(0, "");
  if (node.text == "range") return Range(arguments, &heap_);
  if (node.text == "namespace" || node.text == "dict") {
    Dict members;
    for (const auto& [name, value] : arguments.named) members.emplace_back(name, value);
    return node.text == "dict" ? heap_.NewDict(std::move(members))
                               : heap_.NewNamespace(std::move(members));
  }
  if (node.text == "raise_exception") {
    return absl::InvalidArgumentError(first != nullptr ? ToString(*first) : "raised an exception");
  }
  if (node.text == "strftime_now" && now_ && first != nullptr && first->is_string()) {
    return heap_.String(absl::FormatTime(first->text(), *now_, absl::UTCTimeZone()));
  }
  return absl::InvalidArgumentError(fmt::format("wrong arguments for '{}'", node.text));
}

}  // namespace keyhole::jinja
