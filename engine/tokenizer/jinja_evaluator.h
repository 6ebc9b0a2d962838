// Runs a parsed chat template.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/tokenizer/jinja_ast.h"
#include "engine/tokenizer/jinja_builtins.h"
#include "engine/tokenizer/jinja_value.h"

namespace keyhole::jinja {

struct Limits {
  std::int64_t max_steps = 0;  // nodes evaluated
  std::size_t max_output = 0;  // bytes
};

// Thread: one owner; for one rendering.
class Evaluator {
 public:
  // `now` unset: strftime_now is not defined. REQUIRES: `heap` outlives this object.
  Evaluator(Heap* heap, Limits limits, std::optional<absl::Time> now);

  void Define(std::string_view name, Value value) { scopes_[0].emplace_back(name, value); }

  // Errors: INVALID_ARGUMENT with the line: raised by the template, an operation that has no
  // meaning, or a bound.
  absl::StatusOr<std::string> Run(const Node& root);

 private:
  using Scope = std::vector<std::pair<std::string, Value>>;
  enum class Flow { kNext, kBreak, kContinue };

  absl::Status Step(const Node& node);
  absl::Status At(const Node& node, const absl::Status& status) const;

  absl::StatusOr<Flow> Execute(const Node& node, std::string* out);
  absl::StatusOr<Flow> ExecuteBlock(const Node& node, std::string* out);
  absl::StatusOr<Flow> ExecuteIf(const Node& node, std::string* out);
  absl::StatusOr<Flow> ExecuteFor(const Node& node, std::string* out);
  absl::StatusOr<List> LoopItems(const Node& node);
  absl::Status Bind(const Node& node, const Value& value);
  absl::Status Append(std::string_view text, std::string* out) const;
  absl::Status ExecuteSet(const Node& node);
  void DefineLoop(const List& items, std::size_t index);

  absl::StatusOr<Value> Evaluate(const Node& node);
  absl::StatusOr<Value> EvaluateInner(const Node& node);
  absl::StatusOr<Value> EvaluateConstruct(const Node& node);
  absl::StatusOr<Value> EvaluateDict(const Node& node);
  absl::StatusOr<Value> EvaluateSlice(const Node& node);
  absl::StatusOr<Value> EvaluateBinary(const Node& node);
  absl::StatusOr<Value> EvaluateCompare(const Node& node);
  absl::StatusOr<Value> EvaluateCall(const Node& node);
  absl::StatusOr<Value> CallFunction(const Node& node, const Arguments& arguments);
  absl::StatusOr<Value> CallMacro(const Node& macro, const Arguments& arguments);
  absl::StatusOr<Arguments> EvaluateArguments(const Node& node);

  const Value* Find(std::string_view name) const;
  void Assign(std::string_view name, Value value);

  Heap& heap_;
  Limits limits_;
  std::optional<absl::Time> now_;
  std::vector<Scope> scopes_ = std::vector<Scope>(1);  // [0]: of the whole template
  std::size_t base_ =
      0;  // scopes below, but for the first, are not seen: those of a macro's caller
  std::int64_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace keyhole::jinja
