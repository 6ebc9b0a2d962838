# Settings that every target of the project shares, as one interface target: keyhole_options.

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(KEYHOLE_CCACHE ccache)
if(KEYHOLE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths below the checkout are hashed relative to it, so that another clone finds what this one compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1 "${KEYHOLE_CCACHE}")
endif()

add_library(keyhole_options INTERFACE)
target_compile_features(keyhole_options INTERFACE cxx_std_20)
target_include_directories(keyhole_options INTERFACE "${PROJECT_SOURCE_DIR}")
set(keyhole_warnings -Wall -Wextra $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local> -Wno-sign-compare)
target_compile_options(keyhole_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${keyhole_warnings};-fno-math-errno>")
# Kernels share arithmetic with the host as constexpr functions; what nvcc generates for the host is not ours to warn about.
target_compile_options(keyhole_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;-lineinfo;-Xcompiler=-Wall,-Wextra,-Wno-sign-compare>")
if(KEYHOLE_WERROR)
  target_compile_options(keyhole_options INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-Werror>" "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()

if(KEYHOLE_SANITIZER STREQUAL "address")
  set(keyhole_sanitize -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
elseif(KEYHOLE_SANITIZER STREQUAL "thread")
  set(keyhole_sanitize -fsanitize=thread -fno-omit-frame-pointer)
elseif(NOT KEYHOLE_SANITIZER STREQUAL "none")
  message(FATAL_ERROR "KEYHOLE_SANITIZER is none, address or thread, not '${KEYHOLE_SANITIZER}'")
endif()
if(keyhole_sanitize)
  target_compile_options(keyhole_options INTERFACE ${keyhole_sanitize})
  target_link_options(keyhole_options INTERFACE ${keyhole_sanitize})
endif()

find_program(KEYHOLE_MOLD mold)
if(KEYHOLE_MOLD AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  target_link_options(keyhole_options INTERFACE -fuse-ld=mold)
endif()
