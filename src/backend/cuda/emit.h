/* Operations of a plan as launches on a stream.
 *
 * emit_program() is run a few times per model and batch size: once in the open, so that every
 * module is loaded and every error shows; once captured, to be measured; and once captured for each
 * instance, whose weights lie elsewhere. It decides nothing: how convolutions and products are run
 * was chosen before (choices.h).
 *
 * Thread: the loader's, with the device entered.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_EMIT_H
#define CLOCKWORK_BACKEND_CUDA_EMIT_H

#include "backend/cuda/device.h"
#include "os/error_text.h"
#include "package/plan.h"

struct choice; /* choices.h */

struct emit {
  const struct device *device;
  CUstream stream;
  const struct plan *plan;
  const struct plan_batch *batch;
  CUdeviceptr places[PLAN_WORKSPACE + 1]; /* by enum plan_place */
  CUdeviceptr scratch;                    /* DEVICE_SCRATCH_BYTES */
  CUdeviceptr slot_places;                /* 0, or inputs are read from the io slot (see emit.c) */
  const struct choice *choices;           /* one per operation */
};

/* An emitter for `area` and weights at `weights`. */
void emit_init(struct emit *emit, const struct device *device, CUstream stream,
               const struct plan *plan, const struct plan_batch *batch,
               const struct device_area *area, CUdeviceptr weights, const struct choice *choices);

/* All operations in order, and around them the frame of every graph: inputs out of the io slot that
 * the area's cell names (or read there, see `slot_places`), outputs into it, and the two time
 * stamps. ERR_UNSUPPORTED, ERR_IO:
 * `ret_error` names the operation. */
MUST_USE enum err emit_program(const struct emit *outer, const struct device_area *area,
                               struct error_text *ret_error);

/* One of them alone. */
CUresult emit_op(const struct emit *emit, uint32_t op_index);

/* Whether emit_program() knows an operation at all; false: `ret_error` names it and what lacks. */
bool emit_supports(const struct plan_batch *batch, uint32_t op_index, struct error_text *ret_error);

/* ---- for the parts of this folder -------------------------------------------------------------
 */

/* Of the tensor's first element; 0 for PLAN_NONE. */
CUdeviceptr emit_address(const struct emit *emit, uint32_t tensor);
const struct plan_tensor *emit_tensor(const struct emit *emit, uint32_t tensor);

/* Tensor index of the operation's input or output, PLAN_NONE if absent or beyond its count. */
uint32_t emit_input(const struct plan_op *op, uint32_t index);
uint32_t emit_output(const struct plan_op *op, uint32_t index);

/* A launch over `count` threads. */
CUresult emit_launch(const struct emit *emit, enum device_kernel kernel, uint64_t count,
                     const void *parameters);

/* One operation each, by kind. */
CUresult emit_pointwise(const struct emit *emit, const struct plan_op *op);
CUresult emit_transpose(const struct emit *emit, const struct plan_op *op);
CUresult emit_concat(const struct emit *emit, const struct plan_op *op);
CUresult emit_slice(const struct emit *emit, const struct plan_op *op);
CUresult emit_pad(const struct emit *emit, const struct plan_op *op);
CUresult emit_gather(const struct emit *emit, const struct plan_op *op);
CUresult emit_gather_places(const struct emit *emit, const struct plan_op *op);
CUresult emit_scatter(const struct emit *emit, const struct plan_op *op);
/* Whether the two above have room for what GATHER_ELEMENTS, ... ask of them. */
bool emit_places_fit(const struct plan_batch *batch, const struct plan_op *op);
CUresult emit_trilu(const struct emit *emit, const struct plan_op *op);
CUresult emit_topk(const struct emit *emit, const struct plan_op *op);
CUresult emit_cumsum(const struct emit *emit, const struct plan_op *op);
/* LSTM, GRU, RNN, what the inputs come to multiplied as chosen. */
CUresult emit_recurrent(const struct emit *emit, const struct plan_op *op,
                        const struct choice *choice);
/* That product: of the first direction and of as many steps as are done at once. */
void emit_recurrent_product(const struct emit *emit, const struct plan_op *op,
                            struct kernel_matmul *ret_product);
bool emit_recurrent_fits(const struct plan_batch *batch, const struct plan_op *op);
CUresult emit_reduce(const struct emit *emit, const struct plan_op *op);
CUresult emit_softmax(const struct emit *emit, const struct plan_op *op);
CUresult emit_normalize(const struct emit *emit, const struct plan_op *op);
CUresult emit_lrn(const struct emit *emit, const struct plan_op *op);
CUresult emit_pool(const struct emit *emit, const struct plan_op *op);
CUresult emit_resize(const struct emit *emit, const struct plan_op *op);
/* A convolution, transposed or not, by this backend's own kernels. */
CUresult emit_own_conv(const struct emit *emit, const struct plan_op *op);
/* If the convolution `op_index` can read the request's image itself, which operations before it
 * only reorder, for nobody else: these operations, the last one first; returns how many, else 0. */
enum { EMIT_STEM_SOURCES = 2 };
uint32_t emit_stem_sources(const struct emit *emit, uint32_t op_index,
                           uint32_t ret_sources[EMIT_STEM_SOURCES]);
/* That convolution, from the image that operation `source` reads. */
CUresult emit_stem(const struct emit *emit, const struct plan_op *op, uint32_t source);
/* Whether emit_own_conv() has a kernel that is made for it. */
bool emit_is_depthwise(const struct emit *emit, const struct plan_op *op);
CUresult emit_own_matmul(const struct emit *emit, const struct plan_op *op);
/* act(x + bias + residual) of a convolution or product into its output: what a library left undone.
 * `from`: where x lies without gaps; 0: it is what the output holds. */
CUresult emit_epilogue(const struct emit *emit, const struct plan_op *op, CUdeviceptr from,
                       bool has_residual);

#endif
