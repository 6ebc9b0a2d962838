// Attention kernels for AVX-512 with BF16. One query multiplies rows of bf16 by products of bf16
// pairs with f32 sums, at twice the rate of f32. Many queries have scores by int8 products, and
// values by products of bf16 pairs; weights and what int8 codes stand for are rounded to bf16.
#include "engine/ops/cpu/attend_few_bf16.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_many_avx512bf16.h"

namespace keyhole {
namespace {

template <int kVectors>
void RunFewVectors(const AttendTile& t, const AttendState& s) {
  int lane = 0;
  for (; lane + kLaneBlock <= t.lanes; lane += kLaneBlock) {
    FewBf16<kLaneBlock, kVectors>::Run(t, s, lane);
  }
  switch (t.lanes - lane) {
    case 3:
      return FewBf16<3, kVectors>::Run(t, s, lane);
    case 2:
      return FewBf16<2, kVectors>::Run(t, s, lane);
    case 1:
      return FewBf16<1, kVectors>::Run(t, s, lane);
    default:
      return;
  }
}

// As AttendFew, whose part it takes for other sizes of heads.
void RunFew(const AttendTile& t, const AttendState& s) {
  switch (t.head_dim) {
    case 64:
      return RunFewVectors<2>(t, s);
    case 128:
      return RunFewVectors<4>(t, s);
    case 192:
      return RunFewVectors<6>(t, s);
    case 256:
      return RunFewVectors<8>(t, s);
    default:
      return AttendFew<Avx512>::Run<Bf16>(t, s);
  }
}

template <class Element>
void UseMany(AttendKernels& kernels) {
  kernels.many_rows = kManyRows;
  kernels.many = RunMany<Element>;
  kernels.pack_queries = PackInt8Queries;
  kernels.unpack_sums = UnpackSums;
}

}  // namespace

AttendKernelSet AttendKernelsAvx512Bf16() {
  AttendKernelSet kernels = AttendKernelsAvx512();
  // Scores of 32 lanes are in use at a time, so that more lanes share the rows' codes.
  kernels.tile_lanes = 384;
  kernels.deep_tile_lanes = 768;
  kernels.bf16.few = RunFew;
  UseMany<Bf16>(kernels.bf16);
  UseMany<Int8>(kernels.int8);
  return kernels;
}

}  // namespace keyhole
