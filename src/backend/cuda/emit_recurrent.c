/* LSTM, GRU and RNN: what the inputs come to as one product for each direction, as it was chosen,
 * then all steps in one launch. Sequences too long for scratch memory are done in stretches. */
#include <string.h>

#include "backend/cuda/choices.h"

enum {
  HALF_BYTES = DEVICE_SCRATCH_BYTES / 2, /* ours; the other half is cuBLASLt's */
  STATES = 3,                            /* of each sequence in shared memory */
  STATES_BYTES_MAX = 96 * 1024,          /* for one sequence: every GPU's blocks have that */
  CLUSTER_MAX = 8,                       /* what every GPU with clusters allows */
  UNITS_MIN = 16,                        /* of a block: one a warp */
  STEPS_TO_KEEP = 4,                     /* reading R into shared memory costs one step's reading */
};

static uint32_t sum_bytes(enum plan_type type) {
  return type == PLAN_F64 ? sizeof(double) : sizeof(float);
}

/* Where the parts of one operation lie, and how long a stretch of its steps may be. */
struct shape {
  enum plan_type type;
  uint32_t steps;
  uint32_t batch;
  uint32_t width;
  uint32_t hidden;
  uint32_t directions;
  uint32_t gates;
  uint64_t states_bytes;
  uint64_t step_bytes;    /* what one step's inputs come to, of one direction */
  uint32_t stretch_steps; /* 0: not one step fits */
};

static struct shape shape_of(const struct plan_batch *batch, const struct plan_op *op) {
  const struct plan_tensor *x = &batch->tensors[op->inputs[0]];
  struct shape shape = {.type = x->type,
                        .steps = x->dims[0],
                        .batch = x->dims[1],
                        .width = x->dims[2],
                        .hidden = op->recurrent.hidden,
                        .directions = op->recurrent.direction == PLAN_BIDIRECTIONAL ? 2 : 1,
                        .gates = plan_op_kind_gates(op->kind)};
  const uint64_t rows = (uint64_t)shape.batch * shape.hidden;
  shape.states_bytes = 2 * shape.directions * rows * sum_bytes(shape.type);
  shape.states_bytes =
      (shape.states_bytes + PLAN_ALIGN_BYTES - 1) / PLAN_ALIGN_BYTES * PLAN_ALIGN_BYTES;
  shape.step_bytes = shape.gates * rows * plan_type_bytes(shape.type);
  if (shape.states_bytes < HALF_BYTES) {
    const uint64_t steps =
        (HALF_BYTES - shape.states_bytes) / (shape.directions * shape.step_bytes);
    shape.stretch_steps = (uint32_t)(steps < shape.steps ? steps : shape.steps);
  }
  return shape;
}

bool emit_recurrent_fits(const struct plan_batch *batch, const struct plan_op *op) {
  const struct shape shape = shape_of(batch, op);
  return shape.stretch_steps > 0 && (uint64_t)shape.batch * shape.stretch_steps <= INT32_MAX &&
         (uint64_t)shape.gates * shape.hidden <= INT32_MAX &&
         (uint64_t)STATES * shape.hidden * sum_bytes(shape.type) <= STATES_BYTES_MAX;
}

void emit_recurrent_product(const struct emit *emit, const struct plan_op *op,
                            struct kernel_matmul *ret_product) {
  const struct shape shape = shape_of(emit->batch, op);
  *ret_product = (struct kernel_matmul){.a = emit_address(emit, op->inputs[0]),
                                        .b = emit_address(emit, op->inputs[1]),
                                        .to = emit->scratch + HALF_BYTES + shape.states_bytes,
                                        .type = (uint32_t)shape.type,
                                        .m = shape.stretch_steps * shape.batch,
                                        .n = shape.gates * shape.hidden,
                                        .k = shape.width,
                                        .a_row = shape.width,
                                        .a_column = 1,
                                        .b_row = 1,
                                        .b_column = shape.width,
                                        .batches = 1,
                                        .scale = 1.0F};
}

/* What the inputs of steps [first, first + count) of each direction's own order come to. */
static CUresult multiply_inputs(const struct emit *emit, const struct plan_op *op,
                                const struct choice *choice, const struct shape *shape,
                                uint32_t first, uint32_t count) {
  struct kernel_matmul whole;
  emit_recurrent_product(emit, op, &whole);
  const uint32_t element_bytes = plan_type_bytes(shape->type);
  for (uint32_t direction = 0; direction < shape->directions; direction++) {
    const bool is_backwards = op->recurrent.direction == PLAN_REVERSE || direction == 1;
    const uint64_t step = is_backwards ? shape->steps - first - count : first;
    struct kernel_matmul product = whole;
    product.a += step * shape->batch * shape->width * element_bytes;
    product.b += (uint64_t)direction * whole.n * whole.k * element_bytes;
    product.to += (uint64_t)direction * count * shape->step_bytes;
    product.m = count * shape->batch;
    /* The last stretch of a long sequence is no problem that was chosen for. */
    const CUresult result =
        choice->form == CHOICE_PRODUCT && product.m == whole.m
            ? product_run_at(emit, op, &choice->algorithm, product.a, product.b, product.to)
            : emit_launch(emit, KERNEL_matmul_any, (uint64_t)product.m * product.n, &product);
    if (result != CUDA_SUCCESS) {
      return result;
    }
  }
  return CUDA_SUCCESS;
}

