/* Windows over images: convolution, pooling, and the normalisation that folds into them. */
#include <math.h>
#include <string.h>

#include "compiler/lowering.h"

struct window {
  uint32_t spatial;
  uint32_t kernel[PLAN_SPATIAL_MAX];
  uint32_t strides[PLAN_SPATIAL_MAX];
  uint32_t dilations[PLAN_SPATIAL_MAX];
  uint32_t pads_before[PLAN_SPATIAL_MAX];
  uint32_t pads_after[PLAN_SPATIAL_MAX];
};

static void read_sizes(struct node *node, const char *name, uint32_t count, uint32_t smallest,
                       uint32_t *ret_sizes) {
  int64_t numbers[2 * PLAN_SPATIAL_MAX];
  const uint32_t given = node_ints(node, name, 2 * PLAN_SPATIAL_MAX, numbers);
  if (given == 0) {
    return;
  }
  if (given != count) {
    node_malformed(node, "attribute '%s' has %u numbers; %u are needed", name, given, count);
  }
  for (uint32_t i = 0; i < count; i++) {
    if (numbers[i] < (int64_t)smallest || numbers[i] > INT16_MAX) {
      node_malformed(node, "attribute '%s' has %lld; it must be %u to %d", name,
                     (long long)numbers[i], smallest, INT16_MAX);
    }
    ret_sizes[i] = (uint32_t)numbers[i];
  }
}

/* Attributes that all of the windows share. `kernel` is set by the caller where weights say it. */
static void read_window(struct node *node, const struct graph_value *in, struct window *window) {
  if (in->rank < 3 || in->rank > 2 + PLAN_SPATIAL_MAX) {
    node_unsupported(node,
                     "its input has rank %u; images of 1 to %d spatial dimensions are "
                     "supported",
                     in->rank, PLAN_SPATIAL_MAX);
  }
  const uint32_t spatial = in->rank - 2;
  uint32_t pads[2 * PLAN_SPATIAL_MAX] = {0};
  window->spatial = spatial;
  for (uint32_t i = 0; i < PLAN_SPATIAL_MAX; i++) {
    window->strides[i] = 1;
    window->dilations[i] = 1;
  }
  read_sizes(node, "kernel_shape", spatial, 1, window->kernel);
  read_sizes(node, "strides", spatial, 1, window->strides);
  read_sizes(node, "dilations", spatial, 1, window->dilations);
  read_sizes(node, "pads", 2 * spatial, 0, pads);
  for (uint32_t i = 0; i < spatial; i++) {
    window->pads_before[i] = pads[i];
    window->pads_after[i] = pads[spatial + i];
  }
}

static uint32_t extent(const struct window *window, uint32_t i) {
  return (window->kernel[i] - 1) * window->dilations[i] + 1;
}

/* Pads by auto_pad, and the output's spatial dims. */
static void settle_window(struct node *node, const struct graph_value *in, struct window *window,
                          bool ceil_mode, uint32_t *ret_dims) {
  const char *automatic = node_text(node, "auto_pad", "NOTSET");
  const bool upper = strcmp(automatic, "SAME_UPPER") == 0;
  const bool lower = strcmp(automatic, "SAME_LOWER") == 0;
  for (uint32_t i = 0; i < window->spatial; i++) {
    const int64_t size = in->dims[2 + i];
    const int64_t stride = window->strides[i];
    if (upper || lower) {
      const int64_t out = (size + stride - 1) / stride;
      const int64_t pad = (out - 1) * stride + extent(window, i) - size;
      const int64_t total = pad > 0 ? pad : 0;
      window->pads_before[i] = (uint32_t)(upper ? total / 2 : total - total / 2);
      window->pads_after[i] = (uint32_t)(total - window->pads_before[i]);
      ret_dims[i] = (uint32_t)out;
      continue;
    }
    if (strcmp(automatic, "VALID") == 0) {
      window->pads_before[i] = 0;
      window->pads_after[i] = 0;
    }
    const int64_t room = size + window->pads_before[i] + window->pads_after[i] - extent(window, i);
    if (room < 0) {
      node_malformed(node, "its window of %u is larger than the padded image of %lld",
                     extent(window, i), (long long)(room + extent(window, i)));
    }
    ret_dims[i] = (uint32_t)((ceil_mode ? room + stride - 1 : room) / stride + 1);
    /* A last window that begins in the padding behind the image is left out. */
    if (ceil_mode && (ret_dims[i] - 1) * stride >= size + window->pads_before[i]) {
      ret_dims[i]--;
    }
  }
}

