/* Matrix products with weights, by packed_product.h. */
#include <stdlib.h>

#include "backend/cpu/builder.h"
#include "backend/cpu/packed_product.h"

enum area { AREA_X, AREA_W, AREA_BIAS, AREA_RESIDUAL, AREA_Y, AREAS };

/* Multiplications that are worth the team's few us. */
enum { PRODUCTS_PER_PART = 1 << 16 };

static void run_product(const void *shape, unsigned char *const *data, uint32_t part,
                        uint32_t parts) {
  const struct packed_operands operands = {.x = (const void *)data[AREA_X],
                                           .w = (const void *)data[AREA_W],
                                           .bias = (const void *)data[AREA_BIAS],
                                           .residual = (const void *)data[AREA_RESIDUAL],
                                           .y = (void *)data[AREA_Y]};
  packed_product_run(shape, &operands, part, parts);
}

static bool has_input(const struct plan_op *op, uint32_t input) {
  return op->inputs_count > input && op->inputs[input] != PLAN_NONE;
}

/* All in rows of single precision, the second factor one matrix of weights. */
static bool can_pack(const struct builder *builder, const struct plan_op *op) {
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] == PLAN_NONE) {
      continue;
    }
    const bool is_weights = builder_is_weights(builder, op->inputs[i]);
    if (builder_tensor(builder, op->inputs[i])->type != PLAN_F32 ||
        (!is_weights && builder_home_is_blocked(builder, op->inputs[i]))) {
      return false;
    }
  }
  return builder_tensor(builder, op->inputs[1])->rank == 2 &&
         builder_is_weights(builder, op->inputs[1]) && !op->matmul.transpose_a &&
         !builder_home_is_blocked(builder, op->outputs[0]) &&
         packed_product_has_activation(&op->matmul.activation);
}

static struct program_area area_of(struct builder *builder, const struct plan_op *op,
                                   uint32_t input) {
  struct program_area area = {.place = PROGRAM_PLACES};
  if (!has_input(op, input)) {
    return area;
  }
  if (builder_is_weights(builder, op->inputs[input])) {
    return builder_weights_verbatim(builder, op->inputs[input]);
  }
  dnnl_memory_desc_t desc;
  builder_home(builder, op->inputs[input], &area, &desc);
  return area;
}

static struct program_area pack(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *w = builder_tensor(builder, op->inputs[1]);
  const bool is_transposed = op->matmul.transpose_b;
  const dnnl_dims_t dims = {w->dims[is_transposed ? 1 : 0], w->dims[is_transposed ? 0 : 1], 1};
  const dnnl_dims_t strides = {is_transposed ? 1 : w->dims[1], is_transposed ? w->dims[1] : 1, 1};
  dnnl_memory_desc_t from;
  dnnl_memory_desc_init_by_strides(&from, 3, dims, dnnl_f32, strides);
  const dnnl_memory_desc_t to = desc_panels(dims[0], dims[1]);
  return builder_weights_area(builder, op->inputs[1], &from, &to);
}

bool lower_packed_product(struct builder *builder, const struct plan_op *op) {
  if (!can_pack(builder, op)) {
    return false;
  }
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  struct packed_product *product = calloc(1, sizeof(*product));
  if (product == NULL) {
    builder->error = ERR_NO_MEMORY;
    return true;
  }
  *product = (struct packed_product){.depth = x->dims[x->rank - 1],
                                     .columns = y->dims[y->rank - 1],
                                     .alpha = op->matmul.alpha,
                                     .activation = op->matmul.activation};
  product->rows = (uint32_t)(plan_tensor_elements(y) / product->columns);
  const uint64_t products = plan_tensor_elements(y) * product->depth / PRODUCTS_PER_PART;
  struct program_native native = {.run = run_product,
                                  .shape = product,
                                  .areas_count = AREAS,
                                  .parts = products >= builder->team ? builder->team
                                           : products == 0           ? 1
                                                                     : (uint32_t)products};
  native.areas[AREA_X] = area_of(builder, op, 0);
  native.areas[AREA_W] = pack(builder, op);
  native.areas[AREA_BIAS] = area_of(builder, op, 2);
  native.areas[AREA_RESIDUAL] = area_of(builder, op, 3);
  dnnl_memory_desc_t desc;
  builder_home(builder, op->outputs[0], &native.areas[AREA_Y], &desc);
  builder_emit_native(builder, &native, "product");
  return true;
}
