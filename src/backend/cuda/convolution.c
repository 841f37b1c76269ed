#include "backend/cuda/convolution.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  PARTS_MAX = 48, /* descriptors of one convolution: tensors, operations, engine, knobs, plan */
  KNOBS_MAX = 20,
  PROPOSALS_MAX = 64,
  UID_X = 1,
  UID_W,
  UID_Y,
  UID_BIAS,
  UID_RESIDUAL,
  UID_SUM, /* virtual ones follow */
};

/* cuDNN's descriptors, given back together. */
struct parts {
  const struct library *library;
  bool has_failed;
  uint32_t count;
  cudnnBackendDescriptor_t items[PARTS_MAX];
};

struct convolution {
  struct parts parts;
  cudnnBackendDescriptor_t plan; /* one of them */
};

static cudnnBackendDescriptor_t make(struct parts *parts, cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t made = NULL;
  if (parts->has_failed || parts->count == PARTS_MAX ||
      parts->library->cudnn.cudnnBackendCreateDescriptor(type, &made) != CUDNN_STATUS_SUCCESS) {
    parts->has_failed = true;
    return NULL;
  }
  parts->items[parts->count++] = made;
  return made;
}

static void set(struct parts *parts, cudnnBackendDescriptor_t part,
                cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                const void *values) {
  parts->has_failed =
      parts->has_failed || parts->library->cudnn.cudnnBackendSetAttribute(
                               part, name, type, count, values) != CUDNN_STATUS_SUCCESS;
}

