#include "engine/ops/cuda/kernels/row_ops.h"

#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;

unsigned Blocks(std::int64_t n) {
  return static_cast<unsigned>(CeilDiv<std::int64_t>(n, kThreads));
}

__device__ std::int64_t Index() { return std::int64_t{blockIdx.x} * kThreads + threadIdx.x; }

// A thread has kValues values of a row, all on their way at once. Which and in what order they are
// added up depends on n alone. grid: rows.
template <int kRowThreads, int kValues>
__global__ void __launch_bounds__(kRowThreads) RmsNormKernel(RmsNormArgs args) {
  __shared__ float scratch[kRowThreads / kWarpLanes];
  const std::int64_t first = std::int64_t{blockIdx.x} * args.n;
  const auto n = static_cast<int>(args.n);
  const auto thread = static_cast<int>(threadIdx.x);
  float x[kValues];
  float weight[kValues];
#pragma unroll
  for (int j = 0; j < kValues; ++j) {
    const int i = thread + j * kRowThreads;
    x[j] = i < n ? args.x[first + i] : 0;
    weight[j] = i < n ? args.weight[i] : 0;
  }
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kValues; ++j) sum += x[j] * x[j];
  sum = BlockReduce<kRowThreads>(sum, Sum{}, scratch);
  const float factor = 1 / sqrtf(sum / static_cast<float>(n) + args.eps);
#pragma unroll
  for (int j = 0; j < kValues; ++j) {
    const int i = thread + j * kRowThreads;
    if (i < n) Store(x[j] * factor * weight[j], first + i, args.out, args.rounded);
  }
}

template <int kRowThreads, int kValues>
cudaError_t LaunchRmsNorm(const RmsNormArgs& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(args.n_rows));
  return Launch(RmsNormKernel<kRowThreads, kValues>, grid, kRowThreads, stream, args);
}

// A thread turns one pair of values. grid: pairs; turns.
__global__ void __launch_bounds__(kThreads) RopeKernel(RopeArgs args) {
  const std::int64_t index = Index();
  const std::int64_t vector = index / args.half;
  const std::int64_t n_vectors = args.n_rows * args.n_heads;
  if (vector >= n_vectors) return;
  const auto i = static_cast<std::int32_t>(index - vector * args.half);
  const std::int64_t turn = blockIdx.y;
  const std::int32_t position = args.index[turn * args.n_rows + vector / args.n_heads];
  const std::int64_t at = std::int64_t{position} * args.half + i;
  const float cos = args.cos[at];
  const float sin = args.sin[at];
  const float* x = args.x + vector * 2 * args.half;
  float* out = args.out + (turn * n_vectors + vector) * 2 * args.half;
  const float first = x[i];
  const float second = x[args.half + i];
  out[i] = first * cos - second * sin;
  out[args.half + i] = second * cos + first * sin;
}

__global__ void __launch_bounds__(kThreads) SiluMulKernel(SiluMulArgs args) {
  const std::int64_t index = Index();
  const std::int64_t row = index / args.n;
  if (row >= args.n_rows) return;
  const float* gate = args.gate_up + row * 2 * args.n + (index - row * args.n);
  Store(gate[0] / (1 + expf(-gate[0])) * gate[args.n], index, args.out, args.rounded);
}

__global__ void __launch_bounds__(kThreads) AddKernel(AddArgs args) {
  const std::int64_t index = Index();
  if (index < args.n) args.x[index] += args.y[index];
}

__global__ void __launch_bounds__(kThreads) AddToRowsKernel(AddToRowsArgs args) {
  const std::int64_t index = Index();
  if (index < args.n_rows * args.n) args.x[index] += args.y[index % args.n];
}

__global__ void __launch_bounds__(kThreads) LookupKernel(LookupArgs args) {
  const std::int64_t index = Index();
  const std::int64_t row = index / args.n;
  if (row >= args.n_rows) return;
  const std::int64_t from = args.index[row] * args.n + (index - row * args.n);
  args.out[index] =
      args.bf16_table == nullptr ? args.table[from] : Bf16ToFloat(args.bf16_table[from]);
}

}  // namespace

cudaError_t LaunchRmsNorm(const RmsNormArgs& args, cudaStream_t stream) {
  if (args.n_rows == 0 || args.n == 0) return cudaSuccess;
  if (args.n <= 32 * 4) return LaunchRmsNorm<32, 4>(args, stream);  // a head
  if (args.n <= 1024 * 4) return LaunchRmsNorm<1024, 4>(args, stream);
  static_assert(1024 * 16 == kMaxNormed);
  if (args.n <= kMaxNormed) return LaunchRmsNorm<1024, 16>(args, stream);
  return cudaErrorInvalidValue;
}

cudaError_t LaunchRope(const RopeArgs& args, cudaStream_t stream) {
  const std::int64_t n = args.n_rows * args.n_heads * args.half;
  if (n == 0 || args.n_turns == 0) return cudaSuccess;
  return Launch(RopeKernel, dim3(Blocks(n), args.n_turns), kThreads, stream, args);
}

cudaError_t LaunchSiluMul(const SiluMulArgs& args, cudaStream_t stream) {
  const std::int64_t n = args.n_rows * args.n;
  if (n == 0) return cudaSuccess;
  return Launch(SiluMulKernel, dim3(Blocks(n)), kThreads, stream, args);
}

cudaError_t LaunchAdd(const AddArgs& args, cudaStream_t stream) {
  if (args.n == 0) return cudaSuccess;
  return Launch(AddKernel, dim3(Blocks(args.n)), kThreads, stream, args);
}

cudaError_t LaunchAddToRows(const AddToRowsArgs& args, cudaStream_t stream) {
  const std::int64_t n = args.n_rows * args.n;
  if (n == 0) return cudaSuccess;
  return Launch(AddToRowsKernel, dim3(Blocks(n)), kThreads, stream, args);
}

cudaError_t LaunchLookup(const LookupArgs& args, cudaStream_t stream) {
  if (args.n_rows == 0 || args.n == 0) return cudaSuccess;
  return Launch(LookupKernel, dim3(Blocks(args.n_rows * args.n)), kThreads, stream, args);
}

}  // namespace keyhole::cuda
