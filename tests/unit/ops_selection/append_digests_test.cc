#include "engine/ops/append_digests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "tests/unit/ops_selection/digest_fixture.h"

namespace keyhole {
namespace {

struct Shape {
  std::int32_t n_groups;
  std::int32_t rank;
  std::int32_t in_dim;
};

class AppendDigestsTest : public testing::TestWithParam<CpuLevel> {
 protected:
  static constexpr std::int32_t kSlots = 2;

  struct Input {
    std::vector<float> keys;
    std::vector<float> map;
  };
  static Input MakeInput(const Shape& shape, std::int32_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> key(0, 1);
    std::normal_distribution<float> map(0, 50 / std::sqrt(static_cast<float>(shape.in_dim)));
    Input input = {std::vector<float>(static_cast<std::size_t>(n) * shape.n_groups * shape.in_dim),
                   std::vector<float>(shape.n_groups * shape.rank * shape.in_dim)};
    for (float& x : input.keys) x = key(random);
    for (float& x : input.map) x = map(random);
    return input;
  }
  static DigestLayout LayoutOf(const Shape& shape) {
    return {.n_slots = kSlots, .n_groups = shape.n_groups, .rank = shape.rank, .page_size = 32};
  }
  static std::size_t SlotSpan(const DigestStore& store) {
    return store.layout().page_bytes() * store.n_pages();
  }
  static AppendDigestsParams Params(DigestStore& store,
                                    const std::vector<PageId>& pages,
                                    const Shape& shape,
                                    const Input& input) {
    return {
        .store = &store,
        .slot = 1,
        .pages = pages,
        .first = 0,
        .n_tokens = static_cast<std::int32_t>(input.keys.size()) / (shape.n_groups * shape.in_dim),
        .keys = input.keys.data(),
        .map = input.map.data(),
        .in_dim = shape.in_dim};
  }
};

constexpr Shape kShapes[] = {{3, 32, 64}, {1, 64, 192}, {4, 20, 12}, {8, 4, 7}, {1, 36, 33}};

TEST_P(AppendDigestsTest, RoundsTheProductToNearest) {
  Device device(2, GetParam());
  for (const Shape& shape : kShapes) {
    std::mt19937 random(7);
    const std::vector<PageId> pages = ShuffledPages(5, random);
    const auto store = DigestStore::Create(LayoutOf(shape), 5).value();
    const Input input = MakeInput(shape, 100, 1);
    AppendDigestsParams params = Params(*store, pages, shape, input);
    params.first = 13;
    AppendDigests(device, {&params, 1});
    int clamped = 0;
    for (std::int32_t i = 0; i < 100 * shape.n_groups * shape.rank; ++i) {
      const std::int32_t dim = i % shape.rank;
      const std::int32_t group = i / shape.rank % shape.n_groups;
      const std::int32_t token = i / shape.rank / shape.n_groups;
      const float* key = input.keys.data() + (token * shape.n_groups + group) * shape.in_dim;
      const float* map = input.map.data() + (group * shape.rank + dim) * shape.in_dim;
      double sum = 0;
      for (std::int32_t c = 0; c < shape.in_dim; ++c) sum += static_cast<double>(key[c]) * map[c];
      const double expected = std::clamp(sum, -127.0, 127.0);
      clamped += expected != sum;
      ASSERT_NEAR(CodeAt(*store, 1, pages, 13 + token, group, dim), expected, 0.5 + 1e-3)
          << shape.rank << " " << token << " " << group << " " << dim;
      ASSERT_EQ(CodeAt(*store, 0, pages, 13 + token, group, dim), -kDigestBias);
    }
    EXPECT_GT(clamped, 0);
    EXPECT_EQ(CodeAt(*store, 1, pages, 12, 0, 0), -kDigestBias);
    EXPECT_EQ(CodeAt(*store, 1, pages, 113, 0, 0), -kDigestBias);
  }
}

// A map of one column passes the key through.
TEST_P(AppendDigestsTest, RoundsTiesToEvenAndClamps) {
  Device device(1, GetParam());
  const float inf = std::numeric_limits<float>::infinity();
  const float values[] = {0.5F,
                          1.5F,
                          2.5F,
                          -0.5F,
                          -1.5F,
                          -2.5F,
                          126.5F,
                          127.4F,
                          128.0F,
                          -126.5F,
                          -127.6F,
                          1e30F,
                          -1e30F,
                          inf,
                          -inf,
                          -0.0F,
                          3.49999F,
                          3.50001F};
  const int codes[] = {
      0, 2, 2, 0, -2, -2, 126, 127, 127, -126, -127, 127, -127, 127, -127, 0, 3, 4};
  const Shape shape = {1, 4, 1};
  const auto store = DigestStore::Create(LayoutOf(shape), 1).value();
  const std::vector<PageId> pages = {0};
  Input input = {{std::begin(values), std::end(values)}, {1, 1, 1, 1}};
  const AppendDigestsParams params = Params(*store, pages, shape, input);
  AppendDigests(device, {&params, 1});
  for (std::size_t i = 0; i < std::size(values); ++i) {
    for (std::int32_t dim = 0; dim < 4; ++dim) {
      EXPECT_EQ(CodeAt(*store, 1, pages, static_cast<std::int32_t>(i), 0, dim), codes[i])
          << values[i];
    }
  }
}

TEST_P(AppendDigestsTest, OneTokenAtATimeEqualsAChunk) {
  for (const Shape& shape : kShapes) {
    const Input input = MakeInput(shape, 150, 2);
    const std::vector<PageId> pages = {3, 0, 4, 1, 2};
    const auto whole = DigestStore::Create(LayoutOf(shape), 5).value();
    const auto pieces = DigestStore::Create(LayoutOf(shape), 5).value();
    Device two(2, GetParam());
    const AppendDigestsParams params = Params(*whole, pages, shape, input);
    AppendDigests(two, {&params, 1});
    Device one(1, GetParam());
    for (std::int32_t i = 0; i < 150; ++i) {
      AppendDigestsParams piece = Params(*pieces, pages, shape, input);
      piece.first = i;
      piece.n_tokens = 1;
      piece.keys += i * shape.n_groups * shape.in_dim;
      AppendDigests(one, {&piece, 1});
    }
    EXPECT_EQ(std::memcmp(whole->Slot(0, 0), pieces->Slot(0, 0), SlotSpan(*whole)), 0);
  }
}

TEST_P(AppendDigestsTest, TheFirstDimensionsAreKeptASecondTimeInFewerBits) {
  Device device(2, GetParam());
  for (const std::int32_t coarse_dims : {8, 16, 32}) {
    const Shape shape = {3, 36, 64};
    DigestLayout layout = LayoutOf(shape);
    layout.coarse_dims = coarse_dims;
    const auto store = DigestStore::Create(layout, 5).value();
    const std::vector<PageId> pages = {3, 0, 4, 1, 2};
    const Input input = MakeInput(shape, 100, 6);
    AppendDigestsParams params = Params(*store, pages, shape, input);
    params.first = 13;
    AppendDigests(device, {&params, 1});
    for (std::int32_t row = 0; row < 160; ++row) {
      const bool written = row >= 13 && row < 113;
      const std::uint8_t* slot = store->CoarseSlot(pages[row / 32], 1);
      for (std::int32_t i = 0; i < 3 * coarse_dims; ++i) {
        const std::int32_t group = i / coarse_dims;
        const std::int32_t dim = i % coarse_dims;
        const int byte = slot[layout.coarse_offset(row % 32, group, (dim + 8) / 16) + dim % 4];
        const int bits = dim < 8 ? byte >> dim / 4 * 4 & 15 : byte >> 2 * ((dim - 8) / 4 % 4) & 3;
        const int coarse = dim < 8 ? 16 * bits - kDigestBias : 32 * bits - 48;
        const int code = CodeAt(*store, 1, pages, row, group, dim);
        ASSERT_TRUE(written ? coarse == CoarseCode(code, dim) : bits == 0)
            << row << " " << group << " " << dim << ": " << coarse << " for " << code;
        ASSERT_EQ(store->CoarseSlot(pages[row / 32], 0)[i], 0);
      }
    }
  }
}

TEST(DigestStoreTest, RefusesCoarseDimensionsThatDoNotFit) {
  for (const std::int32_t coarse_dims : {-8, 4, 12, 24, 40}) {
    const DigestLayout layout = {
        .n_slots = 1, .n_groups = 1, .rank = 20, .page_size = 16, .coarse_dims = coarse_dims};
    EXPECT_EQ(DigestStore::Create(layout, 1).status().code(), absl::StatusCode::kInvalidArgument)
        << coarse_dims;
  }
}

TEST_P(AppendDigestsTest, ABatchEqualsEachAlone) {
  const Shape shape = kShapes[0];
  const Input a = MakeInput(shape, 70, 3);
  const Input b = MakeInput(shape, 1, 4);
  const Input none = MakeInput(shape, 0, 5);
  const std::vector<PageId> pages_a = {4, 1, 3};
  const std::vector<PageId> pages_b = {0, 2};
  const auto batch = DigestStore::Create(LayoutOf(shape), 5).value();
  const auto alone = DigestStore::Create(LayoutOf(shape), 5).value();
  const auto run = [&](DigestStore& store, Device& device, bool together) {
    const AppendDigestsParams params[] = {Params(store, pages_a, shape, a),
                                          Params(store, pages_b, shape, none),
                                          Params(store, pages_b, shape, b)};
    if (together) return AppendDigests(device, params);
    for (const AppendDigestsParams& one : params) AppendDigests(device, {&one, 1});
  };
  Device three(3, GetParam());
  Device one(1, GetParam());
  run(*batch, three, true);
  run(*alone, one, false);
  EXPECT_EQ(std::memcmp(batch->Slot(0, 0), alone->Slot(0, 0), SlotSpan(*batch)), 0);
}

TEST_P(AppendDigestsTest, RefusesWhatLeavesThePages) {
  Device device(1, GetParam());
  const Shape shape = {1, 4, 1};
  const auto store = DigestStore::Create(LayoutOf(shape), 1).value();
  const std::vector<PageId> pages = {0};
  const Input input = MakeInput(shape, 33, 1);
  AppendDigestsParams params = Params(*store, pages, shape, input);
  EXPECT_THROW(AppendDigests(device, {&params, 1}), std::logic_error);
  params.n_tokens = 1;
  params.slot = kSlots;
  EXPECT_THROW(AppendDigests(device, {&params, 1}), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Levels,
                         AppendDigestsTest,
                         testing::ValuesIn(AvailableLevels()),
                         LevelTestName);

}  // namespace
}  // namespace keyhole
