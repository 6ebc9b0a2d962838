// The check at the door of an operator that takes plain memory.
#pragma once

#include <string_view>

namespace keyhole {

// REQUIRES: `condition`. A violation is a defect of the caller: throws
// std::logic_error("what: problem"), which the model executor catches. No LibTorch.
void CheckOp(bool condition, std::string_view what, std::string_view problem);

}  // namespace keyhole
