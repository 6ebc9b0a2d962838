// Ends the process on a broken invariant. Never for anything that a request can cause.
#pragma once

#include <cstdio>
#include <cstdlib>

// `message` is a literal: what was expected.
#define KEYHOLE_CHECK(condition, message)                                                 \
  do {                                                                                    \
    if (!(condition)) [[unlikely]] {                                                      \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, message); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
