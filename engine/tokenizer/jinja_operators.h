// Arithmetic and comparison of template values, as Python does them.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja_value.h"

namespace keyhole::jinja {

// `op`: + - * / // % ~
// Errors: INVALID_ARGUMENT for types that do not fit, division by zero, overflow of 64 bits, or too
// much text.
absl::StatusOr<Value> Compute(std::string_view op,
                              const Value& left,
                              const Value& right,
                              Heap* heap);

// `op`: == != < <= > >= in, not in
absl::StatusOr<bool> Compare(std::string_view op, const Value& left, const Value& right);

}  // namespace keyhole::jinja