static void describe(const struct emit *emit, const struct plan_op *op, const struct shape *shape,
                     struct kernel_recurrent *ret_parameters) {
  *ret_parameters =
      (struct kernel_recurrent){.gates = emit->scratch + HALF_BYTES + shape->states_bytes,
                                .recurrence = emit_address(emit, op->inputs[2]),
                                .bias = emit_address(emit, emit_input(op, 3)),
                                .first_h = emit_address(emit, emit_input(op, 5)),
                                .first_c = emit_address(emit, emit_input(op, 6)),
                                .peepholes = emit_address(emit, emit_input(op, 7)),
                                .to = emit_address(emit, emit_output(op, 0)),
                                .last_h = emit_address(emit, emit_output(op, 1)),
                                .last_c = emit_address(emit, emit_output(op, 2)),
                                .state = emit->scratch + HALF_BYTES,
                                .steps_total = shape->steps,
                                .batch = shape->batch,
                                .hidden = shape->hidden,
                                .directions = shape->directions,
                                .gates_count = shape->gates,
                                .is_first_reverse = op->recurrent.direction == PLAN_REVERSE,
                                .linear_before_reset = op->recurrent.linear_before_reset};
  for (uint32_t i = 0; i < 6; i++) {
    ret_parameters->activations[i] = (uint32_t)op->recurrent.activations[i].kind;
    ret_parameters->alphas[i] = op->recurrent.activations[i].alpha;
    ret_parameters->betas[i] = op->recurrent.activations[i].beta;
  }
}

/* One sequence at a time while that leaves no multiprocessor waiting its turn, as the fewer share a
 * block the sooner it is done; else several, which then share what is read of R. */
static CUresult launch_steps(const struct emit *emit, const struct shape *shape,
                             struct kernel_recurrent *parameters) {
  static const enum device_kernel kernels[3][2] = {
      {KERNEL_recurrent_f32, KERNEL_recurrent_f32_by_4},
      {KERNEL_recurrent_f16, KERNEL_recurrent_f16_by_4},
      {KERNEL_recurrent_f64, KERNEL_recurrent_f64_by_4}};
  const struct device *device = emit->device;
  uint32_t parts = 1;
  while (device->has_clusters && parts < CLUSTER_MAX && shape->hidden / (2 * parts) >= UNITS_MIN) {
    parts *= 2;
  }
  const uint64_t state_bytes = (uint64_t)STATES * shape->hidden * sum_bytes(shape->type);
  const bool is_many =
      (uint64_t)shape->directions * shape->batch * parts > device->multiprocessors &&
      KERNEL_RECURRENT_AT_ONCE * state_bytes <= STATES_BYTES_MAX;
  const uint32_t at_once = is_many ? KERNEL_RECURRENT_AT_ONCE : 1;
  uint64_t shared_bytes = at_once * state_bytes;
  parameters->parts = parts;
  parameters->units = (shape->hidden + parts - 1) / parts;
  parameters->groups = (shape->batch + at_once - 1) / at_once;
  const uint64_t kept_bytes =
      (uint64_t)shape->gates * parameters->units * shape->hidden * plan_type_bytes(shape->type);
  parameters->is_kept =
      parameters->steps >= STEPS_TO_KEEP && shared_bytes + kept_bytes <= device->shared_bytes_max;
  shared_bytes += parameters->is_kept ? kept_bytes : 0;
  const uint32_t row = shape->type == PLAN_F32 ? 0 : shape->type == PLAN_F16 ? 1 : 2;
  return device_launch_clusters(device, kernels[row][is_many ? 1 : 0], emit->stream,
                                shape->directions * parameters->groups * parts, parts,
                                KERNEL_RECURRENT_THREADS, (uint32_t)shared_bytes, parameters);
}

CUresult emit_recurrent(const struct emit *emit, const struct plan_op *op,
                        const struct choice *choice) {
  const struct shape shape = shape_of(emit->batch, op);
  struct kernel_recurrent parameters;
  describe(emit, op, &shape, &parameters);
  for (uint32_t first = 0; first < shape.steps; first += parameters.steps) {
    const uint32_t left = shape.steps - first;
    parameters.first_step = first;
    parameters.steps = left < shape.stretch_steps ? left : shape.stretch_steps;
    CUresult result = multiply_inputs(emit, op, choice, &shape, first, parameters.steps);
    if (result == CUDA_SUCCESS) {
      result = launch_steps(emit, &shape, &parameters);
    }
    if (result != CUDA_SUCCESS) {
      return result;
    }
  }
  return CUDA_SUCCESS;
}
