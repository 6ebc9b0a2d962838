# keyhole_torch: LibTorch from the PyPI wheel, linked by hand.
#
# The wheel's include folder also holds headers of fmt and google/protobuf that would shadow the system's, so only
# four of its folders are made visible. Its CMake package is not used: it pulls in far more than is needed.

set(torch_root "${KEYHOLE_DEPS_DIR}/torch")
if(NOT EXISTS "${torch_root}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found in ${torch_root}: run deploy/setup.sh, or set KEYHOLE_DEPS_DIR")
endif()

set(torch_include "${PROJECT_BINARY_DIR}/torch_include")
file(MAKE_DIRECTORY "${torch_include}")
foreach(folder ATen c10 caffe2 torch)
  file(CREATE_LINK "${torch_root}/include/${folder}" "${torch_include}/${folder}" SYMBOLIC)
endforeach()

# libtorch_cpu.so needs libcudart.so.13 and libcupti.so.13: from the small wheels beside it.
set(cuda_runtime_dir "${KEYHOLE_DEPS_DIR}/nvidia/cu13/lib")

add_library(keyhole_torch INTERFACE)
target_include_directories(keyhole_torch SYSTEM INTERFACE "${torch_include}")
target_link_libraries(keyhole_torch INTERFACE "${torch_root}/lib/libtorch_cpu.so" "${torch_root}/lib/libc10.so")
target_link_options(keyhole_torch INTERFACE
  "-Wl,-rpath,${torch_root}/lib" "-Wl,-rpath,${cuda_runtime_dir}"
  "-Wl,-rpath-link,${torch_root}/lib" "-Wl,-rpath-link,${cuda_runtime_dir}"
  # The wheel's libraries find one another only through their own RUNPATH, which does not pass on to ours.
  "-Wl,--disable-new-dtags")
