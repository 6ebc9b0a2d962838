// Where cuBLAS comes from.
#pragma once

namespace keyhole::cuda {

// Loaded when it is first needed: see engine/device/cuda/shared_library.h.
constexpr const char* kCublasLibrary = "libcublas.so.13";

}  // namespace keyhole::cuda