static void set_conv(struct plan_conv *conv, const struct window *window, uint32_t groups) {
  conv->spatial = window->spatial;
  conv->groups = groups;
  memcpy(conv->strides, window->strides, sizeof(conv->strides));
  memcpy(conv->dilations, window->dilations, sizeof(conv->dilations));
  memcpy(conv->pads_before, window->pads_before, sizeof(conv->pads_before));
  memcpy(conv->pads_after, window->pads_after, sizeof(conv->pads_after));
}

static uint32_t read_groups(struct node *node, uint32_t channels) {
  const int64_t groups = node_int(node, "group", 1);
  if (groups < 1 || groups > (int64_t)channels || channels % groups != 0) {
    node_malformed(node, "group %lld doesn't divide its %u channels", (long long)groups, channels);
  }
  return (uint32_t)groups;
}

static void take_kernel(struct node *node, const struct graph_value *weights,
                        struct window *window) {
  for (uint32_t i = 0; i < window->spatial; i++) {
    const uint32_t size = weights->dims[2 + i];
    if (window->kernel[i] != 0 && window->kernel[i] != size) {
      node_malformed(node, "kernel_shape says %u, its weights %u", window->kernel[i], size);
    }
    if (size == 0 || size > INT16_MAX) {
      node_malformed(node, "its weights have a kernel of %u", size);
    }
    window->kernel[i] = size;
  }
}

static void check_bias(struct node *node, uint32_t bias, uint32_t channels) {
  if (bias != GRAPH_NONE && (graph_value(node->graph, bias)->rank != 1 ||
                             graph_value(node->graph, bias)->dims[0] != channels)) {
    node_malformed(node, "its bias doesn't have one number for each of %u channels", channels);
  }
}

static void lower_conv(struct node *node) {
  const uint32_t inputs[4] = {node_input(node, 0), node_input(node, 1),
                              node_optional_input(node, 2), GRAPH_NONE};
  const struct graph_value in = *graph_value(node->graph, inputs[0]);
  const struct graph_value weights = *graph_value(node->graph, inputs[1]);
  struct window window = {0};
  node_check_float(node, inputs[0]);
  node_check_types(node, inputs[0], inputs[1]);
  read_window(node, &in, &window);
  if (weights.rank != in.rank) {
    node_malformed(node, "its weights have rank %u, its input %u", weights.rank, in.rank);
  }
  const uint32_t groups = read_groups(node, in.dims[1]);
  if (weights.dims[1] != in.dims[1] / groups || weights.dims[0] % groups != 0 ||
      weights.dims[0] == 0) {
    node_malformed(node, "its weights are for %u channels a group, its input has %u",
                   weights.dims[1], in.dims[1] / groups);
  }
  take_kernel(node, &weights, &window);
  check_bias(node, inputs[2], weights.dims[0]);
  uint32_t dims[PLAN_RANK_MAX] = {in.dims[0], weights.dims[0]};
  settle_window(node, &in, &window, false, dims + 2);
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_CONV, 4, inputs, 1, &out);
  set_conv(&op->plan.conv, &window, groups);
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

/* One output dim of a transposed convolution, and its pads by auto_pad or output_shape. */
static uint32_t transposed_dim(struct node *node, const struct graph_value *in,
                               struct window *window, uint32_t i, uint32_t output_padding,
                               uint32_t wanted) {
  const char *automatic = node_text(node, "auto_pad", "NOTSET");
  const bool same = strncmp(automatic, "SAME_", 5) == 0;
  const int64_t full =
      (int64_t)window->strides[i] * (in->dims[2 + i] - 1) + output_padding + extent(window, i);
  if (wanted == 0 && same) {
    wanted = in->dims[2 + i] * window->strides[i];
  }
  if (wanted != 0) {
    const int64_t total = full > (int64_t)wanted ? full - (int64_t)wanted : 0;
    const bool upper = strcmp(automatic, "SAME_UPPER") == 0;
    window->pads_before[i] = (uint32_t)(upper ? total / 2 : total - total / 2);
    window->pads_after[i] = (uint32_t)(total - window->pads_before[i]);
    return wanted;
  }
  const int64_t out = full - window->pads_before[i] - window->pads_after[i];
  if (out < 1 || out > INT32_MAX) {
    node_malformed(node, "its output has %lld pixels along an axis", (long long)out);
  }
  return (uint32_t)out;
}

