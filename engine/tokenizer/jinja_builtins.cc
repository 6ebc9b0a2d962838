#include "engine/tokenizer/jinja_builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <string>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_text.h"

namespace keyhole::jinja {
namespace {

absl::Status Error(const std::string& message) { return absl::InvalidArgumentError(message); }

// What a filter gets.
struct Input {
  const Value& value;
  const Arguments& arguments;
  Heap* heap;

  // Text that the filter works on: anything else is printed first.
  std::string text() const { return ToString(value); }
  Value String(std::string text_value) const { return heap->String(std::move(text_value)); }
};

using Filter = absl::StatusOr<Value> (*)(const Input&);
using Test = bool (*)(const Value&);

absl::StatusOr<std::int64_t> Length(const Value& value) {
  if (value.is_string()) return CountCharacters(value.text());
  if (value.is_list()) return static_cast<std::int64_t>(value.list().size());
  if (value.is_dict()) return static_cast<std::int64_t>(value.dict().size());
  if (value.is<Undefined>()) return 0;
  return Error(fmt::format("{} has no length", TypeName(value)));
}

absl::StatusOr<Value> LengthFilter(const Input& in) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t length, Length(in.value));
  return Value{length};
}

absl::StatusOr<Value> TrimFilter(const Input& in) {
  const Value* characters = in.arguments.Find(0, "chars");
  const bool given = characters != nullptr && characters->is_string();
  const std::string text = in.text();
  return in.String(std::string(Strip(text, given ? characters->text() : "", true, true)));
}

absl::StatusOr<Value> DefaultFilter(const Input& in) {
  const Value* fallback = in.arguments.Find(0, "default_value");
  const Value* also_false = in.arguments.Find(1, "boolean");
  const bool missing = in.value.is<Undefined>() ||
                       (also_false != nullptr && IsTrue(*also_false) && !IsTrue(in.value));
  if (!missing) return in.value;
  return fallback != nullptr ? *fallback : in.String("");
}

absl::StatusOr<Value> ToJsonFilter(const Input& in) {
  const Value* indent = in.arguments.Find(0, "indent");
  const bool given = indent != nullptr && indent->is_integer();
  if (given && (indent->integer() < 0 || indent->integer() > 16)) return Error("tojson: indent");
  KEYHOLE_ASSIGN_OR_RETURN(std::string json,
                           ToJson(in.value, given ? static_cast<int>(indent->integer()) : -1));
  return in.String(std::move(json));
}

absl::StatusOr<Value> JoinFilter(const Input& in) {
  const Value* separator = in.arguments.Find(0, "d");
  const Value* attribute = in.arguments.Find(1, "attribute");
  KEYHOLE_ASSIGN_OR_RETURN(const List items, Items(in.value, in.heap));
  const std::string between = separator != nullptr ? ToString(*separator) : "";
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (attribute != nullptr) {
      KEYHOLE_ASSIGN_OR_RETURN(item, GetItem(item, *attribute, in.heap));
    }
    if (i > 0) out += between;
    out += ToString(item);
    if (out.size() > in.heap->left()) return Error("the template makes too much text");
  }
  return in.String(std::move(out));
}

absl::StatusOr<Value> FirstFilter(const Input& in) {
  KEYHOLE_ASSIGN_OR_RETURN(const List items, Items(in.value, in.heap));
  return items.empty() ? Value{} : items.front();
}

absl::StatusOr<Value> LastFilter(const Input& in) {
  KEYHOLE_ASSIGN_OR_RETURN(const List items, Items(in.value, in.heap));
  return items.empty() ? Value{} : items.back();
}

absl::StatusOr<Value> ListFilter(const Input& in) {
  KEYHOLE_ASSIGN_OR_RETURN(List items, Items(in.value, in.heap));
  return in.heap->NewList(std::move(items));
}

absl::StatusOr<Value> ReverseFilter(const Input& in) {
  const Value backwards[3] = {Value{None{}}, Value{None{}}, Value{std::int64_t{-1}}};
  if (in.value.is_string()) return GetSlice(in.value, backwards, in.heap);
  KEYHOLE_ASSIGN_OR_RETURN(List items, Items(in.value, in.heap));
  std::reverse(items.begin(), items.end());
  return in.heap->NewList(std::move(items));
}

absl::StatusOr<Value> ItemsFilter(const Input& in) {
  if (in.value.is<Undefined>()) return in.heap->NewList({});
  return CallMethod("items", in.value, {}, in.heap);
}

absl::StatusOr<Value> ReplaceFilter(const Input& in) {
  return CallMethod("replace", in.String(in.text()), in.arguments, in.heap);
}

