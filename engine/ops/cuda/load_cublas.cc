// The functions of cuBLAS that linear.cc calls, from the library as it is loaded.
#include <cublas_v2.h>

#include "engine/device/cuda/shared_library.h"
#include "engine/ops/cuda/load_cublas.h"

namespace {

template <keyhole::FunctionName kName, typename... Args>
cublasStatus_t Call(Args... args) {
  return keyhole::CallLoaded<kName>(
      keyhole::cuda::kCublasLibrary, CUBLAS_STATUS_NOT_INITIALIZED, args...);
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) { return Call<"cublasCreate_v2">(handle); }

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) { return Call<"cublasDestroy_v2">(handle); }

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  return Call<"cublasSetStream_v2">(handle, stream);
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  return Call<"cublasSetWorkspace_v2">(handle, workspace, bytes);
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
                            cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return Call<"cublasGemmEx">(handle,
                              of_a,
                              of_b,
                              m,
                              n,
                              k,
                              alpha,
                              a,
                              a_type,
                              a_stride,
                              b,
                              b_type,
                              b_stride,
                              beta,
                              c,
                              c_type,
                              c_stride,
                              compute,
                              algorithm);
}

}  // extern "C"
