#include "engine/ops/op_check.h"

#include <stdexcept>
#include <string>

namespace keyhole {

void CheckOp(bool condition, std::string_view what, std::string_view problem) {
  if (condition) return;
  throw std::logic_error(std::string(what) + ": " + std::string(problem));
}

}  // namespace keyhole
