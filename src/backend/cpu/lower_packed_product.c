/* Matrix products with weights, and transposed convolutions as such, by packed_product.h. */
#include <stdlib.h>

#include "backend/cpu/builder.h"
#include "backend/cpu/packed_product.h"
#include "backend/cpu/scatter.h"

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

static uint32_t parts_of(const struct builder *builder, const struct packed_product *product) {
  const uint64_t parts =
      (uint64_t)product->rows * product->columns * product->depth / PRODUCTS_PER_PART;
  return parts >= builder->team ? builder->team : parts == 0 ? 1 : (uint32_t)parts;
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
  struct program_native native = {.run = run_product,
                                  .shape = product,
                                  .areas_count = AREAS,
                                  .parts = parts_of(builder, product)};
  native.areas[AREA_X] = area_of(builder, op, 0);
  native.areas[AREA_W] = pack(builder, op);
  native.areas[AREA_BIAS] = area_of(builder, op, 2);
  native.areas[AREA_RESIDUAL] = area_of(builder, op, 3);
  dnnl_memory_desc_t desc;
  builder_home(builder, op->outputs[0], &native.areas[AREA_Y], &desc);
  builder_emit_native(builder, &native, "product");
  return true;
}

/* ---- transposed convolutions ----------------------------------------------------------------- */

enum scatter_area { AREA_GIVEN, AREA_SCATTER_BIAS, AREA_SUMS, SCATTER_AREAS };

static void run_scatter(const void *shape, unsigned char *const *data, uint32_t part,
                        uint32_t parts) {
  scatter_run(shape, (const void *)data[AREA_GIVEN], (const void *)data[AREA_SCATTER_BIAS],
              (void *)data[AREA_SUMS], part, parts);
}

static bool can_scatter(const struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *w = builder_tensor(builder, op->inputs[1]);
  const bool has_bias = has_input(op, 2);
  return op->conv.spatial == 2 && op->conv.groups == 1 && x->type == PLAN_F32 && x->rank == 4 &&
         w->dims[2] <= SCATTER_KERNEL_MAX && w->dims[3] <= SCATTER_KERNEL_MAX &&
         builder_is_weights(builder, op->inputs[1]) && !has_input(op, 3) &&
         (!has_bias || builder_is_weights(builder, op->inputs[2])) &&
         packed_product_has_activation(&op->conv.activation);
}

/* (C, K, R, S) as a matrix of C rows; its columns are the places of the kernel, and in each of them
 * the outputs in whole panels. */
static struct program_area pack_kernel(struct builder *builder, const struct plan_op *op,
                                       uint32_t pitch) {
  const struct plan_tensor *w = builder_tensor(builder, op->inputs[1]);
  dnnl_dims_t dims;
  desc_dims(w, dims);
  dnnl_memory_desc_t to;
  dnnl_memory_desc_init_by_tag(&to, 4, dims, dnnl_f32, dnnl_aBcd16b);
  const dnnl_dim_t panel = PACKED_PANEL * dims[0];
  const dnnl_dim_t place = panel * (pitch / PACKED_PANEL);
  to.format_desc.blocking.strides[0] = PACKED_PANEL;
  to.format_desc.blocking.strides[1] = panel;
  to.format_desc.blocking.strides[2] = place * dims[3];
  to.format_desc.blocking.strides[3] = place;
  const dnnl_memory_desc_t from = desc_plain(w);
  return builder_weights_area(builder, op->inputs[1], &from, &to);
}

static dnnl_memory_desc_t channels_last(const struct plan_tensor *tensor) {
  struct plan_tensor dense = *tensor;
  dense.layout = PLAN_CHANNELS_LAST;
  dense.pitch = dense.dims[1];
  return desc_plain(&dense);
}

static void emit_given(struct builder *builder, const struct plan_op *op,
                       struct packed_product *product, const struct scatter *scatter,
                       uint32_t given) {
  const dnnl_memory_desc_t layout = channels_last(builder_tensor(builder, op->inputs[0]));
  const uint32_t source = builder_source(builder, op->inputs[0], &layout);
  if (source == PLAN_NONE || given == PLAN_NONE) {
    free(product);
    return;
  }
  struct program_native native = {.run = run_product,
                                  .shape = product,
                                  .areas_count = AREAS,
                                  .parts = parts_of(builder, product)};
  native.areas[AREA_X] = builder->program->memories[source].area;
  native.areas[AREA_W] = pack_kernel(builder, op, scatter->pitch);
  native.areas[AREA_BIAS].place = PROGRAM_PLACES;
  native.areas[AREA_RESIDUAL].place = PROGRAM_PLACES;
  native.areas[AREA_Y] = builder->program->memories[given].area;
  builder_emit_native(builder, &native, "product");
}

static void emit_scatter(struct builder *builder, const struct plan_op *op, struct scatter *scatter,
                         uint32_t given) {
  const dnnl_memory_desc_t layout = channels_last(builder_tensor(builder, op->outputs[0]));
  const struct target target = builder_target(builder, op->outputs[0], &layout);
  if (target.memory == PLAN_NONE || given == PLAN_NONE) {
    free(scatter);
    return;
  }
  struct program_native native = {
      .run = run_scatter, .shape = scatter, .areas_count = SCATTER_AREAS, .parts = builder->team};
  native.areas[AREA_GIVEN] = builder->program->memories[given].area;
  native.areas[AREA_SCATTER_BIAS] = area_of(builder, op, 2);
  native.areas[AREA_SUMS] = builder->program->memories[target.memory].area;
  builder_emit_native(builder, &native, "scatter");
  builder_settle(builder, &target);
}

bool lower_scatter(struct builder *builder, const struct plan_op *op) {
  if (!can_scatter(builder, op)) {
    return false;
  }
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *w = builder_tensor(builder, op->inputs[1]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  struct packed_product *product = calloc(1, sizeof(*product));
  struct scatter *scatter = calloc(1, sizeof(*scatter));
  if (product == NULL || scatter == NULL) {
    builder->error = ERR_NO_MEMORY;
    free(product);
    free(scatter);
    return true;
  }
  *scatter = (struct scatter){
      .images = x->dims[0], .channels = y->dims[1], .activation = op->conv.activation};
  scatter->pitch = (y->dims[1] + PACKED_PANEL - 1) / PACKED_PANEL * PACKED_PANEL;
  for (uint32_t i = 0; i < 2; i++) {
    scatter->from[i] = x->dims[2 + i];
    scatter->to[i] = y->dims[2 + i];
    scatter->kernel[i] = w->dims[2 + i];
    scatter->strides[i] = op->conv.strides[i];
    scatter->dilations[i] = op->conv.dilations[i];
    scatter->pads[i] = op->conv.pads_before[i];
  }
  *product = (struct packed_product){.rows = x->dims[0] * x->dims[2] * x->dims[3],
                                     .depth = x->dims[1],
                                     .columns = w->dims[2] * w->dims[3] * scatter->pitch,
                                     .alpha = 1.0F};
  const dnnl_dims_t dims = {product->rows, product->columns};
  const dnnl_memory_desc_t rows = desc_rows(2, dims, dnnl_f32);
  const struct scatter copy = *scatter;
  const uint32_t given = builder_temporary(builder, &rows);
  emit_given(builder, op, product, &copy, given);
  emit_scatter(builder, op, scatter, given);
  return true;
}
