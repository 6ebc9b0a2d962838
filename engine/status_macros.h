// Early return of an absl::Status, so that a chain of checks reads as its successful path.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define KEYHOLE_CONCAT_INNER(a, b) a##b
#define KEYHOLE_CONCAT(a, b) KEYHOLE_CONCAT_INNER(a, b)

// Returns from the enclosing function if `expression`, an absl::Status, is not OK.
#define KEYHOLE_RETURN_IF_ERROR(expression)                                   \
  do {                                                                        \
    if (absl::Status status_to_return = (expression); !status_to_return.ok()) \
      return status_to_return;                                                \
  } while (false)

// Assigns the value of `expression`, an absl::StatusOr, to `target` (a declaration or an lvalue),
// or returns its status.
#define KEYHOLE_ASSIGN_OR_RETURN(target, expression) \
  KEYHOLE_ASSIGN_OR_RETURN_INNER(KEYHOLE_CONCAT(status_or_, __LINE__), target, expression)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses
#define KEYHOLE_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                      \
  if (!result.ok()) return std::move(result).status();             \
  target = *std::move(result)
// NOLINTEND(bugprone-macro-parentheses)
