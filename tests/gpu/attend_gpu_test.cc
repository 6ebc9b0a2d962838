#include <cmath>
#include <random>

#include "engine/ops/cuda/attend_rows.h"
#include "engine/ops/half_float.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

constexpr double kFewTolerance = 2e-5;
constexpr double kManyTolerance = 6e-3;  // weights in bf16; queries are rounded before
constexpr std::int32_t kPage = 16;

struct Shape {
  std::int32_t n_kv_heads;
  std::int32_t group;
  std::int32_t head_dim;
};

constexpr Shape kShapes[] = {
    {3, 3, 64}, {8, 1, 64}, {2, 4, 128}, {1, 8, 128}, {2, 8, 40}, {1, 12, 24}};

class AttendGpuTest : public GpuTest {
 protected:
  KvLayout LayoutOf(const Shape& shape, KvType type) {
    return {.n_layers = 1,
            .n_kv_heads = shape.n_kv_heads,
            .head_dim = shape.head_dim,
            .page_size = kPage,
            .type = type};
  }

  // [n, n_heads, head_dim], numbers that bf16 has.
  const std::vector<float>& Queries(const Shape& shape, std::int32_t n) {
    const std::size_t size = std::size_t(n) * shape.n_kv_heads * shape.group * shape.head_dim;
    std::vector<float>& queries = arrays_.emplace_back(RandomFloats(random_, size, 2));
    for (float& x : queries) x = RoundTo(KvType::kBF16, x);
    return queries;
  }

  AttendParams ParamsOf(const KvSequence& kv,
                        const Shape& shape,
                        std::int32_t q_len,
                        std::span<const AttendPart> parts) {
    return {.store = kv.store.get(),
            .layer = 0,
            .pages = kv.pages,
            .q_len = q_len,
            .n_heads = shape.n_kv_heads * shape.group,
            .softmax_scale = 1 / std::sqrt(static_cast<float>(shape.head_dim)),
            .parts = parts};
  }

  // The same call on the device, pages in device memory. `parts` stays where it is.
  cuda::AttendParams OnDevice(const AttendParams& params,
                              std::vector<cuda::AttendPartParams>& parts) {
    const KvLayout& layout = params.store->layout();
    const std::size_t q_size = std::size_t(params.q_len) * params.n_heads * layout.head_dim;
    for (const AttendPart& part : params.parts) {
      parts.push_back(
          {.queries = ToDevice(part.queries, q_size),
           .range = part.range,
           .rows = part.rows.empty() ? nullptr : ToDevice(part.rows.data(), part.rows.size()),
           .n_rows = static_cast<std::int32_t>(part.rows.size()),
           .causal_from = part.causal_from,
           .bias = part.bias == nullptr ? nullptr : ToDevice(part.bias, params.q_len),
           .scale = part.scale});
    }
    const std::vector<PageId> pages(params.pages.begin(), params.pages.end());
    return {.store = {ToDevice(params.store->LayerRows(0, 0),
                               layout.page_bytes() * params.store->n_pages()),
                      layout},
            .pages = Pages(pages),
            .q_len = params.q_len,
            .parts = parts,
            .out = Take<float>(q_size)};
  }

  std::vector<float> Run(const AttendParams& params) {
    std::vector<cuda::AttendPartParams> parts;
    const cuda::AttendParams on_device = OnDevice(params, parts);
    return Run(params, on_device);
  }
  std::vector<float> Run(const AttendParams& params, const cuda::AttendParams& on_device) {
    cuda::AttendRows({.n_heads = params.n_heads, .softmax_scale = params.softmax_scale},
                     {&on_device, 1},
                     workspace());
    return FromDevice(on_device.out,
                      std::size_t(params.q_len) * params.n_heads * params.store->layout().head_dim);
  }

  void ExpectNear(AttendParams params, const KvSequence& kv, double tolerance) {
    std::vector<float> out = Run(params);
    params.out = out.data();
    EXPECT_LE(LargestError(params, kv), tolerance);
  }

