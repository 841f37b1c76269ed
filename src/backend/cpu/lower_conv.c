/* Convolutions, plain, grouped, depthwise and transposed. */
#include "backend/cpu/builder.h"

struct conv {
  const struct plan_op *op;
  const struct plan_conv *at;
  const struct plan_tensor *x;
  const struct plan_tensor *w;
  const struct plan_tensor *y;
  bool is_transposed;
  uint32_t merge; /* groups that become one */
  uint32_t groups;
  dnnl_memory_desc_t weights_from;
  dnnl_memory_desc_t weights_any;
  dnnl_memory_desc_t bias;
  bool has_bias;
};

/* How the residual gets in. */
enum residual { RESIDUAL_NONE, RESIDUAL_IN_PLACE, RESIDUAL_OPERAND };

struct attempt {
  dnnl_memory_desc_t x;
  dnnl_memory_desc_t y;
  enum residual residual;
  int residual_argument;
  dnnl_primitive_desc_t primitive; /* NULL: not possible */
};

/* The weights as (groups, K, C, kernel...), from how the plan has them. */
static void describe_weights(struct conv *conv) {
  const struct plan_tensor *w = conv->w;
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(w, strides);
  const uint32_t spatial = conv->at->spatial;
  const bool has_groups = conv->at->groups > 1;
  const dnnl_dim_t own_k = conv->y->dims[1] / conv->at->groups;
  const dnnl_dim_t own_c = conv->x->dims[1] / conv->at->groups;
  dnnl_dims_t dims;
  dnnl_dims_t distances;
  uint32_t rank = 0;
  if (has_groups) {
    dims[rank] = conv->groups;
    distances[rank++] = (dnnl_dim_t)strides[0] * (conv->is_transposed ? own_c : own_k);
  }
  const uint32_t k_axis = conv->is_transposed ? 1 : 0;
  dims[rank] = own_k * conv->merge;
  distances[rank++] = (dnnl_dim_t)strides[k_axis];
  dims[rank] = own_c * conv->merge;
  distances[rank++] = (dnnl_dim_t)strides[1 - k_axis];
  for (uint32_t i = 0; i < spatial; i++) {
    dims[rank] = w->dims[2 + i];
    distances[rank++] = (dnnl_dim_t)strides[2 + i];
  }
  if (conv->merge > 1) {
    conv->weights_from = desc_rows(rank, dims, dnnl_f32);
  } else {
    dnnl_memory_desc_init_by_strides(&conv->weights_from, (int)rank, dims, dnnl_f32, distances);
  }
  dnnl_memory_desc_init_by_tag(&conv->weights_any, (int)rank, dims, dnnl_f32, dnnl_format_tag_any);
}

/* oneDNN's fast grouped convolutions want whole groups of eight channels. Narrower ones are joined,
 * with zeros as weights between them: up to eight times the products, each many times faster. */
static uint32_t groups_to_merge(const struct conv *conv) {
  const uint32_t groups = conv->at->groups;
  const uint32_t own_k = conv->y->dims[1] / groups;
  const uint32_t own_c = conv->x->dims[1] / groups;
  const bool is_depthwise = own_k == 1 && own_c == 1;
  if (groups == 1 || is_depthwise || conv->is_transposed || conv->at->spatial != 2) {
    return 1;
  }
  for (uint32_t merge = 1; merge <= BLOCK; merge++) {
    if (groups % merge == 0 && own_k * merge % BLOCK == 0 && own_c * merge % BLOCK == 0) {
      return merge;
    }
  }
  return 1;
}

static bool describe(struct builder *builder, const struct plan_op *op, struct conv *ret_conv) {
  *ret_conv = (struct conv){.op = op,
                            .at = &op->conv,
                            .x = builder_tensor(builder, op->inputs[0]),
                            .w = builder_tensor(builder, op->inputs[1]),
                            .y = builder_tensor(builder, op->outputs[0]),
                            .is_transposed = op->kind == PLAN_OP_CONV_TRANSPOSE};
  const bool has_bias = op->inputs_count > 2 && op->inputs[2] != PLAN_NONE;
  if (ret_conv->x->type != PLAN_F32 || !builder_is_weights(builder, op->inputs[1]) ||
      (has_bias && !builder_is_weights(builder, op->inputs[2]))) {
    return false;
  }
  ret_conv->merge = groups_to_merge(ret_conv);
  ret_conv->groups = op->conv.groups / ret_conv->merge;
  ret_conv->has_bias = has_bias;
  const dnnl_dim_t channels = ret_conv->y->dims[1];
  ret_conv->bias = desc_rows(1, &channels, dnnl_f32);
  describe_weights(ret_conv);
  return true;
}

