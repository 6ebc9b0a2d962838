# The CUDA language and runtime; included only where KEYHOLE_CUDA is on.

set(KEYHOLE_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "GPU generations: -real is machine code alone, else PTX for later ones too")
set(CMAKE_CUDA_ARCHITECTURES "${KEYHOLE_CUDA_ARCHITECTURES}")
find_program(KEYHOLE_NVCC nvcc PATHS /usr/local/cuda/bin REQUIRED)
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER "${KEYHOLE_NVCC}")
endif()
if(KEYHOLE_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${CMAKE_CXX_COMPILER_LAUNCHER}")
endif()
enable_language(CUDA)
find_package(CUDAToolkit 13.0 REQUIRED)
# cuBLAS and NCCL are loaded when they are needed (engine/device/cuda/shared_library.h); NCCL's header lies beside CUDA's.
add_link_options("-Wl,-rpath,${CUDAToolkit_LIBRARY_DIR}")

set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # LibTorch loads it too, and a process has one
