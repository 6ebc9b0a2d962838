// The part of cuBLAS's interface that the project uses, emulated on the CPU. Names and values are
// cuBLAS's.
#pragma once

#include "cuda_runtime_api.h"

using cublasHandle_t = struct cublasContext*;
enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_ALLOC_FAILED = 3,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };

cublasStatus_t cublasCreate(cublasHandle_t* handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream);
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes);

// Of transposed `a`, plain `b`, both in bf16, and `c` in f32; anything else is invalid.
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
                            cublasGemmAlgo_t algorithm);
