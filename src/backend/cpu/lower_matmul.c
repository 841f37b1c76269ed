/* Matrix products. */
#include <string.h>

#include "backend/cpu/builder.h"

struct matmul {
  const struct plan_op *op;
  uint32_t rank; /* of all three, with ones in front */
  dnnl_memory_desc_t a;
  dnnl_memory_desc_t b;
  dnnl_memory_desc_t y;
  dnnl_memory_desc_t bias;
};

static dnnl_memory_desc_t describe(const struct plan_tensor *tensor, uint32_t rank,
                                   bool is_transposed) {
  dnnl_dims_t dims;
  dnnl_dims_t distances;
  const uint32_t ones = rank - tensor->rank;
  dnnl_dim_t distance = 1;
  for (uint32_t i = tensor->rank; i-- > 0;) {
    dims[ones + i] = tensor->dims[i];
    distances[ones + i] = distance;
    distance *= tensor->dims[i];
  }
  for (uint32_t i = 0; i < ones; i++) {
    dims[i] = 1;
    distances[i] = distance;
  }
  if (is_transposed) {
    const dnnl_dim_t dim = dims[rank - 1];
    const dnnl_dim_t stride = distances[rank - 1];
    dims[rank - 1] = dims[rank - 2];
    distances[rank - 1] = distances[rank - 2];
    dims[rank - 2] = dim;
    distances[rank - 2] = stride;
  }
  dnnl_memory_desc_t desc;
  dnnl_memory_desc_init_by_strides(&desc, (int)rank, dims, dnnl_f32, distances);
  return desc;
}

/* Rows of all leading dims as one matrix. */
static struct plan_tensor as_matrix(const struct plan_tensor *tensor) {
  struct plan_tensor matrix = *tensor;
  uint64_t rows = 1;
  for (uint32_t i = 0; i + 1 < tensor->rank; i++) {
    rows *= tensor->dims[i];
  }
  matrix.rank = 2;
  matrix.dims[0] = (uint32_t)rows;
  matrix.dims[1] = tensor->dims[tensor->rank - 1];
  return matrix;
}

static bool is_same_home(const struct builder *builder, uint32_t a, uint32_t b) {
  if (builder_is_weights(builder, a)) {
    return false;
  }
  struct program_area x;
  struct program_area y;
  dnnl_memory_desc_t desc;
  builder_home(builder, a, &x, &desc);
  builder_home(builder, b, &y, &desc);
  return x.place == y.place && x.storage == y.storage && x.offset_bytes == y.offset_bytes;
}

static bool has_input(const struct plan_op *op, uint32_t input) {
  return op->inputs_count > input && op->inputs[input] != PLAN_NONE;
}

static void describe_all(const struct builder *builder, struct matmul *matmul) {
  const struct plan_op *op = matmul->op;
  struct plan_tensor a = *builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *b = builder_tensor(builder, op->inputs[1]);
  struct plan_tensor y = *builder_tensor(builder, op->outputs[0]);
  if (b->rank == 2 && !op->matmul.transpose_a) {
    a = as_matrix(&a);
    y = as_matrix(&y);
  }
  uint32_t rank = a.rank > b->rank ? a.rank : b->rank;
  rank = rank > y.rank ? rank : y.rank;
  matmul->rank = rank;
  matmul->a = describe(&a, rank, op->matmul.transpose_a);
  matmul->b = describe(b, rank, op->matmul.transpose_b);
  matmul->y = describe(&y, rank, false);
  dnnl_dims_t dims;
  for (uint32_t i = 0; i < rank; i++) {
    dims[i] = i + 1 < rank ? 1 : matmul->y.dims[rank - 1];
  }
  matmul->bias = desc_rows(rank, dims, dnnl_f32);
}

/* Memory of a tensor under a description of the same bytes. */
static uint32_t memory_as(struct builder *builder, uint32_t tensor,
                          const dnnl_memory_desc_t *desc) {
  if (builder_is_weights(builder, tensor)) {
    const struct program_area area = builder_weights_verbatim(builder, tensor);
    return builder_memory(builder, &area, desc);
  }
  struct program_area area;
  dnnl_memory_desc_t home;
  builder_home(builder, tensor, &area, &home);
  return builder_memory(builder, &area, desc);
}

static bool can_be_read(const struct builder *builder, const struct plan_op *op) {
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != PLAN_NONE) {
      const struct plan_tensor *tensor = builder_tensor(builder, op->inputs[i]);
      if (tensor->type != PLAN_F32 || (!builder_is_weights(builder, op->inputs[i]) &&
                                       builder_home_is_blocked(builder, op->inputs[i]))) {
        return false;
      }
    }
  }
  return !builder_home_is_blocked(builder, op->outputs[0]);
}

bool lower_matmul(struct builder *builder, const struct plan_op *op) {
  struct matmul matmul = {.op = op};
  if (!can_be_read(builder, op)) {
    return false;
  }
  describe_all(builder, &matmul);
  const bool has_bias = has_input(op, 2);
  const bool has_residual = has_input(op, 3);
  const bool is_in_place = has_residual && is_same_home(builder, op->inputs[3], op->outputs[0]);
  struct post post;
  struct arguments arguments = {.count = 0};
  post_open(&post);
  post_scale(&post, op->matmul.alpha);
  /* oneDNN's own bias would be scaled too. */
  const bool has_post_bias = has_bias && op->matmul.alpha != 1.0F;
  if (has_post_bias) {
    const int name = post_add_binary(&post, dnnl_binary_add, &matmul.bias);
    arguments_add(&arguments, name, memory_as(builder, op->inputs[2], &matmul.bias));
  }
  if (is_in_place) {
    post_add_sum(&post);
  } else if (has_residual) {
    const int name = post_add_binary(&post, dnnl_binary_add, &matmul.y);
    arguments_add(&arguments, name, memory_as(builder, op->inputs[3], &matmul.y));
  }
  const bool has_function = post_add_activation(&post, &op->matmul.activation);
  dnnl_primitive_attr_t attr = post_close(&post);
  dnnl_matmul_desc_t desc;
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      has_function && attr != NULL &&
      dnnl_matmul_desc_init(&desc, &matmul.a, &matmul.b,
                            has_bias && !has_post_bias ? &matmul.bias : NULL,
                            &matmul.y) == dnnl_success &&
      dnnl_primitive_desc_create(&primitive, &desc, attr, builder->engine, NULL) == dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  arguments_add(&arguments, DNNL_ARG_SRC, memory_as(builder, op->inputs[0], &matmul.a));
  arguments_add(&arguments, DNNL_ARG_WEIGHTS, memory_as(builder, op->inputs[1], &matmul.b));
  if (has_bias && !has_post_bias) {
    arguments_add(&arguments, DNNL_ARG_BIAS, memory_as(builder, op->inputs[2], &matmul.bias));
  }
  arguments_add(&arguments, DNNL_ARG_DST, memory_as(builder, op->outputs[0], &matmul.y));
  builder_emit(builder, primitive, &arguments);
  return true;
}
