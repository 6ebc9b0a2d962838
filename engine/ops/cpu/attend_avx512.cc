// Attention kernels for AVX-512: vectors of sixteen.
#include "engine/ops/cpu/attend_isa_avx512.h"
#include "engine/ops/cpu/attend_kernels_impl.h"

namespace keyhole {

AttendKernelSet AttendKernelsAvx512() { return MakeAttendKernels<Avx512>(); }

}  // namespace keyhole