static void lower_conv_transpose(struct node *node) {
  const uint32_t inputs[4] = {node_input(node, 0), node_input(node, 1),
                              node_optional_input(node, 2), GRAPH_NONE};
  const struct graph_value in = *graph_value(node->graph, inputs[0]);
  const struct graph_value weights = *graph_value(node->graph, inputs[1]);
  struct window window = {0};
  uint32_t output_padding[PLAN_SPATIAL_MAX] = {0};
  uint32_t output_shape[2 + PLAN_SPATIAL_MAX] = {0};
  int64_t given_shape[2 + PLAN_SPATIAL_MAX];
  node_check_float(node, inputs[0]);
  node_check_types(node, inputs[0], inputs[1]);
  read_window(node, &in, &window);
  read_sizes(node, "output_padding", window.spatial, 0, output_padding);
  const uint32_t given = node_ints(node, "output_shape", 2 + PLAN_SPATIAL_MAX, given_shape);
  if (given != 0 && given != window.spatial) {
    node_unsupported(node, "output_shape has %u numbers; %u are supported", given, window.spatial);
  }
  for (uint32_t i = 0; i < given; i++) {
    output_shape[i] = node_size(node, given_shape[i], "output_shape");
  }
  const uint32_t groups = read_groups(node, in.dims[1]);
  if (weights.rank != in.rank || weights.dims[0] != in.dims[1]) {
    node_malformed(node, "its weights don't fit its input");
  }
  take_kernel(node, &weights, &window);
  const uint64_t channels = (uint64_t)weights.dims[1] * groups;
  if (channels > INT32_MAX) {
    node_malformed(node, "its output has %llu channels", (unsigned long long)channels);
  }
  check_bias(node, inputs[2], (uint32_t)channels);
  uint32_t dims[PLAN_RANK_MAX] = {in.dims[0], (uint32_t)channels};
  for (uint32_t i = 0; i < window.spatial; i++) {
    dims[2 + i] = transposed_dim(node, &in, &window, i, output_padding[i], output_shape[i]);
  }
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_CONV_TRANSPOSE, 4, inputs, 1, &out);
  set_conv(&op->plan.conv, &window, groups);
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

/* Behind the image, only what the last window reaches. */
static void set_pool(struct plan_pool *pool, const struct graph_value *in,
                     const struct window *window, const uint32_t *out_dims) {
  pool->spatial = window->spatial;
  for (uint32_t i = 0; i < PLAN_SPATIAL_MAX; i++) {
    pool->kernel[i] = i < window->spatial ? window->kernel[i] : 1;
    pool->strides[i] = window->strides[i];
    pool->dilations[i] = window->dilations[i];
    pool->pads_before[i] = window->pads_before[i];
    pool->declared_pads_after[i] = window->pads_after[i];
    if (i < window->spatial) {
      const int64_t reach = (int64_t)(out_dims[i] - 1) * window->strides[i] + extent(window, i) -
                            window->pads_before[i] - in->dims[2 + i];
      pool->pads_after[i] = reach > 0 ? (uint32_t)reach : 0;
    }
  }
}

static void lower_pool(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  struct window window = {0};
  node_check_float(node, x);
  read_window(node, &in, &window);
  for (uint32_t i = 0; i < window.spatial; i++) {
    if (window.kernel[i] == 0) {
      node_malformed(node, "lacks its kernel_shape");
    }
  }
  if (node->outputs_count > 1 && node->wanted[1]) {
    node_unsupported(node, "its second output (indices) is not supported; export without it");
  }
  uint32_t dims[PLAN_RANK_MAX] = {in.dims[0], in.dims[1]};
  settle_window(node, &in, &window, node_flag(node, "ceil_mode", false), dims + 2);
  const bool count_padding = node_flag(node, "count_include_pad", false);
  const int64_t p = node_int(node, "p", 2);
  if (p < 1 || p > 16) {
    node_unsupported(node, "p is %lld; 1 to 16 are supported", (long long)p);
  }
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_POOL, 1, &x, 1, &out);
  op->plan.pool.kind = (enum plan_pool_kind)node->variant;
  op->plan.pool.count_padding = node->variant == PLAN_POOL_MEAN && count_padding;
  op->plan.pool.p = (uint32_t)p;
  set_pool(&op->plan.pool, &in, &window, dims + 2);
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