  static double ToleranceOf(const Shape& shape, KvType type, std::int32_t q_len) {
    const bool tiles = type != KvType::kF32 && q_len > 1 && shape.head_dim % 64 == 0;
    // Weights times the scales of int8 values are rounded, which a weight of one is not.
    return !tiles ? kFewTolerance : type == KvType::kInt8 ? 3 * kManyTolerance : kManyTolerance;
  }

  // Initial rows, selected rows with a bias and a scale, no rows, and a causal window: each with
  // queries of its own.
  struct Parts {
    std::vector<std::int32_t> rows;
    std::vector<float> bias;
    std::vector<AttendPart> parts;
  };
  static constexpr std::int32_t kPartsPast = 450;
  Parts PartsOf(const Shape& shape, std::int32_t q_len) {
    Parts made;
    for (std::int32_t row = 40; row < 400; row += 1 + static_cast<std::int32_t>(random_() % 3)) {
      made.rows.push_back(row);
    }
    made.bias = RandomFloats(random_, q_len);
    const auto queries = [&] { return Queries(shape, q_len).data(); };
    made.parts.push_back({.queries = queries(), .range = {0, 33}, .scale = 0.5F});
    made.parts.push_back(
        {.queries = queries(), .rows = made.rows, .bias = made.bias.data(), .scale = 1.25F});
    made.parts.push_back({.queries = queries()});
    made.parts.push_back(
        {.queries = queries(), .range = {401, kPartsPast + q_len}, .causal_from = kPartsPast});
    return made;
  }

  std::mt19937 random_{13};
  std::deque<std::vector<float>> arrays_;
};

TEST_F(AttendGpuTest, CausalAttentionEqualsTheFormula) {
  for (const Shape& shape : kShapes) {
    for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
      for (const std::int32_t past : {0, 1, kPage - 1, kPage, kPage + 1, 300}) {
        for (const std::int32_t q_len : {1, 2, 37}) {
          if (q_len == 37 && past == 300 && type != KvType::kBF16) continue;  // long when emulated
          SCOPED_TRACE(testing::Message() << shape.group << " heads of " << shape.n_kv_heads
                                          << ", dim " << shape.head_dim << ", past " << past << ", "
                                          << q_len << " queries, type " << int(type));
          const KvSequence kv(LayoutOf(shape, type), past + q_len, random_());
          const AttendPart part = {.queries = Queries(shape, q_len).data(),
                                   .range = {0, past + q_len},
                                   .causal_from = past};
          ExpectNear(ParamsOf(kv, shape, q_len, {&part, 1}), kv, ToleranceOf(shape, type, q_len));
        }
      }
    }
  }
}

TEST_F(AttendGpuTest, PartsShareOneSoftmax) {
  for (const Shape& shape : kShapes) {
    for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
      for (const std::int32_t q_len : {1, 5, 70}) {
        if (q_len == 70 && type == KvType::kF32) continue;
        SCOPED_TRACE(testing::Message()
                     << shape.group << " heads of " << shape.n_kv_heads << ", dim "
                     << shape.head_dim << ", " << q_len << " queries");
        const KvSequence kv(LayoutOf(shape, type), kPartsPast + q_len, random_());
        const Parts parts = PartsOf(shape, q_len);
        ExpectNear(ParamsOf(kv, shape, q_len, parts.parts), kv, ToleranceOf(shape, type, q_len));
      }
    }
  }
}

