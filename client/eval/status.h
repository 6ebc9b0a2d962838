// Early return of errors.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// KEYHOLE_EVAL_RETURN(Check(x)): the error, if it is one.
#define KEYHOLE_EVAL_RETURN(expression)                                     \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define KEYHOLE_EVAL_CONCAT_INNER(a, b) a##b
#define KEYHOLE_EVAL_CONCAT(a, b) KEYHOLE_EVAL_CONCAT_INNER(a, b)

// KEYHOLE_EVAL_ASSIGN(TokenIds ids, pieces->Text(piece));
#define KEYHOLE_EVAL_ASSIGN(left, expression) \
  KEYHOLE_EVAL_ASSIGN_TO(KEYHOLE_EVAL_CONCAT(status_or_, __LINE__), left, expression)
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses
#define KEYHOLE_EVAL_ASSIGN_TO(name, left, expression) \
  auto name = (expression);                            \
  if (!name.ok()) return name.status();                \
  left = *std::move(name)
// NOLINTEND(bugprone-macro-parentheses)