/* The residual can be summed into the output's home if it lies there and the sum comes first. */
static enum residual residual_of(const struct builder *builder, const struct conv *conv,
                                 const dnnl_memory_desc_t *y) {
  if (conv->op->inputs_count <= 3 || conv->op->inputs[3] == PLAN_NONE) {
    return RESIDUAL_NONE;
  }
  if (conv->at->residual_last || builder_is_weights(builder, conv->op->inputs[3])) {
    return RESIDUAL_OPERAND;
  }
  struct program_area home;
  struct program_area residual;
  dnnl_memory_desc_t desc;
  dnnl_memory_desc_t residual_desc;
  builder_home(builder, conv->op->outputs[0], &home, &desc);
  builder_home(builder, conv->op->inputs[3], &residual, &residual_desc);
  const bool is_same_place = home.place == residual.place && home.storage == residual.storage &&
                             home.offset_bytes == residual.offset_bytes;
  return is_same_place && desc_is_same_layout(&desc, y) ? RESIDUAL_IN_PLACE : RESIDUAL_OPERAND;
}

static bool add_posts(const struct conv *conv, struct attempt *attempt, struct post *post) {
  bool is_possible = true;
  const bool is_last = conv->at->residual_last;
  if (is_last) {
    is_possible = post_add_activation(post, &conv->at->activation);
  }
  if (attempt->residual == RESIDUAL_IN_PLACE) {
    post_add_sum(post);
  } else if (attempt->residual == RESIDUAL_OPERAND) {
    attempt->residual_argument = post_add_binary(post, dnnl_binary_add, &attempt->y);
  }
  return is_possible && (is_last || post_add_activation(post, &conv->at->activation));
}

static dnnl_primitive_desc_t create(dnnl_engine_t engine, const struct conv *conv,
                                    const struct attempt *attempt, dnnl_primitive_attr_t attr) {
  dnnl_dims_t strides;
  dnnl_dims_t dilations;
  dnnl_dims_t before;
  dnnl_dims_t after;
  for (uint32_t i = 0; i < conv->at->spatial; i++) {
    strides[i] = conv->at->strides[i];
    dilations[i] = (dnnl_dim_t)conv->at->dilations[i] - 1;
    before[i] = conv->at->pads_before[i];
    after[i] = conv->at->pads_after[i];
  }
  const dnnl_memory_desc_t *bias = conv->has_bias ? &conv->bias : NULL;
  dnnl_primitive_desc_t primitive = NULL;
  if (conv->is_transposed) {
    dnnl_deconvolution_desc_t desc;
    if (dnnl_dilated_deconvolution_forward_desc_init(&desc, dnnl_forward_inference,
                                                     dnnl_deconvolution_direct, &attempt->x,
                                                     &conv->weights_any, bias, &attempt->y, strides,
                                                     dilations, before, after) != dnnl_success ||
        dnnl_primitive_desc_create(&primitive, &desc, attr, engine, NULL) != dnnl_success) {
      return NULL;
    }
    return primitive;
  }
  dnnl_convolution_desc_t desc;
  if (dnnl_dilated_convolution_forward_desc_init(
          &desc, dnnl_forward_inference, dnnl_convolution_direct, &attempt->x, &conv->weights_any,
          bias, &attempt->y, strides, dilations, before, after) != dnnl_success ||
      dnnl_primitive_desc_create(&primitive, &desc, attr, engine, NULL) != dnnl_success) {
    return NULL;
  }
  return primitive;
}

/* With these layouts; false: not possible, or only by oneDNN's plain C. */
static bool try(struct builder *builder, const struct conv *conv, struct attempt *attempt) {
  attempt->residual = residual_of(builder, conv, &attempt->y);
  struct post post;
  post_open(&post);
  attempt->primitive = NULL;
  if (add_posts(conv, attempt, &post)) {
    dnnl_primitive_attr_t attr = post_close(&post);
    attempt->primitive = attr == NULL ? NULL : create(builder->engine, conv, attempt, attr);
  }
  post_finish(&post);
  if (attempt->primitive != NULL && primitive_is_reference(attempt->primitive)) {
    dnnl_primitive_desc_destroy(attempt->primitive);
    attempt->primitive = NULL;
  }
  return attempt->primitive != NULL;
}

