// Calls of libraries that may never return.
#pragma once

#include <functional>

#include "absl/time/time.h"

namespace keyhole {

// Runs `work` on a thread of its own and waits for it. False: it has not returned within `limit`;
// its thread goes on, so that `work` owns what it refers to. Thread: any.
bool ReturnsWithin(absl::Duration limit, std::function<void()> work);

}  // namespace keyhole
