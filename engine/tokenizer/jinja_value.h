// Values of the chat template language, and the memory they live in during one rendering.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole::jinja {

struct Node;
struct Value;

using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion

// How much a value prints, with all that is in it.
struct Extent {
  int depth = 0;           // of values in one another
  std::size_t weight = 0;  // about its length in bytes
};
struct ListObject;
struct DictObject;

// Result of looking up what is not there; prints as nothing, but has no members.
struct Undefined {
  const std::string* name = nullptr;  // what was looked up
};
struct None {};
struct Namespace {
  Dict* members = nullptr;  // the only thing a template can change
};
struct Macro {
  const Node* definition = nullptr;  // null: a function of the host
};

// Small, copied freely; what it points to belongs to a Heap or to the parsed template.
struct Value {
  std::variant<Undefined,
               None,
               bool,
               std::int64_t,
               double,
               const std::string*,
               const ListObject*,
               const DictObject*,
               Namespace,
               Macro>
      data;

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(data);
  }
  // REQUIRES: is<T>().
  template <typename T>
  const T& get() const {
    return *std::get_if<T>(&data);
  }

  bool is_string() const { return is<const std::string*>(); }
  bool is_list() const { return is<const ListObject*>(); }
  bool is_dict() const { return is<const DictObject*>(); }
  bool is_integer() const { return is<std::int64_t>() || is<bool>(); }
  bool is_number() const { return is_integer() || is<double>(); }

  const std::string& text() const { return *get<const std::string*>(); }
  const List& list() const;
  const Dict& dict() const;
  std::int64_t integer() const { return is<bool>() ? get<bool>() : get<std::int64_t>(); }
  double number() const { return is<double>() ? get<double>() : static_cast<double>(integer()); }
};

struct ListObject {
  List items;
  bool is_tuple = false;  // prints in parentheses
  Extent extent;
};
struct DictObject {
  Dict members;
  Extent extent;
};

inline const List& Value::list() const { return get<const ListObject*>()->items; }
inline const Dict& Value::dict() const { return get<const DictObject*>()->members; }

// Owns all that one rendering makes, and bounds it: the bytes together, and how deep and large one
// value gets. Thread: one owner.
class Heap {
 public:
  explicit Heap(std::size_t max_bytes) : left_(max_bytes) {}

  Value String(std::string text);
  Value NewList(List list, bool is_tuple = false);
  Value NewDict(Dict dict);
  Value NewNamespace(Dict members);

  // Counts work or memory that is not an object of its own.
  void Charge(std::size_t bytes) { left_ = bytes < left_ ? left_ - bytes : 0; }
  // False once the bound was passed; what was made stays valid.
  bool within_bound() const { return left_ > 0; }
  std::size_t left() const { return left_; }

 private:
  void Check(const Extent& extent);

  std::size_t left_;
  std::deque<std::string> strings_;
  std::deque<ListObject> lists_;
  std::deque<DictObject> dicts_;
  std::deque<Dict> namespaces_;
};

const Value* FindMember(const Dict& dict, std::string_view key);  // null: none

Extent ExtentOf(const Value& value);
bool IsTrue(const Value& value);
bool AreEqual(const Value& a, const Value& b);
std::string_view TypeName(const Value& value);

// As Python's str() and repr() print it.
std::string ToString(const Value& value);
std::string Repr(const Value& value);

// As Python's json.dumps(value, ensure_ascii=False, indent=indent); `indent` < 0: on one line.
// Errors: INVALID_ARGUMENT for what JSON has no form for.
absl::StatusOr<std::string> ToJson(const Value& value, int indent);

// White space of Python's str.strip().
bool IsPythonSpace(char32_t code_point);
std::string_view Strip(std::string_view text, std::string_view characters, bool left, bool right);

}  // namespace keyhole::jinja