static void lower_global_pool(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  node_check_float(node, x);
  node_check_rank(node, x, 3, PLAN_RANK_MAX);
  uint32_t dims[PLAN_RANK_MAX] = {in.dims[0], in.dims[1], 1, 1, 1, 1, 1, 1};
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_REDUCE, 1, &x, 1, &out);
  op->plan.reduce.kind = (enum plan_reduce_kind)node->variant;
  op->plan.reduce.axes = ((1u << in.rank) - 1) & ~3u;
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

static void lower_global_lp_pool(struct node *node) {
  const int64_t p = node_int(node, "p", 2);
  if (p != 1 && p != 2) {
    node_unsupported(node, "p is %lld; 1 and 2 are supported", (long long)p);
  }
  node->variant = p == 1 ? PLAN_REDUCE_L1 : PLAN_REDUCE_L2;
  lower_global_pool(node);
}

/* x scale' + shift' with scale' = scale / sqrt(var + epsilon): pass_affine takes it from there. */
static void lower_batch_norm(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  const double epsilon = (double)node_float(node, "epsilon", 1e-5F);
  node_check_float(node, x);
  node_check_rank(node, x, 2, PLAN_RANK_MAX);
  if (node_flag(node, "training_mode", false) || node_int(node, "spatial", 1) == 0) {
    node_unsupported(node, "is in training mode or not spatial; export the model for inference");
  }
  const uint32_t channels = in.dims[1];
  uint32_t parameters[4];
  for (uint32_t i = 0; i < 4; i++) {
    parameters[i] = node_constant(node, 1 + i, "parameters");
    check_bias(node, parameters[i], channels);
    node_check_float(node, parameters[i]);
  }
  double *scale = context_take(node->context, channels, sizeof(scale[0]));
  double *shift = context_take(node->context, channels, sizeof(shift[0]));
  for (uint32_t c = 0; c < channels; c++) {
    scale[c] = graph_number_at(graph, parameters[0], c) /
               sqrt(graph_number_at(graph, parameters[3], c) + epsilon);
    shift[c] = graph_number_at(graph, parameters[1], c) -
               graph_number_at(graph, parameters[2], c) * scale[c];
  }
  uint32_t dims[PLAN_RANK_MAX] = {channels, 1, 1, 1, 1, 1, 1, 1};
  const uint32_t rank = in.rank - 1;
  const uint32_t inputs[3] = {
      x, graph_cast(graph, graph_add_constant(graph, PLAN_F64, rank, dims, scale), in.type, false),
      graph_cast(graph, graph_add_constant(graph, PLAN_F64, rank, dims, shift), in.type, false)};
  const struct plan_step step = {.scalar = PLAN_S_FMA,
                                 .type = in.type,
                                 .a = graph_operand_input(0),
                                 .b = graph_operand_input(1),
                                 .c = graph_operand_input(2)};
  node->outputs[0] = graph_pointwise(graph, 3, inputs, 1, &step, in.rank, in.dims);
}

static void lower_lrn(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  const int64_t size = node_int(node, "size", 0);
  node_check_float(node, x);
  node_check_rank(node, x, 3, PLAN_RANK_MAX);
  if (size < 1 || size > INT16_MAX) {
    node_malformed(node, "size is %lld", (long long)size);
  }
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, in.dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_LRN, 1, &x, 1, &out);
  op->plan.lrn = (struct plan_lrn){.size = (uint32_t)size,
                                   .alpha = node_float(node, "alpha", 1e-4F),
                                   .beta = node_float(node, "beta", 0.75F),
                                   .bias = node_float(node, "bias", 1.0F)};
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

static const struct operator_line LINES[] = {
    {"", "AveragePool", 7, 0, lower_pool, PLAN_POOL_MEAN},
    {"", "BatchNormalization", 7, 0, lower_batch_norm, 0},
    {"", "Conv", 1, 0, lower_conv, 0},
    {"", "ConvTranspose", 1, 0, lower_conv_transpose, 0},
    {"", "GlobalAveragePool", 1, 0, lower_global_pool, PLAN_REDUCE_MEAN},
    {"", "GlobalLpPool", 2, 0, lower_global_lp_pool, 0},
    {"", "GlobalMaxPool", 1, 0, lower_global_pool, PLAN_REDUCE_MAX},
    {"", "LRN", 1, 0, lower_lrn, 0},
    {"", "LpPool", 2, 0, lower_pool, PLAN_POOL_LP},
    {"", "MaxPool", 1, 0, lower_pool, PLAN_POOL_MAX},
    {0},
};

const struct operator_family OPERATORS_CONVOLUTION = {"convolution and pooling", LINES};