static dnnl_memory_desc_t rows_of(const struct plan_tensor *tensor) {
  dnnl_dims_t dims;
  desc_dims(tensor, dims);
  return desc_rows(tensor->rank, dims, dnnl_f32);
}

static dnnl_memory_desc_t channels_last_of(const struct plan_tensor *tensor) {
  struct plan_tensor dense = *tensor;
  dense.layout = PLAN_CHANNELS_LAST;
  dense.pitch = dense.dims[1];
  return desc_plain(&dense);
}

/* First in groups of eight channels, with few inputs as rows; then as the plan has it, for what
 * only a matrix product of patches can do. */
static bool choose(struct builder *builder, const struct conv *conv, struct attempt *ret_attempt) {
  if (conv->x->rank == 4) {
    dnnl_dims_t x;
    dnnl_dims_t y;
    desc_dims(conv->x, x);
    desc_dims(conv->y, y);
    const bool has_few = conv->at->groups == 1 && x[1] < BLOCK && !conv->is_transposed;
    ret_attempt->x = has_few ? rows_of(conv->x) : desc_blocked(x);
    ret_attempt->y = desc_blocked(y);
    if (try(builder, conv, ret_attempt)) {
      return true;
    }
    ret_attempt->x = channels_last_of(conv->x);
    ret_attempt->y = channels_last_of(conv->y);
    if (try(builder, conv, ret_attempt)) {
      return true;
    }
  }
  if (conv->x->rank == 3) {
    dnnl_dims_t x;
    dnnl_dims_t y;
    desc_dims(conv->x, x);
    desc_dims(conv->y, y);
    dnnl_memory_desc_init_by_tag(&ret_attempt->x, 3, x, dnnl_f32,
                                 x[1] < BLOCK ? dnnl_ncw : dnnl_nCw8c);
    dnnl_memory_desc_init_by_tag(&ret_attempt->y, 3, y, dnnl_f32, dnnl_nCw8c);
    if (try(builder, conv, ret_attempt)) {
      return true;
    }
  }
  ret_attempt->x = rows_of(conv->x);
  ret_attempt->y = rows_of(conv->y);
  return try(builder, conv, ret_attempt);
}

bool lower_conv(struct builder *builder, const struct plan_op *op) {
  struct conv conv;
  struct attempt attempt;
  if (!describe(builder, op, &conv)) {
    return false;
  }
  if (!choose(builder, &conv, &attempt)) {
    return false;
  }
  const dnnl_memory_desc_t *weights =
      dnnl_primitive_desc_query_md(attempt.primitive, dnnl_query_weights_md, 0);
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC, builder_source(builder, op->inputs[0], &attempt.x));
  arguments_add(&arguments, DNNL_ARG_WEIGHTS,
                builder_weights(builder, op->inputs[1], &conv.weights_from, weights, conv.merge));
  if (conv.has_bias) {
    arguments_add(&arguments, DNNL_ARG_BIAS, builder_source(builder, op->inputs[2], &conv.bias));
  }
  if (attempt.residual == RESIDUAL_OPERAND) {
    arguments_add(&arguments, attempt.residual_argument,
                  builder_source(builder, op->inputs[3], &attempt.y));
  }
  /* A residual read while the output is written must not lie where the output goes. */
  struct target target = builder_target(builder, op->outputs[0], &attempt.y);
  if (attempt.residual == RESIDUAL_OPERAND && target.is_home) {
    const uint32_t residual = arguments.items[arguments.count - 1].memory;
    if (residual != PLAN_NONE && target.memory != PLAN_NONE) {
      const struct program_area *from = &builder->program->memories[residual].area;
      const struct program_area *to = &builder->program->memories[target.memory].area;
      if (from->place == to->place && from->storage == to->storage) {
        target.is_home = false;
        target.memory = builder_temporary(builder, &attempt.y);
      }
    }
  }
  arguments_add(&arguments, DNNL_ARG_DST, target.memory);
  builder_emit(builder, attempt.primitive, &arguments);
  builder_settle(builder, &target);
  return true;
}
