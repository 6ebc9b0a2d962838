#include "cublas_v2.h"

#include <bit>
#include <cstdint>

#include "tests/support/cuda_emulation/emulation.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace {

float Value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle,
                            cublasOperation_t of_a,
                            cublasOperation_t of_b,
                            int m,
                            int n,
                            int k,
                            const void* alpha,
                            const void* a,
                            cudaDataType a_type,
                            int a_stride,
                            const void* b,
                            cudaDataType b_type,
                            int b_stride,
                            const void* beta,
                            void* c,
                            cudaDataType c_type,
                            int c_stride,
                            cublasComputeType_t,
                            cublasGemmAlgo_t) {
  const bool known = of_a == CUBLAS_OP_T && of_b == CUBLAS_OP_N && a_type == CUDA_R_16BF &&
                     b_type == CUDA_R_16BF && c_type == CUDA_R_32F;
  if (!known || a_stride < k || b_stride < k || c_stride < m) return CUBLAS_STATUS_INVALID_VALUE;
  if (cuda_emulation::TakeFailure(cuda_emulation::Call::kProduct) != 0) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  // Scalars are the host's: read now, not when a graph is launched.
  const float product = *static_cast<const float*>(alpha);
  const float before = *static_cast<const float*>(beta);
  const cudaError_t error = cuda_emulation::Queue(handle->stream, [=] {
    const auto* rows = static_cast<const std::uint16_t*>(a);
    const auto* columns = static_cast<const std::uint16_t*>(b);
    auto* out = static_cast<float*>(c);
    for (int j = 0; j < n; ++j) {
      for (int i = 0; i < m; ++i) {
        float sum = 0;
        for (int l = 0; l < k; ++l) {
          sum += Value(rows[std::int64_t{i} * a_stride + l]) *
                 Value(columns[std::int64_t{j} * b_stride + l]);
        }
        float& value = out[std::int64_t{j} * c_stride + i];
        value = product * sum + (before == 0 ? 0 : before * value);
      }
    }
  });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
