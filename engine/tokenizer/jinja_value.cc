#include "engine/tokenizer/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/tokenizer/utf8.h"

namespace keyhole::jinja {
namespace {

constexpr std::size_t kObjectBytes = 64;  // what a small object costs beside its content

constexpr int kMaxValueDepth = 100;

// `outer` also holds something of the extent `inner`.
void Contain(const Extent& inner, Extent* outer) {
  outer->depth = std::max(outer->depth, inner.depth + 1);
  outer->weight += inner.weight + 1;
}

std::string FloatText(double number) {
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  if (std::isnan(number)) return "nan";
  std::string text = fmt::format("{}", number);
  if (text.find_first_of(".e") == text.npos) text += ".0";
  return text;
}

std::string QuotePython(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out + quote;
}

std::string QuoteJson(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<int>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

// Writes nested values; `depth_` is the current indentation level.
class JsonWriter {
 public:
  explicit JsonWriter(int indent) : indent_(indent) {}

  absl::Status Write(const Value& value) {
    if (value.is_list()) return WriteList(value.list());
    if (value.is_dict()) return WriteDict(value.dict());
    if (value.is_string()) {
      out_ += QuoteJson(value.text());
    } else if (value.is<None>()) {
      out_ += "null";
    } else if (value.is<bool>()) {
      out_ += value.get<bool>() ? "true" : "false";
    } else if (value.is_number()) {
      out_ += ToString(value);
    } else {
      return absl::InvalidArgumentError(fmt::format("{} has no JSON form", TypeName(value)));
    }
    return absl::OkStatus();
  }

  std::string Take() { return std::move(out_); }

 private:
  absl::Status WriteList(const List& list) {
    Open('[');
    for (std::size_t i = 0; i < list.size(); ++i) {
      Separate(i == 0);
      absl::Status status = Write(list[i]);
      if (!status.ok()) return status;
    }
    Close(']', list.empty());
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict) {
    Open('{');
    for (std::size_t i = 0; i < dict.size(); ++i) {
      Separate(i == 0);
      out_ += QuoteJson(dict[i].first) + ": ";
      absl::Status status = Write(dict[i].second);
      if (!status.ok()) return status;
    }
    Close('}', dict.empty());
    return absl::OkStatus();
  }

  void Open(char bracket) {
    out_ += bracket;
    ++depth_;
  }

  void Separate(bool first) {
    if (!first) out_ += indent_ < 0 ? ", " : ",";
    NewLine();
  }

  void Close(char bracket, bool empty) {
    --depth_;
    if (!empty) NewLine();
    out_ += bracket;
  }

  void NewLine() {
    if (indent_ >= 0) out_.append(1, '\n').append(static_cast<std::size_t>(indent_) * depth_, ' ');
  }

  int indent_;
  int depth_ = 0;
  std::string out_;
};

}  // namespace

Value Heap::String(std::string text) {
  Charge(kObjectBytes + text.size());
  return {&strings_.emplace_back(std::move(text))};
}

Value Heap::NewList(List list, bool is_tuple) {
  Charge(kObjectBytes + list.size() * sizeof(Value));
  Extent extent;
  for (const Value& item : list) Contain(ExtentOf(item), &extent);
  Check(extent);
  const ListObject* object = &lists_.emplace_back(ListObject{std::move(list), is_tuple, extent});
  return {object};
}

Value Heap::NewDict(Dict dict) {
  Charge(kObjectBytes + dict.size() * sizeof(Dict::value_type));
  Extent extent;
  for (const auto& [key, value] : dict) {
    Contain(ExtentOf(value), &extent);
    extent.weight += key.size();
  }
  Check(extent);
  const DictObject* object = &dicts_.emplace_back(DictObject{std::move(dict), extent});
  return {object};
}

Value Heap::NewNamespace(Dict members) {
  Charge(kObjectBytes + members.size() * sizeof(Dict::value_type));
  return {Namespace{&namespaces_.emplace_back(std::move(members))}};
}

void Heap::Check(const Extent& extent) {
  if (extent.depth > kMaxValueDepth || extent.weight > left_) left_ = 0;
}

Extent ExtentOf(const Value& value) {
  if (value.is_list()) return value.get<const ListObject*>()->extent;
  if (value.is_dict()) return value.get<const DictObject*>()->extent;
  return {1, value.is_string() ? value.text().size() : 1};
}

const Value* FindMember(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

bool IsTrue(const Value& value) {
  if (value.is<Undefined>() || value.is<None>()) return false;
  if (value.is_number()) return value.number() != 0;
  if (value.is_string()) return !value.text().empty();
  if (value.is_list()) return !value.list().empty();
  if (value.is_dict()) return !value.dict().empty();
  return true;
}

bool AreEqual(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.data.index() != b.data.index()) return false;
  if (a.is_string()) return a.text() == b.text();
  if (a.is_list()) {
    const List& left = a.list();
    const List& right = b.list();
    const bool same_kind =
        a.get<const ListObject*>()->is_tuple == b.get<const ListObject*>()->is_tuple;
    if (!same_kind || left.size() != right.size()) return false;
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (!AreEqual(left[i], right[i])) return false;
    }
    return true;
  }
  if (a.is_dict()) {
    if (a.dict().size() != b.dict().size()) return false;
    for (const auto& [key, value] : a.dict()) {
      const Value* other = FindMember(b.dict(), key);
      if (other == nullptr || !AreEqual(value, *other)) return false;
    }
    return true;
  }
  if (a.is<Namespace>()) return a.get<Namespace>().members == b.get<Namespace>().members;
  if (a.is<Macro>()) return a.get<Macro>().definition == b.get<Macro>().definition;
  return true;
}

std::string_view TypeName(const Value& value) {
  static constexpr std::string_view kNames[] = {"undefined",
                                                "none",
                                                "boolean",
                                                "integer",
                                                "float",
                                                "string",
                                                "list",
                                                "mapping",
                                                "namespace",
                                                "macro"};
  return kNames[value.data.index()];
}

std::string ToString(const Value& value) { return value.is_string() ? value.text() : Repr(value); }

std::string Repr(const Value& value) {
  if (value.is<Undefined>()) return "";
  if (value.is<None>()) return "None";
  if (value.is<bool>()) return value.get<bool>() ? "True" : "False";
  if (value.is_integer()) return std::to_string(value.integer());
  if (value.is<double>()) return FloatText(value.number());
  if (value.is_string()) return QuotePython(value.text());
  std::string out;
  if (value.is_list()) {
    for (const Value& item : value.list()) out += (out.empty() ? "" : ", ") + Repr(item);
    if (!value.get<const ListObject*>()->is_tuple) return "[" + out + "]";
    return "(" + out + (value.list().size() == 1 ? ",)" : ")");
  }
  if (value.is_dict()) {
    for (const auto& [key, item] : value.dict()) {
      out += (out.empty() ? "" : ", ") + QuotePython(key) + ": " + Repr(item);
    }
    return "{" + out + "}";
  }
  return fmt::format("<{}>", TypeName(value));
}

absl::StatusOr<std::string> ToJson(const Value& value, int indent) {
  JsonWriter writer(indent);
  absl::Status status = writer.Write(value);
  if (!status.ok()) return status;
  return writer.Take();
}

bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

std::string_view Strip(std::string_view text, std::string_view characters, bool left, bool right) {
  const auto goes = [&](std::string_view unit) {
    return characters.empty() ? IsPythonSpace(ReadUtf8(unit, 0).code_point)
                              : characters.find(unit) != characters.npos;
  };
  while (left && !text.empty()) {
    const std::size_t length = ReadUtf8(text, 0).length;
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    if (!goes(text.substr(at))) break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

}  // namespace keyhole::jinja
