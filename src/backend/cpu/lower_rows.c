/* Softmax, layer normalisation, transposition, concatenation, slices: operations over rows. */
#include "backend/cpu/builder.h"

static bool is_plain_float(const struct builder *builder, uint32_t tensor) {
  return builder_tensor(builder, tensor)->type == PLAN_F32 &&
         (builder_is_weights(builder, tensor) || !builder_home_is_blocked(builder, tensor));
}

/* The tensor's bytes under another description. */
static uint32_t memory_as(struct builder *builder, uint32_t tensor,
                          const dnnl_memory_desc_t *desc) {
  struct program_area area;
  if (builder_is_weights(builder, tensor)) {
    area = builder_weights_verbatim(builder, tensor);
  } else {
    dnnl_memory_desc_t home;
    builder_home(builder, tensor, &area, &home);
  }
  return builder_memory(builder, &area, desc);
}

bool lower_softmax(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  if (op->softmax.hard || !is_plain_float(builder, op->inputs[0]) ||
      !is_plain_float(builder, op->outputs[0])) {
    return false;
  }
  dnnl_dims_t dims = {1, 1, 1};
  for (uint32_t i = 0; i < x->rank; i++) {
    dims[i < op->softmax.axis ? 0 : i == op->softmax.axis ? 1 : 2] *= x->dims[i];
  }
  const dnnl_memory_desc_t rows = desc_rows(dims[2] == 1 ? 2 : 3, dims, dnnl_f32);
  struct post post;
  post_open(&post);
  dnnl_softmax_desc_t desc;
  dnnl_logsoftmax_desc_t log_desc;
  const bool is_log = op->softmax.logarithm;
  dnnl_primitive_desc_t primitive = NULL;
  dnnl_status_t status =
      is_log ? dnnl_logsoftmax_forward_desc_init(&log_desc, dnnl_forward_inference, &rows, 1)
             : dnnl_softmax_forward_desc_init(&desc, dnnl_forward_inference, &rows, 1);
  if (status == dnnl_success) {
    const void *wanted = is_log ? (const void *)&log_desc : (const void *)&desc;
    status =
        dnnl_primitive_desc_create(&primitive, wanted, post_close(&post), builder->engine, NULL);
  }
  post_finish(&post);
  if (status != dnnl_success) {
    return false;
  }
  if (primitive_is_reference(primitive)) {
    dnnl_primitive_desc_destroy(primitive);
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC, memory_as(builder, op->inputs[0], &rows));
  arguments_add(&arguments, DNNL_ARG_DST, memory_as(builder, op->outputs[0], &rows));
  builder_emit(builder, primitive, &arguments);
  return true;
}

bool lower_layer_norm(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  if (op->normalize.rms || !is_plain_float(builder, op->outputs[0])) {
    return false;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != PLAN_NONE && !is_plain_float(builder, op->inputs[i])) {
      return false;
    }
  }
  dnnl_dims_t dims = {1, 1};
  for (uint32_t i = 0; i < x->rank; i++) {
    dims[i < op->normalize.axis ? 0 : 1] *= x->dims[i];
  }
  const dnnl_memory_desc_t rows = desc_rows(2, dims, dnnl_f32);
  const dnnl_memory_desc_t row = desc_rows(1, &dims[1], dnnl_f32);
  const bool has_scale = op->inputs_count > 1 && op->inputs[1] != PLAN_NONE;
  const bool has_shift = op->inputs_count > 2 && op->inputs[2] != PLAN_NONE;
  const unsigned flags =
      (has_scale ? (unsigned)dnnl_use_scale : 0) | (has_shift ? (unsigned)dnnl_use_shift : 0);
  struct post post;
  post_open(&post);
  dnnl_layer_normalization_desc_t desc;
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      dnnl_layer_normalization_forward_desc_init(&desc, dnnl_forward_inference, &rows, NULL,
                                                 op->normalize.epsilon, flags) == dnnl_success &&
      dnnl_primitive_desc_create(&primitive, &desc, post_close(&post), builder->engine, NULL) ==
          dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC, memory_as(builder, op->inputs[0], &rows));
  if (has_scale) {
    arguments_add(&arguments, DNNL_ARG_SCALE, memory_as(builder, op->inputs[1], &row));
  }
  if (has_shift) {
    arguments_add(&arguments, DNNL_ARG_SHIFT, memory_as(builder, op->inputs[2], &row));
  }
  arguments_add(&arguments, DNNL_ARG_DST, memory_as(builder, op->outputs[0], &rows));
  builder_emit(builder, primitive, &arguments);
  return true;
}