Value Truncate(double number, const Value& otherwise) {
  return std::abs(number) < 9e18 ? Value{static_cast<std::int64_t>(number)} : otherwise;
}

absl::StatusOr<Value> IntFilter(const Input& in) {
  const Value* fallback = in.arguments.Find(0, "default");
  const Value otherwise = fallback != nullptr ? *fallback : Value{std::int64_t{0}};
  if (in.value.is_integer()) return Value{in.value.integer()};
  if (in.value.is<double>()) {
    return Truncate(in.value.number(), otherwise);
  }
  const std::string text = in.text();
  const std::string_view digits = Strip(text, "", true, true);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const char* const text_end = digits.data() + digits.size();
  if (error == std::errc() && end == text_end && !digits.empty()) return Value{number};
  double fraction = 0;
  const auto parsed = std::from_chars(digits.data(), text_end, fraction);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text_end && !digits.empty();
  return whole ? Truncate(fraction, otherwise) : otherwise;
}

absl::StatusOr<Value> AbsFilter(const Input& in) {
  if (in.value.is<double>()) return Value{std::abs(in.value.number())};
  if (!in.value.is_integer() || in.value.integer() == INT64_MIN) return Error("abs needs a number");
  return Value{std::abs(in.value.integer())};
}

absl::StatusOr<Value> IndentFilter(const Input& in) {
  const Value* width = in.arguments.Find(0, "width");
  const Value* first = in.arguments.Find(1, "first");
  const Value* blank = in.arguments.Find(2, "blank");
  const std::int64_t n = width != nullptr && width->is_integer() ? width->integer() : 4;
  if (n < 0 || n > 64) return Error("indent: the width is not in [0, 64]");
  const std::string indent(static_cast<std::size_t>(n), ' ');
  const std::string text = in.text();
  if (ReplacedSize(text, "\n", indent) > in.heap->left()) {
    return Error("the template makes too much text");
  }
  std::string out;
  for (const std::string_view line : Split(text, "\n", -1, false)) {
    const bool is_first = line.data() == text.data();
    if (!is_first) out += '\n';
    const bool wanted = is_first ? first != nullptr && IsTrue(*first)
                                 : !line.empty() || (blank != nullptr && IsTrue(*blank));
    if (wanted) out += indent;
    out += line;
  }
  return in.String(std::move(out));
}

// map(attribute='x'), or map('filter', arguments...)
absl::StatusOr<Value> MapFilter(const Input& in) {
  const Value* attribute = in.arguments.Find(SIZE_MAX, "attribute");
  const Value* name = in.arguments.Find(0, "");
  if (attribute == nullptr && (name == nullptr || !name->is_string() || !IsFilter(name->text()))) {
    return Error("map needs an attribute or a filter");
  }
  Arguments rest;
  if (name != nullptr) {
    rest.positional.assign(in.arguments.positional.begin() + 1, in.arguments.positional.end());
  }
  KEYHOLE_ASSIGN_OR_RETURN(List items, Items(in.value, in.heap));
  for (Value& item : items) {
    if (!in.heap->within_bound()) break;
    KEYHOLE_ASSIGN_OR_RETURN(item,
                             attribute != nullptr ? GetItem(item, *attribute, in.heap)
                                                  : ApplyFilter(name->text(), item, rest, in.heap));
  }
  return in.heap->NewList(std::move(items));
}

// selectattr('x'), selectattr('x', 'test', arguments...), select('test', ...) and their opposites.
absl::StatusOr<Value> Select(const Input& in, bool by_attribute, bool wanted) {
  const std::vector<Value>& given = in.arguments.positional;
  const std::size_t test_at = by_attribute ? 1 : 0;
  const bool has_test = given.size() > test_at;
  if (given.size() < test_at || (has_test && !given[test_at].is_string())) {
    return Error("select needs the name of a test");
  }
  if (has_test && !IsTest(given[test_at].text())) {
    return Error(fmt::format("test '{}' is not supported", given[test_at].text()));
  }
  Arguments rest;
  if (has_test) rest.positional.assign(given.begin() + test_at + 1, given.end());
  KEYHOLE_ASSIGN_OR_RETURN(const List items, Items(in.value, in.heap));
  List kept;
  for (const Value& item : items) {
    Value tested = item;
    if (by_attribute) {
      KEYHOLE_ASSIGN_OR_RETURN(tested, GetItem(item, given[0], in.heap));
    }
    bool passes = IsTrue(tested);
    if (has_test) {
      KEYHOLE_ASSIGN_OR_RETURN(passes, ApplyTest(given[test_at].text(), tested, rest));
    }
    if (passes == wanted) kept.push_back(item);
  }
  return in.heap->NewList(std::move(kept));
}