static void set_part(struct parts *parts, cudnnBackendDescriptor_t part,
                     cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
  set(parts, part, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void seal(struct parts *parts, cudnnBackendDescriptor_t part) {
  parts->has_failed =
      parts->has_failed || parts->library->cudnn.cudnnBackendFinalize(part) != CUDNN_STATUS_SUCCESS;
}

static void give_parts(struct parts *parts) {
  while (parts->count > 0) {
    parts->library->cudnn.cudnnBackendDestroyDescriptor(parts->items[--parts->count]);
  }
}

/* ------------------------------------------------------------------------------- the problem */

static uint32_t alignment_of(CUdeviceptr address) {
  return address == 0 ? 16 : (uint32_t)(address & (~address + 1) & 31);
}

/* (N, C, W) as (N, C, 1, W): cuDNN has no convolution in one dimension. */
static void describe(const struct plan_tensor *tensor, int64_t *ret_dims, int64_t *ret_strides) {
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(tensor, strides);
  const uint32_t shift = tensor->rank == 3 ? 1 : 0;
  for (uint32_t i = 0; i < tensor->rank; i++) {
    const uint32_t at = i < 2 ? i : i + shift;
    ret_strides[at] = (int64_t)strides[i];
    if (ret_dims != NULL) {
      ret_dims[at] = tensor->dims[i];
    }
  }
  if (shift == 1) {
    ret_strides[2] = (int64_t)strides[2] * tensor->dims[2];
    if (ret_dims != NULL) {
      ret_dims[2] = 1;
    }
  }
}

/* Channels last without gaps. */
static void pack(const int64_t *dims, uint32_t axes, int64_t *ret_strides) {
  int64_t step = dims[1];
  ret_strides[1] = 1;
  for (uint32_t i = axes - 1; i >= 2; i--) {
    ret_strides[i] = step;
    step *= dims[i];
  }
  ret_strides[0] = step;
}

/* The half of the scratch memory that no engine is given then. */
CUdeviceptr convolution_aside(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *y = emit_tensor(emit, op->outputs[0]);
  const uint64_t bytes = plan_tensor_elements(y) * (y->type == PLAN_F16 ? 2 : 4);
  return bytes > DEVICE_SCRATCH_BYTES / 2 ? 0 : emit->scratch + DEVICE_SCRATCH_BYTES / 2;
}

void convolution_problem_of(const struct emit *emit, const struct plan_op *op,
                            enum convolution_extent extent,
                            struct convolution_problem *ret_problem) {
  const bool is_bare = extent != CONVOLUTION_WHOLE;
  struct convolution_problem problem;
  memset(&problem, 0, sizeof(problem));
  const struct plan_conv *how = &op->conv;
  const struct plan_tensor *x = emit_tensor(emit, op->inputs[0]);
  problem.type = (uint32_t)x->type;
  problem.precision = (uint32_t)emit->plan->precision;
  problem.axes = x->rank == 3 ? 4 : x->rank;
  describe(x, problem.x_dims, problem.x_strides);
  describe(emit_tensor(emit, op->inputs[1]), problem.w_dims, problem.w_strides);
  describe(emit_tensor(emit, op->outputs[0]), problem.y_dims, problem.y_strides);
  const uint32_t bias = is_bare ? PLAN_NONE : emit_input(op, 2);
  const uint32_t residual = is_bare ? PLAN_NONE : emit_input(op, 3);
  uint32_t alignment = 16;
  const uint32_t output = extent == CONVOLUTION_ASIDE ? PLAN_NONE : op->outputs[0];
  const uint32_t tensors[5] = {op->inputs[0], op->inputs[1], output, bias, residual};
  for (int i = 0; i < 5; i++) {
    const uint32_t its = alignment_of(emit_address(emit, tensors[i]));
    alignment = its != 0 && its < alignment ? its : alignment;
  }
  problem.alignment_bytes = alignment;
  const uint32_t shift = x->rank == 3 ? 1 : 0;
  for (uint32_t i = 0; i < problem.axes - 2; i++) {
    const bool is_given = i >= shift;
    problem.before[i] = is_given ? how->pads_before[i - shift] : 0;
    problem.after[i] = is_given ? how->pads_after[i - shift] : 0;
    problem.strides[i] = is_given ? how->strides[i - shift] : 1;
    problem.dilations[i] = is_given ? how->dilations[i - shift] : 1;
  }
  problem.is_transposed = op->kind == PLAN_OP_CONV_TRANSPOSE;
  problem.scratch_bytes_max = DEVICE_SCRATCH_BYTES;
  if (extent == CONVOLUTION_ASIDE) {
    problem.scratch_bytes_max = DEVICE_SCRATCH_BYTES / 2;
    pack(problem.y_dims, problem.axes, problem.y_strides);
  }
  if (!is_bare) {
    problem.has_bias = bias != PLAN_NONE;
    problem.has_residual = residual != PLAN_NONE;
    problem.residual_last = problem.has_residual != 0 && how->residual_last;
    problem.activation = (uint32_t)how->activation.kind;
    problem.alpha = how->activation.alpha;
    problem.beta = how->activation.beta;
    if (residual != PLAN_NONE) {
      describe(emit_tensor(emit, residual), NULL, problem.z_strides);
    }
  }
  *ret_problem = problem;
}

/* ---------------------------------------------------------------------- cuDNN's graph of it */

static cudnnDataType_t data_type(uint32_t type) {
  return type == PLAN_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

static cudnnBackendDescriptor_t make_tensor(struct parts *parts,
                                            const struct convolution_problem *problem, int64_t uid,
                                            const int64_t *dims, const int64_t *strides) {
  const bool is_virtual = uid >= UID_SUM;
  /* Sums stay in single precision until the end. */
  const cudnnDataType_t type = is_virtual ? CUDNN_DATA_FLOAT : data_type(problem->type);
  const int64_t alignment = problem->alignment_bytes;
  cudnnBackendDescriptor_t tensor = make(parts, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  set(parts, tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  set(parts, tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, problem->axes, dims);
  set(parts, tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, problem->axes, strides);
  set(parts, tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
  set(parts, tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
  if (is_virtual) {
    set(parts, tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  }
  seal(parts, tensor);
  return tensor;
}

static cudnnBackendDescriptor_t make_sum(struct parts *parts,
                                         const struct convolution_problem *problem,
                                         cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                                         cudnnBackendDescriptor_t y) {
  const int64_t spatial = problem->axes - 2;
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  const float one = 1.0F;
  const float zero = 0.0F;
  cudnnBackendDescriptor_t how = make(parts, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, spatial, problem->dilations);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, spatial,
      problem->strides);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, spatial, problem->before);
  set(parts, how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, spatial, problem->after);
  seal(parts, how);
  /* A transposed convolution is how a convolution's gradient gets to its input. */
  static const struct {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, w, y, how, alpha, beta;
  } kinds[2] = {
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA}};
  const int kind = problem->is_transposed != 0 ? 1 : 0;
  cudnnBackendDescriptor_t sum = make(parts, kinds[kind].type);
  set_part(parts, sum, kinds[kind].x, x);
  set_part(parts, sum, kinds[kind].w, w);
  set_part(parts, sum, kinds[kind].y, y);
  set_part(parts, sum, kinds[kind].how, how);
  set(parts, sum, kinds[kind].alpha, CUDNN_TYPE_FLOAT, 1, &one);
  set(parts, sum, kinds[kind].beta, CUDNN_TYPE_FLOAT, 1, &zero);
  seal(parts, sum);
  return sum;
}

static cudnnBackendDescriptor_t make_pointwise(struct parts *parts, cudnnPointwiseMode_t mode) {
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnBackendDescriptor_t how = make(parts, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  set(parts, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  set(parts, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
  return how;
}

/* y = x + b, or y = f(x) with b NULL. */
static cudnnBackendDescriptor_t make_step(struct parts *parts, cudnnBackendDescriptor_t how,
                                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                          cudnnBackendDescriptor_t y) {
  cudnnBackendDescriptor_t step = make(parts, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  set_part(parts, step, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  set_part(parts, step, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  if (b != NULL) {
    set_part(parts, step, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
  }
  set_part(parts, step, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  seal(parts, step);
  return step;
}

/* NULL: cuDNN has no such function. */
static cudnnBackendDescriptor_t make_activation(struct parts *parts,
                                                const struct convolution_problem *problem) {
  static const struct {
    enum plan_activation_kind kind;
    cudnnPointwiseMode_t mode;
  } modes[] = {
      {PLAN_ACT_RELU, CUDNN_POINTWISE_RELU_FWD},
      {PLAN_ACT_SIGMOID, CUDNN_POINTWISE_SIGMOID_FWD},
      {PLAN_ACT_TANH, CUDNN_POINTWISE_TANH_FWD},
      {PLAN_ACT_SWISH, CUDNN_POINTWISE_SWISH_FWD},
      {PLAN_ACT_GELU_ERF, CUDNN_POINTWISE_GELU_FWD},
      {PLAN_ACT_GELU_TANH, CUDNN_POINTWISE_GELU_APPROX_TANH_FWD},
      {PLAN_ACT_CLIP, CUDNN_POINTWISE_RELU_FWD},
      {PLAN_ACT_LEAKY_RELU, CUDNN_POINTWISE_RELU_FWD},
  };
  const double alpha = (double)problem->alpha;
  const double beta = (double)problem->beta;
  for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
    if ((uint32_t)modes[i].kind != problem->activation) {
      continue;
    }
    cudnnBackendDescriptor_t how = make_pointwise(parts, modes[i].mode);
    if (problem->activation == PLAN_ACT_CLIP) {
      set(parts, how, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, CUDNN_TYPE_DOUBLE, 1, &alpha);
      set(parts, how, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, &beta);
    } else if (problem->activation == PLAN_ACT_LEAKY_RELU) {
      set(parts, how, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, &alpha);
    }
    seal(parts, how);
    return how;
  }
  parts->has_failed = true;
  return NULL;
}

/* sum, then what is fused, in cuDNN's order: residual, bias, activation; or the residual last. */
static cudnnBackendDescriptor_t make_graph(struct parts *parts, cudnnHandle_t handle,
                                           const struct convolution_problem *problem) {
  enum { SUM, RESIDUAL, BIAS, ACTIVATION, RESIDUAL_LAST, STEPS };
  const bool has[STEPS] = {
      [SUM] = true,
      [RESIDUAL] = problem->has_residual != 0 && problem->residual_last == 0,
      [BIAS] = problem->has_bias != 0,
      [ACTIVATION] = problem->activation != PLAN_ACT_NONE,
      [RESIDUAL_LAST] = problem->has_residual != 0 && problem->residual_last != 0,
  };
  int last = SUM;
  for (int i = SUM; i < STEPS; i++) {
    last = has[i] ? i : last;
  }
  cudnnBackendDescriptor_t operations[STEPS];
  int64_t count = 0;
  cudnnBackendDescriptor_t value = NULL;
  const int64_t channels = problem->y_dims[1];
  int64_t bias_dims[CONVOLUTION_AXES_MAX] = {1, channels, 1, 1, 1};
  int64_t bias_strides[CONVOLUTION_AXES_MAX] = {channels, 1, channels, channels, channels};
  for (int i = SUM; i < STEPS; i++) {
    if (!has[i]) {
      continue;
    }
    cudnnBackendDescriptor_t to = make_tensor(parts, problem, i == last ? UID_Y : UID_SUM + i,
                                              problem->y_dims, problem->y_strides);
    if (i == SUM) {
      cudnnBackendDescriptor_t x =
          make_tensor(parts, problem, UID_X, problem->x_dims, problem->x_strides);
      cudnnBackendDescriptor_t w =
          make_tensor(parts, problem, UID_W, problem->w_dims, problem->w_strides);
      operations[count++] = make_sum(parts, problem, x, w, to);
    } else if (i == ACTIVATION) {
      operations[count++] = make_step(parts, make_activation(parts, problem), value, NULL, to);
    } else {
      cudnnBackendDescriptor_t other =
          i == BIAS
              ? make_tensor(parts, problem, UID_BIAS, bias_dims, bias_strides)
              : make_tensor(parts, problem, UID_RESIDUAL, problem->y_dims, problem->z_strides);
      cudnnBackendDescriptor_t add = make_pointwise(parts, CUDNN_POINTWISE_ADD);
      seal(parts, add);
      operations[count++] = make_step(parts, add, value, other, to);
    }
    value = to;
  }
  cudnnBackendDescriptor_t graph = make(parts, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  set(parts, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
      operations);
  set(parts, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  seal(parts, graph);
  return graph;
}

/* --------------------------------------------------------------------------------- proposals */

static bool has_note(const struct library *library, cudnnBackendDescriptor_t engine, int note) {
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  int64_t count = 0;
  if (library->cudnn.cudnnBackendGetAttribute(
          engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
          CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes) != CUDNN_STATUS_SUCCESS) {
    return true; /* unknown is unfit */
  }
  for (int64_t i = 0; i < count; i++) {
    if ((int)notes[i] == note) {
      return true;
    }
  }
  return false;
}

static bool is_compiled_when_used(const struct library *library, cudnnBackendDescriptor_t engine) {
  cudnnBackendBehaviorNote_t notes[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
  int64_t count = 0;
  if (library->cudnn.cudnnBackendGetAttribute(
          engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
          CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &count, notes) != CUDNN_STATUS_SUCCESS) {
    return false;
  }
  for (int64_t i = 0; i < count; i++) {
    if (notes[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) {
      return true;
    }
  }
  return false;
}

/* Whether an engine computes as exactly as the precision asks, and alike each time. Winograd's
 * larger tiles lose three digits in half precision. */
static bool is_exact_enough(const struct library *library, cudnnBackendDescriptor_t engine,
                            uint32_t precision) {
  static const int never[] = {
      CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
      CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
      CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13};
  for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
    if (has_note(library, engine, never[i])) {
      return false;
    }
  }
  return precision != PLAN_FP32 || !has_note(library, engine, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
}

/* "e17 2=3 14=1": the engine, then knob=value. False: more knobs than fit. */
static bool write_text(struct parts *parts, cudnnBackendDescriptor_t config,
                       cudnnBackendDescriptor_t engine, char *ret_text) {
  const struct library *library = parts->library;
  int64_t index = 0;
  int64_t count = 0;
  if (library->cudnn.cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                              CUDNN_TYPE_INT64, 1, &count,
                                              &index) != CUDNN_STATUS_SUCCESS) {
    return false;
  }
  cudnnBackendDescriptor_t knobs[KNOBS_MAX];
  struct parts knob_parts = {.library = library};
  for (int i = 0; i < KNOBS_MAX; i++) {
    knobs[i] = make(&knob_parts, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
  }
  int64_t knobs_count = 0;
  bool is_whole = !knob_parts.has_failed &&
                  library->cudnn.cudnnBackendGetAttribute(
                      config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                      KNOBS_MAX, &knobs_count, knobs) == CUDNN_STATUS_SUCCESS &&
                  knobs_count <= KNOBS_MAX;
  int used = snprintf(ret_text, CONVOLUTION_TEXT_BYTES, "e%lld", (long long)index);
  for (int64_t i = 0; is_whole && i < knobs_count; i++) {
    cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
    int64_t value = 0;
    is_whole = library->cudnn.cudnnBackendGetAttribute(knobs[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                                       CUDNN_TYPE_KNOB_TYPE, 1, &count,
                                                       &type) == CUDNN_STATUS_SUCCESS &&
               library->cudnn.cudnnBackendGetAttribute(knobs[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                                       CUDNN_TYPE_INT64, 1, &count,
                                                       &value) == CUDNN_STATUS_SUCCESS;
    used += snprintf(ret_text + used, (size_t)(CONVOLUTION_TEXT_BYTES - used), " %d=%lld",
                     (int)type, (long long)value);
    is_whole = is_whole && used < CONVOLUTION_TEXT_BYTES - 32;
  }
  give_parts(&knob_parts);
  return is_whole;
}

static uint32_t propose_from(struct parts *parts, cudnnBackendDescriptor_t graph,
                             const struct convolution_problem *problem, cudnnBackendHeurMode_t mode,
                             bool compiled, char (*ret_texts)[CONVOLUTION_TEXT_BYTES],
                             uint32_t capacity) {
  const struct library *library = parts->library;
  struct parts own = {.library = library};
  cudnnBackendDescriptor_t heuristic = make(&own, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  set_part(&own, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  set(&own, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  seal(&own, heuristic);
  uint32_t found = 0;
  int64_t configs_count = 0;
  cudnnBackendDescriptor_t configs[PROPOSALS_MAX] = {NULL};
  struct parts config_parts = {.library = library};
  int64_t room = 0;
  while (room < PARTS_MAX && !own.has_failed) {
    configs[room] = make(&config_parts, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    room++;
  }
  const bool has_any = !own.has_failed && !config_parts.has_failed &&
                       library->cudnn.cudnnBackendGetAttribute(
                           heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                           room, &configs_count, configs) == CUDNN_STATUS_SUCCESS;
  for (int64_t i = 0; has_any && i < configs_count && i < room && found < capacity; i++) {
    struct parts engine_parts = {.library = library};
    cudnnBackendDescriptor_t engine = make(&engine_parts, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    int64_t count = 0;
    if (!engine_parts.has_failed &&
        library->cudnn.cudnnBackendGetAttribute(configs[i], CUDNN_ATTR_ENGINECFG_ENGINE,
                                                CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                                &engine) == CUDNN_STATUS_SUCCESS &&
        is_exact_enough(library, engine, problem->precision) &&
        (compiled || !is_compiled_when_used(library, engine)) &&
        write_text(&engine_parts, configs[i], engine, ret_texts[found])) {
      found++;
    }
    give_parts(&engine_parts);
  }
  give_parts(&config_parts);
  give_parts(&own);
  return found;
}

uint32_t convolution_propose(const struct device *device, cudnnHandle_t handle,
                             const struct convolution_problem *problem, bool compiled,
                             char (*ret_texts)[CONVOLUTION_TEXT_BYTES], uint32_t capacity) {
  struct parts parts = {.library = device->library};
  cudnnBackendDescriptor_t graph = make_graph(&parts, handle, problem);
  uint32_t found = 0;
  if (!parts.has_failed) {
    found = propose_from(&parts, graph, problem, CUDNN_HEUR_MODE_A, compiled, ret_texts, capacity);
    if (found == 0) {
      found = propose_from(&parts, graph, problem, CUDNN_HEUR_MODE_FALLBACK, compiled, ret_texts,
                           capacity);
    }
  }
  give_parts(&parts);
  return found;
}

/* -------------------------------------------------------------------------------------- plans */

/* What a text says. */
struct setting {
  int64_t engine;
  uint32_t knobs_count;
  struct {
    cudnnBackendKnobType_t type;
    int64_t value;
  } knobs[KNOBS_MAX];
};

static bool read_text(const char *text, struct setting *ret_setting) {
  struct setting setting = {.knobs_count = 0};
  char *rest = NULL;
  if (text[0] != 'e') {
    return false;
  }
  setting.engine = strtoll(text + 1, &rest, 10);
  while (*rest == ' ' && setting.knobs_count < KNOBS_MAX) {
    const uint32_t at = setting.knobs_count++;
    setting.knobs[at].type = (cudnnBackendKnobType_t)strtol(rest + 1, &rest, 10);
    if (*rest != '=') {
      return false;
    }
    setting.knobs[at].value = strtoll(rest + 1, &rest, 10);
  }
  *ret_setting = setting;
  return *rest == '\0';
}

static cudnnBackendDescriptor_t make_engine(struct parts *parts, cudnnBackendDescriptor_t graph,
                                            int64_t index) {
  cudnnBackendDescriptor_t engine = make(parts, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  set_part(parts, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
  set(parts, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
  seal(parts, engine);
  return engine;
}

/* Reads what write_text() wrote into an engine configuration. */
static cudnnBackendDescriptor_t read_config(struct parts *parts, cudnnBackendDescriptor_t graph,
                                            const char *text) {
  struct setting setting;
  if (!read_text(text, &setting)) {
    parts->has_failed = true;
    return NULL;
  }
  cudnnBackendDescriptor_t engine = make_engine(parts, graph, setting.engine);
  cudnnBackendDescriptor_t knobs[KNOBS_MAX];
  int64_t count = 0;
  for (uint32_t i = 0; i < setting.knobs_count; i++) {
    cudnnBackendDescriptor_t knob = make(parts, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    set(parts, knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1,
        &setting.knobs[i].type);
    set(parts, knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
        &setting.knobs[i].value);
    seal(parts, knob);
    knobs[count++] = knob;
  }
  cudnnBackendDescriptor_t config = make(parts, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  set_part(parts, config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  if (count > 0) {
    set(parts, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
        knobs);
  }
  seal(parts, config);
  return config;
}

struct convolution *convolution_create(const struct device *device,
                                       const struct convolution_problem *problem,
                                       const char *text) {
  struct convolution *convolution = calloc(1, sizeof(*convolution));
  if (convolution == NULL) {
    return NULL;
  }
  struct parts *parts = &convolution->parts;
  parts->library = device->library;
  cudnnBackendDescriptor_t graph = make_graph(parts, device->cudnn, problem);
  cudnnBackendDescriptor_t config = parts->has_failed ? NULL : read_config(parts, graph, text);
  if (!parts->has_failed) {
    convolution->plan = make(parts, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(parts, convolution->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &device->cudnn);
    set_part(parts, convolution->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    seal(parts, convolution->plan);
  }
  int64_t count = 0;
  int64_t scratch_bytes = 0;
  if (parts->has_failed ||
      device->library->cudnn.cudnnBackendGetAttribute(
          convolution->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
          &scratch_bytes) != CUDNN_STATUS_SUCCESS ||
      scratch_bytes > (int64_t)problem->scratch_bytes_max) {
    convolution_destroy(device, convolution);
    return NULL;
  }
  return convolution;
}

void convolution_destroy(const struct device *device, struct convolution *convolution) {
  (void)device;
  if (convolution == NULL) {
    return;
  }
  give_parts(&convolution->parts);
  free(convolution);
}

/* The driver's addresses are integers, cuDNN's are pointers. */
static void *pointer_to(CUdeviceptr address) {
  return (void *)(uintptr_t)address;
}

CUresult convolution_run(const struct device *device, const struct convolution *convolution,
                         CUdeviceptr x, CUdeviceptr w, CUdeviceptr y, CUdeviceptr bias,
                         CUdeviceptr residual, CUdeviceptr scratch) {
  int64_t uids[5] = {UID_X, UID_W, UID_Y};
  void *pointers[5] = {pointer_to(x), pointer_to(w), pointer_to(y)};
  int64_t count = 3;
  if (bias != 0) {
    uids[count] = UID_BIAS;
    pointers[count++] = pointer_to(bias);
  }
  if (residual != 0) {
    uids[count] = UID_RESIDUAL;
    pointers[count++] = pointer_to(residual);
  }
  void *workspace = pointer_to(scratch);
  struct parts parts = {.library = device->library};
  cudnnBackendDescriptor_t pack = make(&parts, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  set(&parts, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids);
  set(&parts, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers);
  set(&parts, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  seal(&parts, pack);
  const bool is_done = !parts.has_failed &&
                       device->library->cudnn.cudnnBackendExecute(device->cudnn, convolution->plan,
                                                                  pack) == CUDNN_STATUS_SUCCESS;
  give_parts(&parts);
  return is_done ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}
