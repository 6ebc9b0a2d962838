#include "engine/tokenizer/jinja_operators.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_builtins.h"

namespace keyhole::jinja {
namespace {

absl::Status Unfit(std::string_view op, const Value& left, const Value& right) {
  const auto describe = [](const Value& value) {
    const bool named = value.is<Undefined>() && value.get<Undefined>().name != nullptr;
    return named ? fmt::format("undefined '{}'", *value.get<Undefined>().name)
                 : std::string(TypeName(value));
  };
  return absl::InvalidArgumentError(
      fmt::format("'{}' does not work on {} and {}", op, describe(left), describe(right)));
}

absl::StatusOr<Value> Concat(std::string_view left, std::string_view right, Heap* heap) {
  if (left.size() + right.size() > heap->left()) {
    return absl::InvalidArgumentError("the template makes too much text");
  }
  std::string out;
  out.reserve(left.size() + right.size());
  return heap->String(out.append(left).append(right));
}

absl::StatusOr<Value> Repeat(const std::string& text, std::int64_t times, Heap* heap) {
  if (times <= 0 || text.empty()) return heap->String("");
  if (static_cast<std::uint64_t>(times) > heap->left() / text.size()) {
    return absl::InvalidArgumentError("the template makes too much text");
  }
  std::string out;
  for (std::int64_t i = 0; i < times; ++i) out += text;
  return heap->String(std::move(out));
}

absl::StatusOr<Value> ComputeIntegers(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else {
    if (b == 0) return absl::InvalidArgumentError("division by zero");
    if (op == "/") return Value{static_cast<double>(a) / static_cast<double>(b)};
    if (b == -1) {  // the one quotient that does not fit
      overflow = op == "//" && a == std::numeric_limits<std::int64_t>::min();
      result = op == "//" && !overflow ? -a : 0;
    } else {  // Python rounds towards minus infinity
      const bool down = a % b != 0 && (a % b < 0) != (b < 0);
      result = op == "//" ? a / b - (down ? 1 : 0) : a % b + (down ? b : 0);
    }
  }
  if (overflow) return absl::InvalidArgumentError("an integer exceeds 64 bits");
  return Value{result};
}

absl::StatusOr<Value> ComputeFloats(std::string_view op, double a, double b) {
  if (op == "+") return Value{a + b};
  if (op == "-") return Value{a - b};
  if (op == "*") return Value{a * b};
  if (b == 0) return absl::InvalidArgumentError("division by zero");
  if (op == "/") return Value{a / b};
  if (op == "//") return Value{std::floor(a / b)};
  return Value{a - b * std::floor(a / b)};
}

}  // namespace

absl::StatusOr<Value> Compute(std::string_view op,
                              const Value& left,
                              const Value& right,
                              Heap* heap) {
  if (op == "~") return Concat(ToString(left), ToString(right), heap);
  if (left.is_integer() && right.is_integer()) {
    return ComputeIntegers(op, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number()) {
    return ComputeFloats(op, left.number(), right.number());
  }
  if (op == "+" && left.is_string() && right.is_string()) {
    return Concat(left.text(), right.text(), heap);
  }
  if (op == "+" && left.is_list() && right.is_list()) {
    List joined = left.list();
    joined.insert(joined.end(), right.list().begin(), right.list().end());
    return heap->NewList(std::move(joined), left.get<const ListObject*>()->is_tuple);
  }
  if (op == "*" && left.is_string() && right.is_integer()) {
    return Repeat(left.text(), right.integer(), heap);
  }
  return Unfit(op, left, right);
}

absl::StatusOr<bool> Compare(std::string_view op, const Value& left, const Value& right) {
  if (op == "==") return AreEqual(left, right);
  if (op == "!=") return !AreEqual(left, right);
  if (op == "in") return Contains(right, left);
  if (op == "not in") {
    KEYHOLE_ASSIGN_OR_RETURN(const bool contains, Contains(right, left));
    return !contains;
  }
  const bool strings = left.is_string() && right.is_string();
  if (!strings && !(left.is_number() && right.is_number())) return Unfit(op, left, right);
  const auto order = [&](const auto& a, const auto& b) {
    return op == "<" ? a < b : op == "<=" ? a <= b : op == ">" ? a > b : a >= b;
  };
  return strings ? order(left.text(), right.text()) : order(left.number(), right.number());
}

}  // namespace keyhole::jinja
