/* Matrix products through cuBLASLt, with bias, residual and activation in one kernel where it has
 * them: MATMUL, and convolutions with a window of one pixel, which are products of all pixels.
 *
 * Thread: the loader's, with the device entered.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_PRODUCT_H
#define CLOCKWORK_BACKEND_CUDA_PRODUCT_H

#include "backend/cuda/emit.h"

enum { PRODUCT_TEXT_BYTES = 160 };

/* D = act(alpha A B + bias + C), all row-major: A is M x K (or K x M transposed), `pitch` elements
 * from row to row. Compared as bytes. */
struct product_problem {
  uint32_t type;
  uint32_t precision;
  uint32_t m, n, k;
  uint32_t transpose_a, transpose_b;
  uint32_t batches;
  uint32_t alignment_bytes;
  int64_t a_pitch, b_pitch, d_pitch, c_pitch;
  int64_t a_stride, b_stride, d_stride; /* from batch to batch; C as D */
  uint32_t has_bias, has_residual;
  uint32_t activation; /* NONE, RELU or GELU_TANH */
  float alpha;
  uint32_t scratch_bytes_max; /* of cuBLASLt */
};

struct product_addresses {
  CUdeviceptr a, b, bias, residual, d;
};

/* A MATMUL or a CONV as a product, or what a recurrent operation's inputs come to. `is_bare`:
 * without bias and activation, which emit_epilogue() then adds. False: it is none that cuBLASLt
 * computes, or not with what is to be fused. */
bool product_of(const struct emit *emit, const struct plan_op *op, bool is_bare,
                struct product_problem *ret_problem, struct product_addresses *ret_addresses);

/* What cuBLASLt's heuristics propose, best guess first, as texts; returns how many. Any thread that
 * has entered the device: cuBLASLt lets several use one handle. */
uint32_t product_propose(const struct device *device, const struct product_problem *problem,
                         const struct product_addresses *addresses,
                         char (*ret_texts)[PRODUCT_TEXT_BYTES], uint32_t capacity);

/* False: no such text, or from a cuBLASLt that thinks otherwise. */
bool product_read(const char *text, cublasLtMatmulAlgo_t *ret_algorithm);

/* Launches on the device's stream. */
CUresult product_run(const struct device *device, const struct product_problem *problem,
                     const struct product_addresses *addresses,
                     const cublasLtMatmulAlgo_t *algorithm, CUdeviceptr scratch);

/* The product of a recurrent operation with operands of the same shape that lie elsewhere. */
CUresult product_run_at(const struct emit *emit, const struct plan_op *op,
                        const cublasLtMatmulAlgo_t *algorithm, CUdeviceptr a, CUdeviceptr b,
                        CUdeviceptr d);

#endif
