#include "engine/ops/cuda/linear.h"

#include <cublas_v2.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/device/cuda/cuda_status.h"
#include "engine/device/cuda/shared_library.h"
#include "engine/device/device_error.h"
#include "engine/ops/cuda/load_cublas.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda Linear";
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what cuBLAS asks for on sm_90

void Check(cublasStatus_t status, CUstream_st* stream) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  // cuBLAS does not say whether the device is lost.
  const absl::Status lost = CudaStatus(cudaStreamQuery(stream), kOp);
  if (IsSticky(lost)) throw DeviceError(lost);
  std::string text = std::string(kOp) + ": cuBLAS error " + std::to_string(int{status});
  if (status == CUBLAS_STATUS_NOT_INITIALIZED) {  // also for want of the library
    const std::string problem = LoadProblem(kCublasLibrary, "cublasCreate_v2");
    if (!problem.empty()) text += ": " + problem;
  }
  const bool short_of_memory = status == CUBLAS_STATUS_ALLOC_FAILED;
  throw DeviceError(short_of_memory ? absl::ResourceExhaustedError(text)
                                    : absl::InternalError(text));
}

}  // namespace

LinearOp::LinearOp(const Stream& stream) : stream_(stream.handle()) {
  absl::StatusOr<DeviceBuffer> workspace = DeviceBuffer::Allocate(stream, kWorkspaceBytes);
  ThrowIfFailed(workspace.status());
  workspace_ = *std::move(workspace);
  cublasHandle_t handle = nullptr;
  Check(cublasCreate(&handle), stream_);
  handle_.reset(handle);
  Check(cublasSetStream(handle, stream_), stream_);
  Check(cublasSetWorkspace(handle, workspace_.data(), kWorkspaceBytes), stream_);
}

void LinearOp::Destroy::operator()(cublasContext* handle) const { cublasDestroy(handle); }

void LinearOp::Run(
    const std::uint16_t* x, std::int64_t n, const DeviceMatrix& weight, float* out, Output output) {
  if (n == 0) return;
  CheckOp(n > 0 && x != nullptr && weight.data != nullptr && out != nullptr, kOp, "null argument");
  const float one = 1;
  const float before = output == Output::kAdd ? 1 : 0;
  const auto n_out = static_cast<int>(weight.n_out);
  const auto n_in = static_cast<int>(weight.n_in);
  // Its matrices go by columns: what is [rows, columns] here is transposed there.
  Check(cublasGemmEx(handle_.get(),
                     CUBLAS_OP_T,
                     CUBLAS_OP_N,
                     n_out,
                     static_cast<int>(n),
                     n_in,
                     &one,
                     weight.data,
                     CUDA_R_16BF,
                     n_in,
                     x,
                     CUDA_R_16BF,
                     n_in,
                     &before,
                     out,
                     CUDA_R_32F,
                     n_out,
                     CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT),
        stream_);
}

}  // namespace keyhole::cuda