// Otherwise so short sequences are split into blocks of one tile or two.
TEST_F(AttendGpuTest, ABlockGoesThroughTilesOfAllParts) {
  for (const Shape& shape : {kShapes[0], kShapes[2]}) {
    for (const KvType type : {KvType::kBF16, KvType::kInt8}) {
      SCOPED_TRACE(testing::Message() << "dim " << shape.head_dim << ", type " << int(type));
      const std::int32_t q_len = 9;
      const KvSequence kv(LayoutOf(shape, type), kPartsPast + q_len, random_());
      const Parts parts = PartsOf(shape, q_len);
      AttendParams params = ParamsOf(kv, shape, q_len, parts.parts);
      std::vector<cuda::AttendPartParams> device_parts;
      const cuda::AttendParams on_device = OnDevice(params, device_parts);
      cuda::AttendRowsArgs args =
          cuda::PlanAttendRows({.n_heads = params.n_heads, .softmax_scale = params.softmax_scale},
                               {&on_device, 1},
                               workspace());
      ASSERT_EQ(args.many.n_sequences, 1);
      std::vector<cuda::AttendSequence> sequence = FromDevice(args.many.sequences, 1);
      sequence[0].split_rows = 1 << 20;
      sequence[0].n_splits = 1;
      args.many.sequences = ToDevice(sequence);
      args.many.max_splits = 1;
      cuda::AttendRows(0, args, stream());
      std::vector<float> out =
          FromDevice(on_device.out, std::size_t(q_len) * params.n_heads * shape.head_dim);
      params.out = out.data();
      EXPECT_LE(LargestError(params, kv), ToleranceOf(shape, type, q_len));
    }
  }
}

TEST_F(AttendGpuTest, AQueryThatSeesNoRowGetsZeros) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    const Shape shape = kShapes[0];
    const KvSequence kv(LayoutOf(shape, type), 40, 5);
    // Query 0 sees no row, query 1 the first one.
    const AttendPart part = {
        .queries = Queries(shape, 2).data(), .range = {8, 40}, .causal_from = 7};
    const std::vector<float> out = Run(ParamsOf(kv, shape, 2, {&part, 1}));
    for (std::size_t i = 0; i < out.size() / 2; ++i) ASSERT_EQ(out[i], 0.0F);
    EXPECT_NE(out.back(), 0.0F);
    const std::vector<float> nothing = Run(ParamsOf(kv, shape, 2, {}));
    for (const float x : nothing) ASSERT_EQ(x, 0.0F);
  }
}

// Of one block and of several.
TEST_F(AttendGpuTest, RoundedResultsAreThoseRounded) {
  for (const Shape& shape : {kShapes[2], kShapes[4]}) {
    for (const auto& [n_rows, q_len] : {std::pair{60, 1}, {900, 1}, {60, 9}, {900, 9}}) {
      const KvSequence kv(LayoutOf(shape, KvType::kBF16), n_rows, 9);
      const AttendPart part = {.queries = Queries(shape, q_len).data(), .range = {0, n_rows}};
      const AttendParams params = ParamsOf(kv, shape, q_len, {&part, 1});
      std::vector<cuda::AttendPartParams> parts;
      cuda::AttendParams on_device = OnDevice(params, parts);
      const std::vector<float> values = Run(params, on_device);
      std::vector<std::uint16_t> expected(values.size());
      std::ranges::transform(values, expected.begin(), Float32ToBf16);
      on_device.out = nullptr;
      on_device.rounded = Take<std::uint16_t>(values.size());
      cuda::AttendRows({.n_heads = params.n_heads, .softmax_scale = params.softmax_scale},
                       {&on_device, 1},
                       workspace());
      EXPECT_EQ(FromDevice(on_device.rounded, values.size()), expected)
          << n_rows << " rows, " << q_len << " queries, dim " << shape.head_dim;
    }
  }
}

