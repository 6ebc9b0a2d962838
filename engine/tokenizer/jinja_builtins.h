// The filters, tests and methods that chat templates can use.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja_value.h"

namespace keyhole::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  // The argument at `place` or called `name`; null when it was not given.
  const Value* Find(std::size_t place, std::string_view name) const;
};

bool IsFilter(std::string_view name);
bool IsTest(std::string_view name);

// Results are new objects of `heap`, or `input` itself.
// Errors: INVALID_ARGUMENT for arguments that do not fit, of all.
// REQUIRES: IsFilter(name).
absl::StatusOr<Value> ApplyFilter(std::string_view name,
                                  const Value& input,
                                  const Arguments& arguments,
                                  Heap* heap);
// REQUIRES: IsTest(name).
absl::StatusOr<bool> ApplyTest(std::string_view name,
                               const Value& input,
                               const Arguments& arguments);

// object.name(arguments)
absl::StatusOr<Value> CallMethod(std::string_view name,
                                 const Value& object,
                                 const Arguments& arguments,
                                 Heap* heap);

// The items that a loop over `value` sees: of a list, the keys of a mapping, the characters of a
// string; none of what is undefined.
absl::StatusOr<List> Items(const Value& value, Heap* heap);

// object[index] and object.index; undefined when there is none.
absl::StatusOr<Value> GetItem(const Value& object, const Value& index, Heap* heap);

// object[from:to:step], each bound none or an integer.
absl::StatusOr<Value> GetSlice(const Value& object, const Value (&bounds)[3], Heap* heap);

// `container` has `item`: Python's "in".
absl::StatusOr<bool> Contains(const Value& container, const Value& item);

}  // namespace keyhole::jinja
