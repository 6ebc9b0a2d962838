// Bodies of the attention kernels, for any vector width. Included once by each file that names an
// instruction set: `Isa` gives the width, fused multiply-add and reductions.
// Everything is in an unnamed namespace and no library function is called, so that no code for one
// instruction set can be linked into another's.
#pragma once

#include "engine/ops/cpu/attend_few_impl.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_many_impl.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
AttendKernelSet MakeAttendKernels() {
  return {.f32 = {.few = AttendFew<Isa>::template Run<float>,
                  .many = AttendMany<Isa>::template Run<float>,
                  .pack_queries = nullptr},
          .bf16 = {.few = AttendFew<Isa>::template Run<Bf16>,
                   .many = AttendMany<Isa>::template Run<Bf16>,
                   .pack_queries = nullptr},
          .int8 = {.few = AttendFew<Isa>::template Run<Int8>,
                   .many = AttendMany<Isa>::template Run<Int8>,
                   .pack_queries = nullptr}};
}

}  // namespace
}  // namespace keyhole
