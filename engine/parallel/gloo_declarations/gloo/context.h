// Part of what LibTorch's header of ProcessGroupGloo names of Gloo, whose own headers its wheel
// lacks: incomplete or bare types that only LibTorch's library ever makes, calls or destroys.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
