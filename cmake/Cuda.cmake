# The CUDA backend: built where nvcc and cuDNN's headers are, else left out with a word of why.
# Nothing of NVIDIA's is linked: the worker loads the libraries when it runs (src/backend/cuda/library.h).
#
# Sets CLOCKWORK_HAS_CUDA. `make setup-cuda` brings cuDNN's headers where only they lack.
option(CLOCKWORK_CUDA "build the CUDA backend where its tools are found" ON)
set(CLOCKWORK_HAS_CUDA OFF)
if(NOT CLOCKWORK_CUDA)
  return()
endif()

find_program(CLOCKWORK_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda
             PATH_SUFFIXES bin)
if(NOT CLOCKWORK_NVCC)
  message(STATUS "CUDA backend: left out, no nvcc (CUDA 12 or newer) on this machine")
  return()
endif()
get_filename_component(cuda_folder ${CLOCKWORK_NVCC} REALPATH)
get_filename_component(cuda_folder ${cuda_folder} DIRECTORY)
get_filename_component(cuda_folder ${cuda_folder} DIRECTORY)
find_path(CLOCKWORK_CUDA_INCLUDE cublasLt.h HINTS ${cuda_folder}/include
          ${cuda_folder}/targets/x86_64-linux/include)
find_path(CLOCKWORK_CUDNN_INCLUDE cudnn.h HINTS ${cuda_folder}/include
          ${CMAKE_SOURCE_DIR}/.cudnn/include)
if(NOT CLOCKWORK_CUDA_INCLUDE)
  message(STATUS "CUDA backend: left out, no cublasLt.h beside ${CLOCKWORK_NVCC}")
  return()
endif()
if(NOT CLOCKWORK_CUDNN_INCLUDE)
  message(STATUS "CUDA backend: left out, no cudnn.h; `make setup-cuda` brings cuDNN's headers")
  return()
endif()
set(CLOCKWORK_HAS_CUDA ON)

# Machine code for the GPUs of 2020 and 2022, PTX for those after.
set(cuda_module ${CMAKE_BINARY_DIR}/generated/cuda_kernels.fatbin)
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/*.cu
     ${CMAKE_SOURCE_DIR}/src/backend/cuda/*.cuh)
add_custom_command(
  OUTPUT ${cuda_module}
  COMMAND ${CLOCKWORK_NVCC} -std=c++17 -O3 --fatbin -Werror all-warnings
          -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90
          -gencode arch=compute_90,code=compute_90 -I${CMAKE_SOURCE_DIR}/src -o ${cuda_module}
          ${CMAKE_SOURCE_DIR}/src/backend/cuda/kernels.cu
  DEPENDS ${cuda_sources} ${CMAKE_SOURCE_DIR}/src/backend/cuda/kernel_parameters.h
          ${CMAKE_SOURCE_DIR}/src/package/plan.h
  COMMENT "Compiling the CUDA kernels"
  VERBATIM)
set(cuda_module_c ${CMAKE_BINARY_DIR}/generated/cuda_module.c)
file(CONFIGURE OUTPUT ${cuda_module_c} CONTENT [[
#include "backend/cuda/module.h"

__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        ".globl cuda_kernels_module\n"
        "cuda_kernels_module:\n"
        ".incbin \"@cuda_module@\"\n"
        ".byte 0\n"
        ".popsection\n");
]] @ONLY)
set_source_files_properties(${cuda_module_c} PROPERTIES OBJECT_DEPENDS ${cuda_module})
