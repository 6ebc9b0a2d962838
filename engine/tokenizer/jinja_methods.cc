// Methods of strings and mappings.
#include <fmt/format.h>

#include <optional>
#include <string>

#include "engine/tokenizer/jinja_builtins.h"
#include "engine/tokenizer/jinja_text.h"

namespace keyhole::jinja {
namespace {

absl::Status Error(const std::string& message) { return absl::InvalidArgumentError(message); }

// One call of a string's method.
class StringMethod {
 public:
  StringMethod(const std::string& text, const Arguments& arguments, Heap* heap)
      : text_(text), arguments_(arguments), heap_(*heap) {}

  absl::StatusOr<Value> Call(std::string_view name) {
    heap_.Charge(text_.size() / 16);
    if (name == "strip") return StripSides(true, true);
    if (name == "lstrip") return StripSides(true, false);
    if (name == "rstrip") return StripSides(false, true);
    if (name == "split") return SplitText(false);
    if (name == "rsplit") return SplitText(true);
    if (name == "splitlines") return Strings(SplitLines(text_));
    if (name == "startswith") return Affix(true);
    if (name == "endswith") return Affix(false);
    if (name == "replace") return ReplaceAll();
    if (name == "upper") return heap_.String(ToUpper(text_));
    if (name == "lower") return heap_.String(ToLower(text_));
    if (name == "title") return heap_.String(ToTitle(text_));
    if (name == "capitalize") return heap_.String(Capitalize(text_));
    if (name == "join") return Join();
    if (name == "find" || name == "count") return Search(name == "find");
    if (name == "isdigit") {
      return Value{!text_.empty() && text_.find_first_not_of("0123456789") == text_.npos};
    }
    return Error(fmt::format("a string's method '{}' is not supported", name));
  }

 private:
  // A string argument; `fallback` when absent or none; nothing when it is of another type.
  std::optional<std::string_view> StringAt(std::size_t place,
                                           std::string_view name,
                                           std::string_view fallback) const {
    const Value* value = arguments_.Find(place, name);
    if (value == nullptr || value->is<None>()) return fallback;
    if (!value->is_string()) return std::nullopt;
    return value->text();
  }

  std::int64_t CountAt(std::size_t place, std::string_view name) const {
    const Value* value = arguments_.Find(place, name);
    return value != nullptr && value->is_integer() ? value->integer() : -1;
  }

  absl::StatusOr<Value> StripSides(bool left, bool right) {
    const std::optional<std::string_view> characters = StringAt(0, "chars", "");
    if (!characters) return Error("strip needs a string");
    return heap_.String(std::string(Strip(text_, *characters, left, right)));
  }

  Value Strings(const std::vector<std::string_view>& parts) {
    List list;
    for (const std::string_view part : parts) {
      if (!heap_.within_bound()) break;
      list.push_back(heap_.String(std::string(part)));
    }
    return heap_.NewList(std::move(list));
  }

  absl::StatusOr<Value> SplitText(bool from_right) {
    const std::optional<std::string_view> separator = StringAt(0, "sep", "");
    const Value* given = arguments_.Find(0, "sep");
    const bool at_spaces = given == nullptr || given->is<None>();
    if (!separator || (!at_spaces && separator->empty())) {
      return Error("split needs a separator that is not empty");
    }
    const std::int64_t max = CountAt(1, "maxsplit");
    if (at_spaces && from_right && max >= 0) return Error("rsplit needs a separator");
    return Strings(Split(text_, at_spaces ? std::nullopt : separator, max, from_right));
  }

  absl::StatusOr<Value> Affix(bool at_start) const {
    const Value* wanted = arguments_.Find(0, "prefix");
    const auto fits = [&](const Value& affix) {
      return affix.is_string() &&
             (at_start ? text_.starts_with(affix.text()) : text_.ends_with(affix.text()));
    };
    if (wanted != nullptr && wanted->is_string()) return Value{fits(*wanted)};
    if (wanted == nullptr || !wanted->is_list())
      return Error("startswith and endswith need a string");
    for (const Value& affix : wanted->list()) {
      if (fits(affix)) return Value{true};
    }
    return Value{false};
  }

  absl::StatusOr<Value> ReplaceAll() {
    const Value* from = arguments_.Find(0, "old");
    const Value* to = arguments_.Find(1, "new");
    if (from == nullptr || to == nullptr || !from->is_string() || !to->is_string()) {
      return Error("replace needs two strings");
    }
    if (ReplacedSize(text_, from->text(), to->text()) > heap_.left()) {
      return Error("the template makes too much text");
    }
    return heap_.String(Replace(text_, from->text(), to->text(), CountAt(2, "count")));
  }

  absl::StatusOr<Value> Join() {
    if (arguments_.positional.size() != 1) return Error("join needs one list");
    Arguments separator;
    separator.positional.push_back(Value{&text_});
    return ApplyFilter("join", arguments_.positional[0], separator, &heap_);
  }

  absl::StatusOr<Value> Search(bool first_place) {
    const std::optional<std::string_view> wanted = StringAt(0, "sub", "");
    if (!wanted || wanted->empty()) return Error("find and count need a string");
    if (!first_place) {
      const auto parts = Split(text_, wanted, -1, false);
      return Value{static_cast<std::int64_t>(parts.size()) - 1};
    }
    const std::size_t at = text_.find(*wanted);
    if (at == text_.npos) return Value{std::int64_t{-1}};
    return Value{CountCharacters(std::string_view(text_).substr(0, at))};
  }

  const std::string& text_;
  const Arguments& arguments_;
  Heap& heap_;
};

absl::StatusOr<Value> CallDictMethod(std::string_view name,
                                     const Dict& dict,
                                     const Arguments& arguments,
                                     Heap* heap) {
  if (name == "get") {
    const Value* key = arguments.Find(0, "key");
    if (key == nullptr || !key->is_string()) return Error("get needs a key");
    const Value* found = FindMember(dict, key->text());
    const Value* fallback = arguments.Find(1, "default");
    return found != nullptr ? *found : fallback != nullptr ? *fallback : Value{None{}};
  }
  List list;
  for (const auto& [key, value] : dict) {
    if (name == "items") {
      list.push_back(heap->NewList({heap->String(key), value}, /*is_tuple=*/true));
    } else if (name == "keys") {
      list.push_back(heap->String(key));
    } else if (name == "values") {
      list.push_back(value);
    } else {
      return Error(fmt::format("a mapping's method '{}' is not supported", name));
    }
  }
  return heap->NewList(std::move(list));
}

}  // namespace

absl::StatusOr<Value> CallMethod(std::string_view name,
                                 const Value& object,
                                 const Arguments& arguments,
                                 Heap* heap) {
  if (object.is_string()) return StringMethod(object.text(), arguments, heap).Call(name);
  if (object.is_dict()) return CallDictMethod(name, object.dict(), arguments, heap);
  return Error(fmt::format("{} has no method '{}'", TypeName(object), name));
}

}  // namespace keyhole::jinja
