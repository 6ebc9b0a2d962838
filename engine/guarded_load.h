// Loading a model without exceptions.
#pragma once

#include <exception>
#include <new>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace keyhole {

// `load`() -> a status or a StatusOr. Adds to its errors RESOURCE_EXHAUSTED where memory is short
// and INTERNAL for any other exception.
template <typename Load>
auto GuardedLoad(Load load) -> decltype(load()) {
  try {
    return load();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("there is not enough memory for the model");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("loading the model failed: ", error.what()));
  }
}

}  // namespace keyhole
