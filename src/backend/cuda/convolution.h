/* Convolutions through cuDNN's graph interface: with bias, residual and activation in one kernel
 * where an engine has them, or the bare sum.
 *
 * A way to run one is an engine of cuDNN with settings for its knobs, kept as a short text: what a
 * search found can be written down and had again without a search (choices.h).
 *
 * Thread: the loader's, with the device entered.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_CONVOLUTION_H
#define CLOCKWORK_BACKEND_CUDA_CONVOLUTION_H

#include "backend/cuda/emit.h"

enum {
  CONVOLUTION_AXES_MAX = 2 + PLAN_SPATIAL_MAX,
  CONVOLUTION_TEXT_BYTES = 160,
};

/* Everything that an engine's fitness and speed depend on. All zero where unused: compared as
 * bytes. */
struct convolution_problem {
  uint32_t type;      /* enum plan_type */
  uint32_t precision; /* enum plan_precision */
  uint32_t axes;      /* 4 or 5: one spatial axis is made two */
  uint32_t alignment_bytes;
  int64_t x_dims[CONVOLUTION_AXES_MAX];
  int64_t x_strides[CONVOLUTION_AXES_MAX];
  int64_t w_dims[CONVOLUTION_AXES_MAX];
  int64_t w_strides[CONVOLUTION_AXES_MAX];
  int64_t y_dims[CONVOLUTION_AXES_MAX];
  int64_t y_strides[CONVOLUTION_AXES_MAX];
  int64_t z_strides[CONVOLUTION_AXES_MAX]; /* of the residual */
  int64_t before[PLAN_SPATIAL_MAX];
  int64_t after[PLAN_SPATIAL_MAX];
  int64_t strides[PLAN_SPATIAL_MAX];
  int64_t dilations[PLAN_SPATIAL_MAX];
  uint32_t has_bias;
  uint32_t has_residual;
  uint32_t residual_last;
  uint32_t activation; /* enum plan_activation_kind */
  float alpha;
  float beta;
  /* From here on what the operation's kind and the choice's form say already. */
  uint32_t is_transposed; /* y is what a convolution with w makes x of; x_dims and so on stay x's */
  uint32_t scratch_bytes_max;
};

/* How much of an operation a library is asked for; emit_epilogue() does the rest. */
enum convolution_extent {
  CONVOLUTION_WHOLE, /* all that is fused into it */
  CONVOLUTION_BARE,  /* the sum alone */
  CONVOLUTION_ASIDE, /* the sum alone, packed, into scratch memory */
};

void convolution_problem_of(const struct emit *emit, const struct plan_op *op,
                            enum convolution_extent extent,
                            struct convolution_problem *ret_problem);

/* Where the output of CONVOLUTION_ASIDE goes; 0: there is no room for it. */
CUdeviceptr convolution_aside(const struct emit *emit, const struct plan_op *op);

/* What cuDNN's heuristics propose, best guess first, of engines that keep the precision and give
 * the same result every time. Engines that are compiled when first used (about a second each) only
 * with `compiled`. Returns how many; 0 also when cuDNN can't fuse this. Any thread that has entered
 * the device, with a `handle` that no other uses at the time. */
uint32_t convolution_propose(const struct device *device, cudnnHandle_t handle,
                             const struct convolution_problem *problem, bool compiled,
                             char (*ret_texts)[CONVOLUTION_TEXT_BYTES], uint32_t capacity);

struct convolution;

/* Prepares one way; NULL: this cuDNN on this device can't (a text from another version, say), or it
 * needs more than the problem's scratch_bytes_max. */
struct convolution *convolution_create(const struct device *device,
                                       const struct convolution_problem *problem, const char *text);

/* Accepts NULL. */
void convolution_destroy(const struct device *device, struct convolution *convolution);

/* bias, residual: 0 where the problem has none. Launches on the device's stream. */
CUresult convolution_run(const struct device *device, const struct convolution *convolution,
                         CUdeviceptr x, CUdeviceptr w, CUdeviceptr y, CUdeviceptr bias,
                         CUdeviceptr residual, CUdeviceptr scratch);

#endif
