/* This backend's kernels as nvcc made them, part of the program: machine code for the GPUs named in
 * CMakeLists.txt and PTX, which the driver translates for newer ones. */
#ifndef CLOCKWORK_BACKEND_CUDA_MODULE_H
#define CLOCKWORK_BACKEND_CUDA_MODULE_H

extern const unsigned char cuda_kernels_module[];

#endif
