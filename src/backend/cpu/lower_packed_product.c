/* Matrix products with weights, by packed_product.h, and convolutions that are such products:
 * along one axis without padding, and transposed ones. */
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
  const dnnl_memory_desc_t to = desc_panels(dims[0], dims[1], 1);
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

/* ---- convolutions along one axis --------------------------------------------------------------
 */

/* A product for each image, whose rows are windows: neighbours of `pitch` floats' distance. */
struct windows {
  struct packed_product product;
  uint32_t images;
  size_t image_floats; /* of x */
};

static void run_windows(const void *shape, unsigned char *const *data, uint32_t part,
                        uint32_t parts) {
  const struct windows *windows = shape;
  struct packed_operands operands = {.x = (const void *)data[AREA_X],
                                     .w = (const void *)data[AREA_W],
                                     .bias = (const void *)data[AREA_BIAS],
                                     .y = (void *)data[AREA_Y]};
  for (uint32_t i = 0; i < windows->images; i++) {
    packed_product_run(&windows->product, &operands, part, parts);
    operands.x += windows->image_floats;
    operands.y += (size_t)windows->product.rows * windows->product.columns;
  }
}

static bool can_window(const struct builder *builder, const struct plan_op *op) {
  const struct plan_conv *conv = &op->conv;
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  const struct plan_tensor *w = builder_tensor(builder, op->inputs[1]);
  for (uint32_t i = 0; i < conv->spatial; i++) {
    const bool is_one = i > 0;
    if (conv->pads_before[i] != 0 || conv->pads_after[i] != 0 || conv->dilations[i] != 1 ||
        (is_one && (x->dims[2 + i] != 1 || y->dims[2 + i] != 1 || w->dims[2 + i] != 1))) {
      return false;
    }
  }
  return (conv->spatial == 1 || conv->spatial == 2) && conv->groups == 1 && w->dims[2] > 1 &&
         x->type == PLAN_F32 && builder_is_weights(builder, op->inputs[1]) &&
         (!has_input(op, 2) || builder_is_weights(builder, op->inputs[2])) && !has_input(op, 3) &&
         packed_product_has_activation(&conv->activation);
}

static dnnl_memory_desc_t channels_last(const struct plan_tensor *tensor) {
  dnnl_dims_t dims;
  dnnl_dims_t strides;
  desc_dims(tensor, dims);
  dnnl_dim_t distance = dims[1];
  for (uint32_t i = tensor->rank; i-- > 2;) {
    strides[i] = distance;
    distance *= dims[i];
  }
  strides[0] = distance;
  strides[1] = 1;
  dnnl_memory_desc_t desc;
  dnnl_memory_desc_init_by_strides(&desc, (int)tensor->rank, dims, dnnl_f32, strides);
  return desc;
}

/* (K, C, R) as a matrix whose rows are a window's floats as they lie: place by place, channel by
 * channel. */
static struct program_area pack_windows(struct builder *builder, uint32_t tensor) {
  const struct plan_tensor *w = builder_tensor(builder, tensor);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(w, strides);
  const dnnl_dims_t dims = {w->dims[1], w->dims[0], w->dims[2]};
  const dnnl_dims_t distances = {(dnnl_dim_t)strides[1], (dnnl_dim_t)strides[0],
                                 (dnnl_dim_t)strides[2]};
  dnnl_memory_desc_t from;
  dnnl_memory_desc_init_by_strides(&from, 3, dims, dnnl_f32, distances);
  dnnl_memory_desc_t to = desc_panels(dims[0], dims[1], dims[2]);
  to.format_desc.blocking.strides[1] *= dims[2];
  to.format_desc.blocking.strides[2] = PACKED_PANEL * dims[0];
  return builder_weights_area(builder, tensor, &from, &to);
}