/* Axes that stay neighbours count as one: oneDNN's fast reorders know few dims. */
bool lower_transpose(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  if (!is_plain_float(builder, op->inputs[0]) || !is_plain_float(builder, op->outputs[0])) {
    return false;
  }
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(x, strides);
  dnnl_dims_t dims = {1};
  dnnl_dims_t distances = {1};
  for (uint32_t i = 0; i < y->rank; i++) {
    dims[i] = y->dims[i];
    distances[i] = (dnnl_dim_t)strides[op->transpose.permutation[i]];
  }
  const int rank = y->rank == 0 ? 1 : (int)y->rank;
  dnnl_memory_desc_t from;
  if (dnnl_memory_desc_init_by_strides(&from, rank, dims, dnnl_f32, distances) != dnnl_success) {
    return false;
  }
  const dnnl_memory_desc_t to = desc_rows((uint32_t)rank, dims, dnnl_f32);
  struct post post;
  post_open(&post);
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      dnnl_reorder_primitive_desc_create(&primitive, &from, builder->engine, &to, builder->engine,
                                         post_close(&post)) == dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_FROM, memory_as(builder, op->inputs[0], &from));
  arguments_add(&arguments, DNNL_ARG_TO, memory_as(builder, op->outputs[0], &to));
  builder_emit(builder, primitive, &arguments);
  return true;
}

/* Images in groups of channels are put together as such if each part fills its groups. */
static bool can_concat_blocked(const struct builder *builder, const struct plan_op *op) {
  if (!builder_home_is_blocked(builder, op->outputs[0]) || op->axis != 1) {
    return false;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (builder_tensor(builder, op->inputs[i])->dims[1] % BLOCK != 0) {
      return false;
    }
  }
  return true;
}

bool lower_concat(struct builder *builder, const struct plan_op *op) {
  enum { PARTS_MAX = 32 };
  if (op->inputs_count > PARTS_MAX || !can_concat_blocked(builder, op)) {
    return false;
  }
  dnnl_memory_desc_t parts[PARTS_MAX];
  dnnl_dims_t dims;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    desc_dims(builder_tensor(builder, op->inputs[i]), dims);
    parts[i] = desc_blocked(dims);
  }
  desc_dims(builder_tensor(builder, op->outputs[0]), dims);
  const dnnl_memory_desc_t whole = desc_blocked(dims);
  struct post post;
  post_open(&post);
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      dnnl_concat_primitive_desc_create(&primitive, &whole, (int)op->inputs_count, 1, parts,
                                        post_close(&post), builder->engine) == dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    arguments_add(&arguments, DNNL_ARG_MULTIPLE_SRC + (int)i,
                  builder_source(builder, op->inputs[i], &parts[i]));
  }
  const struct target target = builder_target(builder, op->outputs[0], &whole);
  arguments_add(&arguments, DNNL_ARG_DST, target.memory);
  builder_emit(builder, primitive, &arguments);
  builder_settle(builder, &target);
  return true;
}

/* Whole groups of channels of an image in groups: they lie behind each other. All else is the
 * kernels'. */
bool lower_slice(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  if (builder_is_weights(builder, op->inputs[0]) ||
      !builder_home_is_blocked(builder, op->inputs[0]) ||
      !builder_home_is_blocked(builder, op->outputs[0]) || op->slice.starts[1] % BLOCK != 0 ||
      y->dims[1] % BLOCK != 0) {
    return false;
  }
  for (uint32_t i = 0; i < y->rank; i++) {
    if (op->slice.steps[i] != 1 || (i != 1 && y->dims[i] != x->dims[i])) {
      return false;
    }
  }
  struct program_area area;
  dnnl_memory_desc_t desc;
  builder_home(builder, op->inputs[0], &area, &desc);
  dnnl_dims_t dims;
  desc_dims(y, dims);
  dnnl_memory_desc_t part = desc_blocked(dims);
  part.format_desc.blocking.strides[0] = desc.format_desc.blocking.strides[0];
  area.offset_bytes += (uint64_t)op->slice.starts[1] * y->dims[2] * y->dims[3] * sizeof(float);
  struct target target = {.tensor = op->outputs[0],
                          .memory = builder_memory(builder, &area, &part)};
  builder_settle(builder, &target);
  return true;
}