struct NamedFilter {
  std::string_view name;
  Filter apply;
};

constexpr NamedFilter kFilters[] = {
    {"trim", TrimFilter},
    {"length", LengthFilter},
    {"count", LengthFilter},
    {"default", DefaultFilter},
    {"d", DefaultFilter},
    {"tojson", ToJsonFilter},
    {"join", JoinFilter},
    {"first", FirstFilter},
    {"last", LastFilter},
    {"list", ListFilter},
    {"reverse", ReverseFilter},
    {"items", ItemsFilter},
    {"replace", ReplaceFilter},
    {"int", IntFilter},
    {"abs", AbsFilter},
    {"indent", IndentFilter},
    {"map", MapFilter},
    {"upper",
     [](const Input& in) -> absl::StatusOr<Value> { return in.String(ToUpper(in.text())); }},
    {"lower",
     [](const Input& in) -> absl::StatusOr<Value> { return in.String(ToLower(in.text())); }},
    {"title",
     [](const Input& in) -> absl::StatusOr<Value> { return in.String(ToTitle(in.text())); }},
    {"capitalize",
     [](const Input& in) -> absl::StatusOr<Value> { return in.String(Capitalize(in.text())); }},
    {"string", [](const Input& in) -> absl::StatusOr<Value> { return in.String(in.text()); }},
    {"safe", [](const Input& in) -> absl::StatusOr<Value> { return in.value; }},
    {"selectattr", [](const Input& in) { return Select(in, true, true); }},
    {"rejectattr", [](const Input& in) { return Select(in, true, false); }},
    {"select", [](const Input& in) { return Select(in, false, true); }},
    {"reject", [](const Input& in) { return Select(in, false, false); }},
};

struct NamedTest {
  std::string_view name;
  Test passes;
};

bool IsIterable(const Value& v) {
  return v.is_string() || v.is_list() || v.is_dict() || v.is<Undefined>();
}

constexpr NamedTest kTests[] = {
    {"defined", [](const Value& v) { return !v.is<Undefined>(); }},
    {"undefined", [](const Value& v) { return v.is<Undefined>(); }},
    {"none", [](const Value& v) { return v.is<None>(); }},
    {"string", [](const Value& v) { return v.is_string(); }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"integer", [](const Value& v) { return v.is<std::int64_t>(); }},
    {"float", [](const Value& v) { return v.is<double>(); }},
    {"boolean", [](const Value& v) { return v.is<bool>(); }},
    {"true", [](const Value& v) { return v.is<bool>() && v.get<bool>(); }},
    {"false", [](const Value& v) { return v.is<bool>() && !v.get<bool>(); }},
    {"mapping", [](const Value& v) { return v.is_dict(); }},
    {"sequence", [](const Value& v) { return IsIterable(v); }},
    {"iterable", IsIterable},
    {"callable", [](const Value& v) { return v.is<Macro>(); }},
    {"odd", [](const Value& v) { return v.is_integer() && v.integer() % 2 != 0; }},
    {"even", [](const Value& v) { return v.is_integer() && v.integer() % 2 == 0; }},
};

// Tests with an argument.
constexpr std::string_view kEqualTests[] = {"equalto", "eq", "==", "sameas", "ne", "in"};

}  // namespace

const Value* Arguments::Find(std::size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

bool IsFilter(std::string_view name) {
  return std::any_of(std::begin(kFilters), std::end(kFilters), [&](const NamedFilter& filter) {
    return filter.name == name;
  });
}

bool IsTest(std::string_view name) {
  return std::any_of(std::begin(kTests),
                     std::end(kTests),
                     [&](const NamedTest& test) { return test.name == name; }) ||
         std::find(std::begin(kEqualTests), std::end(kEqualTests), name) != std::end(kEqualTests);
}

absl::StatusOr<Value> ApplyFilter(std::string_view name,
                                  const Value& input,
                                  const Arguments& arguments,
                                  Heap* heap) {
  if (input.is_string()) heap->Charge(input.text().size() / 16);
  for (const NamedFilter& filter : kFilters) {
    if (filter.name == name) return filter.apply({input, arguments, heap});
  }
  return Error(fmt::format("filter '{}' is not supported", name));
}

absl::StatusOr<bool> ApplyTest(std::string_view name,
                               const Value& input,
                               const Arguments& arguments) {
  for (const NamedTest& test : kTests) {
    if (test.name == name) return test.passes(input);
  }
  const Value* other = arguments.Find(0, "other");
  if (other == nullptr) return Error(fmt::format("test '{}' needs an argument", name));
  if (name == "in") return Contains(*other, input);
  return AreEqual(input, *other) == (name != "ne");
}

}  // namespace keyhole::jinja
