// Memory for what is written once and read by every step.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/device/aligned_buffer.h"

namespace keyhole {

// Pieces lie side by side in large blocks, so that small matrices have large pages too: a step then
// looks up a few dozen addresses instead of tens of thousands. A block lives as long as one of its
// pieces. Thread: one at a time.
class WeightMemory {
 public:
  // Aligned to a cache line. Null if memory is short.
  std::shared_ptr<std::byte> Take(std::size_t bytes);

 private:
  std::shared_ptr<AlignedBuffer> block_;
  std::size_t used_ = 0;   // of the block
  std::size_t taken_ = 0;  // of all; blocks grow with it
};

}  // namespace keyhole