// Launches are made for bounds: here for more queries than a grid's second axis has blocks.
TEST_F(AttendGpuTest, ALaunchMayHaveMoreBlocksThanSequencesNeed) {
  const Shape shape = kShapes[1];
  for (const std::int32_t q_len : {1, 3}) {
    const KvSequence kv(LayoutOf(shape, KvType::kBF16), 20, 5);
    const AttendPart part = {.queries = Queries(shape, q_len).data(), .range = {0, 20}};
    const AttendParams params = ParamsOf(kv, shape, q_len, {&part, 1});
    std::vector<cuda::AttendPartParams> parts;
    const cuda::AttendParams on_device = OnDevice(params, parts);
    const std::vector<float> expected = Run(params, on_device);
    ASSERT_TRUE(FillAsync(stream(), on_device.out, 0, expected.size() * sizeof(float)).ok());
    cuda::AttendRowsArgs args =
        cuda::PlanAttendRows({.n_heads = params.n_heads, .softmax_scale = params.softmax_scale},
                             {&on_device, 1},
                             workspace());
    args.few.max_q_len = 8200;        // of 8 heads each
    args.many.max_q_len = 64 * 8200;  // a block has 64 queries
    cuda::AttendRows(0, args, stream());
    EXPECT_EQ(FromDevice(on_device.out, expected.size()), expected) << q_len << " queries";
  }
}

// Gathered rows and a window: the same numbers at other places give the same bits.
TEST_F(AttendGpuTest, RowsInARingGiveTheBitsOfThoseInPages) {
  for (const std::int32_t q_len : {1, 9}) {
    const Shape shape = kShapes[2];
    const KvLayout layout = LayoutOf(shape, KvType::kBF16);
    const std::int32_t n = 300;
    const KvSequence kv(layout, n, 3);
    const AttendPart part = {.queries = Queries(shape, q_len).data(), .range = {90, n}};
    const AttendParams params = ParamsOf(kv, shape, q_len, {&part, 1});
    std::vector<cuda::AttendPartParams> parts;
    cuda::AttendParams on_device = OnDevice(params, parts);
    const std::vector<float> expected = Run(params, on_device);

    constexpr std::int32_t kCapacity = 256;
    std::vector<std::byte> ring(kCapacity * layout.row_bytes());
    for (std::int32_t row = 90; row < n; ++row) {
      const std::byte* from =
          kv.store->LayerRows(kv.pages[row / kPage], 0) + (row % kPage) * layout.row_bytes();
      std::copy_n(from, layout.row_bytes(), ring.data() + row % kCapacity * layout.row_bytes());
    }
    std::byte* base = ToDevice(ring);
    parts[0].keys = {base, kCapacity, layout.row_bytes()};
    EXPECT_EQ(Run(params, on_device), expected) << "keys in a ring, " << q_len << " queries";
    parts[0].values = {base + layout.row_bytes() / 2, kCapacity, layout.row_bytes()};
    on_device.store.base = nullptr;
    EXPECT_EQ(Run(params, on_device), expected) << "rows in a ring, " << q_len << " queries";
  }
}

TEST_F(AttendGpuTest, ABatchGivesTheBitsOfEachAlone) {
  const Shape shape = kShapes[2];
  std::deque<KvSequence> sequences;
  std::deque<AttendPart> parts;
  std::deque<std::vector<cuda::AttendPartParams>> device_parts;
  std::vector<cuda::AttendParams> batch;
  std::vector<std::vector<float>> alone;
  for (const auto& [past, q_len] : {std::pair{900, 1}, {130, 40}, {0, 1}, {2000, 1}, {64, 3}}) {
    const KvSequence& kv =
        sequences.emplace_back(LayoutOf(shape, KvType::kBF16), past + q_len, random_());
    parts.push_back(
        {.queries = Queries(shape, q_len).data(), .range = {0, past + q_len}, .causal_from = past});
    const AttendParams params = ParamsOf(kv, shape, q_len, {&parts.back(), 1});
    cuda::AttendParams on_device = OnDevice(params, device_parts.emplace_back());
    alone.push_back(Run(params, on_device));
    on_device.out = Take<float>(alone.back().size());
    batch.push_back(on_device);
  }
  cuda::AttendRows({.n_heads = 8, .softmax_scale = 1 / std::sqrt(128.0F)}, batch, workspace());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(FromDevice(batch[i].out, alone[i].size()), alone[i]) << "sequence " << i;
  }
}

}  // namespace
}  // namespace keyhole
