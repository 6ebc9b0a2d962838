#include <cmath>
#include <random>

#include "engine/ops/cuda/rotate_keys.h"
#include "engine/ops/rotate_keys.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

constexpr std::int32_t kRows = 150;
constexpr std::int32_t kCapacity = 64;

class RotateGpuTest : public GpuTest {
 protected:
  // Cosines and sines of every row, on the device.
  RopeRows Table(std::int32_t half) {
    cos_.resize(std::size_t{kRows} * half);
    sin_.resize(cos_.size());
    for (std::size_t i = 0; i < cos_.size(); ++i) {
      cos_[i] = static_cast<float>(std::cos(0.37 * static_cast<double>(i)));
      sin_[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
    }
    return {ToDevice(cos_), ToDevice(sin_)};
  }

  std::vector<float> cos_;
  std::vector<float> sin_;
};

TEST_F(RotateGpuTest, WindowsHaveTheBitsOfTheCpu) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const auto& [heads, dim] : {std::pair{1, 64}, {3, 64}, {8, 128}, {2, 6}}) {
      if (type == KvType::kInt8 && dim % 4 != 0) continue;  // scales lie at whole words
      const KvLayout layout = {
          .n_layers = 1, .n_kv_heads = heads, .head_dim = dim, .page_size = 16, .type = type};
      const KvSequence kv(layout, kRows, 3);
      const std::size_t bytes = layout.page_bytes() * kv.store->n_pages();
      const cuda::KvPages pages = {ToDevice(kv.store->LayerRows(0, 0), bytes), layout};
      const RopeRows table = Table(dim / 2);
      const std::size_t row_bytes = layout.key_bytes();
      std::vector<std::byte> ring(kCapacity * row_bytes, std::byte{7});
      std::byte* on_device = ToDevice(ring);
      for (const RowRange rows : {RowRange{0, 0}, {13, 14}, {20, 84}, {100, 150}}) {
        Device device(1);
        RotateKeys(device,
                   {.store = kv.store.get(),
                    .pages = kv.pages,
                    .rows = rows,
                    .table = {cos_.data(), sin_.data()},
                    .ring = {ring.data(), kCapacity, row_bytes}});
        const cuda::RotateKeysParams params = {.store = pages,
                                               .pages = Pages(kv.pages),
                                               .rows = rows,
                                               .ring = {on_device, kCapacity, row_bytes}};
        cuda::RotateKeys({.table = table}, {&params, 1}, workspace());
        ASSERT_TRUE(FromDevice(on_device, ring.size()) == ring)
            << heads << " heads, rows from " << rows.begin;
      }
    }
  }
}

TEST_F(RotateGpuTest, SequencesFillTheirOwnWindows) {
  const KvLayout layout = {
      .n_layers = 1, .n_kv_heads = 2, .head_dim = 16, .page_size = 16, .type = KvType::kF32};
  const KvSequence kv(layout, kRows, 4);
  const std::size_t bytes = layout.page_bytes() * kv.store->n_pages();
  const cuda::KvPages pages = {ToDevice(kv.store->LayerRows(0, 0), bytes), layout};
  const RopeRows table = Table(8);
  const std::size_t row_bytes = layout.kv_size() * 4;
  std::vector<cuda::RotateKeysParams> sequences;
  for (const RowRange rows : {RowRange{3, 5}, {9, 9}, {70, 120}}) {
    std::byte* ring = ToDevice(std::vector<std::byte>(kCapacity * row_bytes));
    sequences.push_back({pages, Pages(kv.pages), rows, {ring, kCapacity, row_bytes}});
  }
  cuda::RotateKeys({.table = table}, sequences, workspace());
  for (const cuda::RotateKeysParams& together : sequences) {
    cuda::RotateKeysParams alone = together;
    alone.ring.base = ToDevice(std::vector<std::byte>(kCapacity * row_bytes));
    cuda::RotateKeys({.table = table}, {&alone, 1}, workspace());
    EXPECT_TRUE(FromDevice(alone.ring.base, kCapacity * row_bytes) ==
                FromDevice(together.ring.base, kCapacity * row_bytes));
  }
}

TEST_F(RotateGpuTest, RowsThatDoNotFitAreRefused) {
  const KvLayout layout = {.n_layers = 1, .n_kv_heads = 1, .head_dim = 8, .page_size = 16};
  const cuda::KvPages pages = {TakeBytes(layout.page_bytes()), layout};
  const RopeRows table = Table(4);
  for (const RowRange rows : {RowRange{0, 5}, {14, 17}, {-1, 2}}) {
    const cuda::RotateKeysParams params = {pages, Pages({0}), rows, {TakeBytes(64), 4, 16}};
    EXPECT_THROW(cuda::RotateKeys({.table = table}, {&params, 1}, workspace()), std::logic_error);
  }
}

}  // namespace
}  // namespace keyhole