bool lower_windows(struct builder *builder, const struct plan_op *op) {
  if (!can_window(builder, op)) {
    return false;
  }
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  const dnnl_memory_desc_t from = channels_last(x);
  const dnnl_memory_desc_t to = channels_last(y);
  const uint32_t source = builder_source(builder, op->inputs[0], &from);
  const struct target target = builder_target(builder, op->outputs[0], &to);
  struct windows *windows = calloc(1, sizeof(*windows));
  if (windows == NULL || source == PLAN_NONE || target.memory == PLAN_NONE) {
    builder->error = ERR_NO_MEMORY;
    free(windows);
    return true;
  }
  *windows = (struct windows){
      .product = {.rows = y->dims[2],
                  .depth = builder_tensor(builder, op->inputs[1])->dims[2] * x->dims[1],
                  .columns = y->dims[1],
                  .pitch = op->conv.strides[0] * x->dims[1],
                  .alpha = 1.0F,
                  .activation = op->conv.activation},
      .images = x->dims[0],
      .image_floats = (size_t)x->dims[2] * x->dims[1]};
  struct program_native native = {.run = run_windows,
                                  .shape = windows,
                                  .areas_count = AREAS,
                                  .parts = parts_of(builder, &windows->product)};
  native.areas[AREA_X] = builder->program->memories[source].area;
  native.areas[AREA_W] = pack_windows(builder, op->inputs[1]);
  native.areas[AREA_BIAS] = area_of(builder, op, 2);
  native.areas[AREA_RESIDUAL].place = PROGRAM_PLACES;
  native.areas[AREA_Y] = builder->program->memories[target.memory].area;
  builder_emit_native(builder, &native, "windows");
  builder_settle(builder, &target);
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

/* Both halves at once. */
struct blocks {
  struct scatter scatter;
  uint32_t depth;
};

enum blocks_area { AREA_BLOCKS_X, AREA_BLOCKS_W, AREA_BLOCKS_BIAS, AREA_BLOCKS_Y, BLOCKS_AREAS };

static void run_blocks(const void *shape, unsigned char *const *data, uint32_t part,
                       uint32_t parts) {
  const struct blocks *blocks = shape;
  scatter_blocks(&blocks->scatter, blocks->depth, (const void *)data[AREA_BLOCKS_X],
                 (const void *)data[AREA_BLOCKS_W], (const void *)data[AREA_BLOCKS_BIAS],
                 (void *)data[AREA_BLOCKS_Y], part, parts);
}

static void emit_blocks(struct builder *builder, const struct plan_op *op,
                        const struct scatter *scatter) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const dnnl_memory_desc_t from = channels_last(x);
  const dnnl_memory_desc_t to = channels_last(builder_tensor(builder, op->outputs[0]));
  const uint32_t source = builder_source(builder, op->inputs[0], &from);
  const struct target target = builder_target(builder, op->outputs[0], &to);
  struct blocks *blocks = calloc(1, sizeof(*blocks));
  if (blocks == NULL || source == PLAN_NONE || target.memory == PLAN_NONE) {
    builder->error = ERR_NO_MEMORY;
    free(blocks);
    return;
  }
  *blocks = (struct blocks){.scatter = *scatter, .depth = x->dims[1]};
  struct program_native native = {
      .run = run_blocks, .shape = blocks, .areas_count = BLOCKS_AREAS, .parts = builder->team};
  native.areas[AREA_BLOCKS_X] = builder->program->memories[source].area;
  native.areas[AREA_BLOCKS_W] = builder_weights_kernel_rows(builder, op->inputs[1]);
  native.areas[AREA_BLOCKS_BIAS].place = PROGRAM_PLACES;
  if (has_input(op, 2)) {
    native.areas[AREA_BLOCKS_BIAS] =
        builder_weights_bias_row(builder, op->inputs[2], scatter->kernel[1]);
  }
  native.areas[AREA_BLOCKS_Y] = builder->program->memories[target.memory].area;
  builder_emit_native(builder, &native, "blocks");
  builder_settle(builder, &target);
}

static struct scatter scatter_of(const struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *w = builder_tensor(builder, op->inputs[1]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  struct scatter scatter = {
      .images = x->dims[0], .channels = y->dims[1], .activation = op->conv.activation};
  scatter.pitch = (y->dims[1] + PACKED_PANEL - 1) / PACKED_PANEL * PACKED_PANEL;
  for (uint32_t i = 0; i < 2; i++) {
    scatter.from[i] = x->dims[2 + i];
    scatter.to[i] = y->dims[2 + i];
    scatter.kernel[i] = w->dims[2 + i];
    scatter.strides[i] = op->conv.strides[i];
    scatter.dilations[i] = op->conv.dilations[i];
    scatter.pads[i] = op->conv.pads_before[i];
  }
  return scatter;
}

bool lower_scatter(struct builder *builder, const struct plan_op *op) {
  if (!can_scatter(builder, op)) {
    return false;
  }
  const struct scatter wanted = scatter_of(builder, op);
  if (scatter_is_blocks(&wanted)) {
    emit_blocks(builder, op, &wanted);
    return true;
  }
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  struct packed_product *product = calloc(1, sizeof(*product));
  struct scatter *scatter = calloc(1, sizeof(*scatter));
  if (product == NULL || scatter == NULL) {
    builder->error = ERR_NO_MEMORY;
    free(product);
    free(scatter);
    return true;
  }
  *scatter = wanted;
  *product = (struct packed_product){.rows = x->dims[0] * x->dims[2] * x->dims[3],
                                     .depth = x->dims[1],
                                     .columns = wanted.kernel[0] * wanted.kernel[1] * wanted.pitch,
                                     .alpha = 1.0F};
  const dnnl_dims_t dims = {product->rows, product->columns};
  const dnnl_memory_desc_t rows = desc_rows(2, dims, dnnl_f32);
  const uint32_t given = builder_temporary(builder, &rows);
  emit_given(builder, op, product, &wanted, given);
  emit_scatter(builder, op, scatter, given);
  return true;
}
