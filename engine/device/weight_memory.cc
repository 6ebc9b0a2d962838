#include "engine/device/weight_memory.h"

#include <algorithm>
#include <utility>

namespace keyhole {
namespace {

constexpr std::size_t kLeastBlock = std::size_t{2} << 20;
constexpr std::size_t kMostBlock = std::size_t{64} << 20;
constexpr std::size_t kLine = 64;

}  // namespace

std::shared_ptr<std::byte> WeightMemory::Take(std::size_t bytes) {
  const std::size_t size = (bytes + kLine - 1) / kLine * kLine;
  if (block_ == nullptr || block_->size() - used_ < size) {
    const std::size_t block_size = std::clamp(taken_, kLeastBlock, kMostBlock);
    AlignedBuffer block = AlignedBuffer::Allocate(std::max(size, block_size));
    if (block.data() == nullptr) return nullptr;
    block_ = std::make_shared<AlignedBuffer>(std::move(block));
    used_ = 0;
  }
  std::byte* at = block_->data() + used_;
  used_ += size;
  taken_ += size;
  return {block_, at};
}

}  // namespace keyhole
