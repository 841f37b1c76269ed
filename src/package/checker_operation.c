#include "package/checker.h"

#include <math.h>

/* How many tensors a kind takes and gives. Inputs behind `inputs_needed` may be PLAN_NONE; outputs
 * may where there can be more than one, but for one of them. */
struct arity {
  uint32_t inputs_needed;
  uint32_t inputs_max;
  uint32_t outputs_max;
  bool all_inputs_needed;
};

static const struct arity ARITIES[PLAN_OPS_END] = {
    [PLAN_OP_CONV] = {2, 4, 1, false},
    [PLAN_OP_CONV_TRANSPOSE] = {2, 4, 1, false},
    [PLAN_OP_MATMUL] = {2, 4, 1, false},
    [PLAN_OP_POOL] = {1, 1, 1, false},
    [PLAN_OP_POINTWISE] = {0, PLAN_POINTWISE_INPUTS, 1, true},
    [PLAN_OP_REDUCE] = {1, 1, 1, false},
    [PLAN_OP_SOFTMAX] = {1, 1, 1, false},
    [PLAN_OP_LAYER_NORM] = {1, 3, 1, false},
    [PLAN_OP_GROUP_NORM] = {1, 3, 1, false},
    [PLAN_OP_LRN] = {1, 1, 1, false},
    [PLAN_OP_TRANSPOSE] = {1, 1, 1, false},
    [PLAN_OP_CONCAT] = {1, PLAN_OP_INPUTS_MAX, 1, true},
    [PLAN_OP_SLICE] = {1, 1, 1, false},
    [PLAN_OP_PAD] = {1, 1, 1, false},
    [PLAN_OP_GATHER] = {2, 2, 1, false},
    [PLAN_OP_GATHER_ELEMENTS] = {2, 2, 1, false},
    [PLAN_OP_GATHER_ND] = {2, 2, 1, false},
    [PLAN_OP_SCATTER_ELEMENTS] = {3, 3, 1, false},
    [PLAN_OP_SCATTER_ND] = {3, 3, 1, false},
    [PLAN_OP_RESIZE] = {1, 1, 1, false},
    [PLAN_OP_TOPK] = {1, 1, 2, false},
    [PLAN_OP_CUMSUM] = {1, 1, 1, false},
    [PLAN_OP_TRILU] = {1, 1, 1, false},
    [PLAN_OP_LSTM] = {3, 8, 3, false},
    [PLAN_OP_GRU] = {3, 6, 2, false},
    [PLAN_OP_RNN] = {3, 6, 2, false},
};

static bool check_arity(struct checker *checker) {
  const struct plan_op *op = checker->op;
  if (op->kind < PLAN_OP_CONV || op->kind >= PLAN_OPS_END) {
    return CHECKER_FAIL(checker, "unknown operation %u", op->kind);
  }
  const struct arity *arity = &ARITIES[op->kind];
  if (op->inputs_count < arity->inputs_needed || op->inputs_count > arity->inputs_max ||
      op->outputs_count == 0 || op->outputs_count > arity->outputs_max) {
    return CHECKER_FAIL(checker, "%s with %u inputs and %u outputs", plan_op_kind_text(op->kind),
                        op->inputs_count, op->outputs_count);
  }
  const uint32_t tensors_count = checker->batch->tensors_count;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    const bool may_lack = !arity->all_inputs_needed && i >= arity->inputs_needed;
    if (op->inputs[i] >= tensors_count && !(may_lack && op->inputs[i] == PLAN_NONE)) {
      return CHECKER_FAIL(checker, "input %u is tensor %u of %u", i, op->inputs[i], tensors_count);
    }
  }
  uint32_t given = 0;
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    if (op->outputs[i] == PLAN_NONE) {
      continue;
    }
    if (op->outputs[i] >= tensors_count) {
      return CHECKER_FAIL(checker, "output %u is tensor %u of %u", i, op->outputs[i],
                          tensors_count);
    }
    given++;
  }
  if (given == 0) {
    return CHECKER_FAIL(checker, "%s without an output", plan_op_kind_text(op->kind));
  }
  return true;
}

/* All tensors that are there: of one float type, all ROW_MAJOR unless `any_layout`. */
static bool check_floats(struct checker *checker, bool any_layout) {
  const struct plan_op *op = checker->op;
  const uint32_t all = op->inputs_count + op->outputs_count;
  const struct plan_tensor *first = checker_in(checker, 0);
  for (uint32_t i = 0; i < all; i++) {
    const struct plan_tensor *tensor =
        i < op->inputs_count ? checker_in(checker, i) : checker_out(checker, i - op->inputs_count);
    if (tensor == NULL) {
      continue;
    }
    if (!plan_type_is_float(tensor->type) || tensor->type != first->type) {
      return CHECKER_FAIL(checker, "%s of %s and %s: all must be of one float type",
                          plan_op_kind_text(op->kind), plan_type_text(first->type),
                          plan_type_text(tensor->type));
    }
    if (!any_layout && tensor->layout != PLAN_ROW_MAJOR) {
      return CHECKER_FAIL(checker, "%s works on row-major tensors alone",
                          plan_op_kind_text(op->kind));
    }
  }
  return true;
}

static bool check_same(struct checker *checker, const struct plan_tensor *a,
                       const struct plan_tensor *b) {
  if (!checker_same_dims(a, b)) {
    return CHECKER_FAIL(checker, "%s: tensors that must have the same dims do not",
                        plan_op_kind_text(checker->op->kind));
  }
  return true;
}

static bool check_axis(struct checker *checker, uint32_t axis) {
  const uint32_t rank = checker_in(checker, 0)->rank;
  if (axis >= rank) {
    return CHECKER_FAIL(checker, "%s along axis %u of rank %u",
                        plan_op_kind_text(checker->op->kind), axis, rank);
  }
  return true;
}

/* A tensor of `elements` or none: a bias, a scale. */
static bool check_vector(struct checker *checker, uint32_t input, uint64_t elements) {
  const struct plan_tensor *vector = checker_in(checker, input);
  if (vector != NULL && plan_tensor_elements(vector) != elements) {
    return CHECKER_FAIL(checker, "input %u has %llu elements instead of %llu", input,
                        (unsigned long long)plan_tensor_elements(vector),
                        (unsigned long long)elements);
  }
  return true;
}

/* -------------------------------------------------------------------- convolution and pooling */

static bool check_window(struct checker *checker, uint32_t stride, uint32_t dilation,
                         uint32_t before, uint32_t after) {
  if (stride == 0 || dilation == 0 || stride > CHECK_WINDOW_MAX || dilation > CHECK_WINDOW_MAX ||
      before > CHECK_WINDOW_MAX || after > CHECK_WINDOW_MAX) {
    return CHECKER_FAIL(checker, "stride %u, dilation %u or padding %u, %u out of range", stride,
                        dilation, before, after);
  }
  return true;
}

static bool check_spatial(struct checker *checker, uint32_t spatial) {
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *out = checker_out(checker, 0);
  if (spatial == 0 || spatial > PLAN_SPATIAL_MAX || in->rank != spatial + 2 ||
      out->rank != in->rank || out->dims[0] != in->dims[0]) {
    return CHECKER_FAIL(checker, "%s over %u axes from rank %u to rank %u, %u images to %u",
                        plan_op_kind_text(checker->op->kind), spatial, in->rank, out->rank,
                        in->dims[0], out->dims[0]);
  }
  return true;
}

/* Positions that a window of `kernel` covers. */
static uint64_t window_span(uint32_t kernel, uint32_t dilation) {
  return (uint64_t)dilation * (kernel - 1) + 1;
}

static bool check_conv_shape(struct checker *checker, const struct plan_tensor *in,
                             const struct plan_tensor *weights, const struct plan_tensor *out) {
  const struct plan_conv *conv = &checker->op->conv;
  if (weights->dims[1] != in->dims[1] / conv->groups || in->dims[1] % conv->groups != 0 ||
      weights->dims[0] != out->dims[1] || out->dims[1] % conv->groups != 0) {
    return CHECKER_FAIL(checker, "conv of %u channels in %u groups to %u with weights (%u, %u, ..)",
                        in->dims[1], conv->groups, out->dims[1], weights->dims[0],
                        weights->dims[1]);
  }
  for (uint32_t i = 0; i < conv->spatial; i++) {
    const uint64_t padded = (uint64_t)in->dims[2 + i] + conv->pads_before[i] + conv->pads_after[i];
    const uint64_t span = window_span(weights->dims[2 + i], conv->dilations[i]);
    if (span > padded || out->dims[2 + i] != (padded - span) / conv->strides[i] + 1) {
      return CHECKER_FAIL(checker, "conv: spatial axis %u of %u, padded %llu, gives %u", i,
                          in->dims[2 + i], (unsigned long long)padded, out->dims[2 + i]);
    }
  }
  return true;
}

static bool check_conv_transpose_shape(struct checker *checker, const struct plan_tensor *in,
                                       const struct plan_tensor *weights,
                                       const struct plan_tensor *out) {
  const struct plan_conv *conv = &checker->op->conv;
  if (weights->dims[0] != in->dims[1] || in->dims[1] % conv->groups != 0 ||
      weights->dims[1] != out->dims[1] / conv->groups || out->dims[1] % conv->groups != 0) {
    return CHECKER_FAIL(
        checker, "conv_transpose of %u channels in %u groups to %u with weights (%u, %u, ..)",
        in->dims[1], conv->groups, out->dims[1], weights->dims[0], weights->dims[1]);
  }
  for (uint32_t i = 0; i < conv->spatial; i++) {
    const uint64_t full = (uint64_t)conv->strides[i] * (in->dims[2 + i] - 1) +
                          window_span(weights->dims[2 + i], conv->dilations[i]);
    const uint64_t padded = (uint64_t)out->dims[2 + i] + conv->pads_before[i] + conv->pads_after[i];
    if (padded < full) {
      return CHECKER_FAIL(checker, "conv_transpose: spatial axis %u of %u, full %llu, gives %u", i,
                          in->dims[2 + i], (unsigned long long)full, out->dims[2 + i]);
    }
  }
  return true;
}

static bool check_conv(struct checker *checker) {
  const struct plan_conv *conv = &checker->op->conv;
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *weights = checker_in(checker, 1);
  const struct plan_tensor *residual = checker_in(checker, 3);
  const struct plan_tensor *out = checker_out(checker, 0);
  const bool is_transposed = checker->op->kind == PLAN_OP_CONV_TRANSPOSE;
  if (!check_floats(checker, !is_transposed) || !check_spatial(checker, conv->spatial) ||
      !check_activation(checker, &conv->activation)) {
    return false;
  }
  const struct plan_tensor *bias = checker_in(checker, 2);
  if (weights->layout != in->layout || out->layout != in->layout ||
      (residual != NULL && residual->layout != in->layout) ||
      (bias != NULL && bias->layout != PLAN_ROW_MAJOR) ||
      (weights->layout == PLAN_CHANNELS_LAST && weights->pitch != weights->dims[1])) {
    return CHECKER_FAIL(checker, "conv: layouts or the weights' pitch do not go together");
  }
  if (weights->rank != in->rank || conv->groups == 0 || conv->groups > in->dims[1]) {
    return CHECKER_FAIL(checker, "conv: weights of rank %u, %u groups", weights->rank,
                        conv->groups);
  }
  for (uint32_t i = 0; i < conv->spatial; i++) {
    if (!check_window(checker, conv->strides[i], conv->dilations[i], conv->pads_before[i],
                      conv->pads_after[i])) {
      return false;
    }
  }
  const bool has_shape = is_transposed ? check_conv_transpose_shape(checker, in, weights, out)
                                       : check_conv_shape(checker, in, weights, out);
  return has_shape && check_vector(checker, 2, out->dims[1]) &&
         (residual == NULL || check_same(checker, residual, out));
}

static bool check_pool(struct checker *checker) {
  const struct plan_pool *pool = &checker->op->pool;
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *out = checker_out(checker, 0);
  if (!check_floats(checker, true) || !check_spatial(checker, pool->spatial)) {
    return false;
  }
  if (pool->kind < PLAN_POOL_MAX || pool->kind > PLAN_POOL_LP ||
      (pool->kind == PLAN_POOL_LP && pool->p == 0) || in->layout != out->layout ||
      in->dims[1] != out->dims[1]) {
    return CHECKER_FAIL(checker, "pool of kind %u from %u channels to %u, layouts %u and %u",
                        pool->kind, in->dims[1], out->dims[1], in->layout, out->layout);
  }
  for (uint32_t i = 0; i < pool->spatial; i++) {
    if (!check_window(checker, pool->strides[i], pool->dilations[i], pool->pads_before[i],
                      pool->pads_after[i])) {
      return false;
    }
    if (pool->kernel[i] == 0 || pool->kernel[i] > CHECK_WINDOW_MAX ||
        pool->declared_pads_after[i] > CHECK_WINDOW_MAX) {
      return CHECKER_FAIL(checker, "pool: a window of %u or a padding of %u", pool->kernel[i],
                          pool->declared_pads_after[i]);
    }
    const uint64_t padded = (uint64_t)in->dims[2 + i] + pool->pads_before[i] + pool->pads_after[i];
    const uint64_t span = window_span(pool->kernel[i], pool->dilations[i]);
    if ((uint64_t)(out->dims[2 + i] - 1) * pool->strides[i] + span > padded) {
      return CHECKER_FAIL(checker, "pool: spatial axis %u of %u, padded %llu, gives %u", i,
                          in->dims[2 + i], (unsigned long long)padded, out->dims[2 + i]);
    }
  }
  return true;
}

static bool check_lrn(struct checker *checker) {
  const struct plan_lrn *lrn = &checker->op->lrn;
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *out = checker_out(checker, 0);
  if (in->rank < 3 || lrn->size == 0 || in->layout != out->layout || isnan(lrn->alpha) ||
      isnan(lrn->beta) || isnan(lrn->bias)) {
    return CHECKER_FAIL(checker, "lrn over %u channels of rank %u", lrn->size, in->rank);
  }
  return check_floats(checker, true) && check_same(checker, in, out);
}

static bool check_resize(struct checker *checker) {
  const struct plan_resize *resize = &checker->op->resize;
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *out = checker_out(checker, 0);
  if (in->rank < 3 || in->rank > 5 || in->rank != out->rank || in->layout != out->layout ||
      in->type != out->type ||
      (!plan_type_is_float(in->type) && resize->mode != PLAN_RESIZE_NEAREST)) {
    return CHECKER_FAIL(checker, "resize of rank %u and %s to rank %u and %s", in->rank,
                        plan_type_text(in->type), out->rank, plan_type_text(out->type));
  }
  if (resize->mode < PLAN_RESIZE_NEAREST || resize->mode > PLAN_RESIZE_CUBIC ||
      resize->coordinates < PLAN_RESIZE_HALF_PIXEL ||
      resize->coordinates > PLAN_RESIZE_ASYMMETRIC || isnan(resize->cubic_a) ||
      (resize->mode == PLAN_RESIZE_NEAREST &&
       (resize->rounding < PLAN_ROUND_PREFER_FLOOR || resize->rounding > PLAN_ROUND_CEIL))) {
    return CHECKER_FAIL(checker, "resize of mode %u, coordinates %u, rounding %u", resize->mode,
                        resize->coordinates, resize->rounding);
  }
  for (uint32_t i = 0; i < in->rank; i++) {
    if (!(resize->scales[i] > 0) || isinf(resize->scales[i])) {
      return CHECKER_FAIL(checker, "resize: the scale of axis %u is not positive", i);
    }
  }
  return true;
}

/* ------------------------------------------------------------------ products and reductions */

/* Dim of axis `behind` counted from the last (1), 1 where the rank ends. */
static uint32_t dim_from_last(const struct plan_tensor *tensor, uint32_t behind) {
  return behind <= tensor->rank ? tensor->dims[tensor->rank - behind] : 1;
}

static bool check_matmul(struct checker *checker) {
  const struct plan_matmul *matmul = &checker->op->matmul;
  const struct plan_tensor *a = checker_in(checker, 0);
  const struct plan_tensor *b = checker_in(checker, 1);
  const struct plan_tensor *residual = checker_in(checker, 3);
  const struct plan_tensor *out = checker_out(checker, 0);
  if (!check_floats(checker, false) || !check_activation(checker, &matmul->activation)) {
    return false;
  }
  const uint32_t rank = a->rank > b->rank ? a->rank : b->rank;
  if (a->rank < 2 || b->rank < 2 || out->rank != rank || isnan(matmul->alpha)) {
    return CHECKER_FAIL(checker, "matmul of ranks %u and %u to %u", a->rank, b->rank, out->rank);
  }
  for (uint32_t behind = 3; behind <= rank; behind++) {
    const uint32_t left = dim_from_last(a, behind);
    const uint32_t right = dim_from_last(b, behind);
    if ((left != right && left != 1 && right != 1) ||
        dim_from_last(out, behind) != (left == 1 ? right : left)) {
      return CHECKER_FAIL(checker, "matmul: leading dims %u and %u do not broadcast to %u", left,
                          right, dim_from_last(out, behind));
    }
  }
  const uint32_t rows = dim_from_last(a, matmul->transpose_a ? 1 : 2);
  const uint32_t inner_a = dim_from_last(a, matmul->transpose_a ? 2 : 1);
  const uint32_t inner_b = dim_from_last(b, matmul->transpose_b ? 1 : 2);
  const uint32_t columns = dim_from_last(b, matmul->transpose_b ? 2 : 1);
  if (inner_a != inner_b || dim_from_last(out, 2) != rows || dim_from_last(out, 1) != columns) {
    return CHECKER_FAIL(checker, "matmul of (%u, %u) and (%u, %u) gives (%u, %u)", rows, inner_a,
                        inner_b, columns, dim_from_last(out, 2), dim_from_last(out, 1));
  }
  return check_vector(checker, 2, columns) &&
         (residual == NULL || check_same(checker, residual, out));
}

static bool check_reduce(struct checker *checker) {
  const struct plan_reduce *reduce = &checker->op->reduce;
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *out = checker_out(checker, 0);
  const bool gives_index =
      reduce->kind == PLAN_REDUCE_ARG_MAX || reduce->kind == PLAN_REDUCE_ARG_MIN;
  if (reduce->kind < PLAN_REDUCE_SUM || reduce->kind >= PLAN_REDUCES_END) {
    return CHECKER_FAIL(checker, "unknown reduction %u", reduce->kind);
  }
  if ((!plan_type_is_float(in->type) && in->type != PLAN_I32 && in->type != PLAN_I64) ||
      out->type != (gives_index ? PLAN_I64 : in->type)) {
    return CHECKER_FAIL(checker, "reduction of %s to %s", plan_type_text(in->type),
                        plan_type_text(out->type));
  }
  if (in->layout == PLAN_ROW_MAJOR && out->layout != PLAN_ROW_MAJOR) {
    return CHECKER_FAIL(checker, "reduction of a row-major tensor to channels-last");
  }
  if (reduce->axes >> in->rank != 0 || out->rank != in->rank ||
      (gives_index && (reduce->axes == 0 || (reduce->axes & (reduce->axes - 1)) != 0))) {
    return CHECKER_FAIL(checker, "reduction of rank %u to %u over the axes %u", in->rank, out->rank,
                        reduce->axes);
  }
  for (uint32_t i = 0; i < in->rank; i++) {
    const bool is_reduced = (reduce->axes >> i & 1) != 0;
    if (out->dims[i] != (is_reduced ? 1 : in->dims[i])) {
      return CHECKER_FAIL(checker, "reduction: axis %u of %u becomes %u", i, in->dims[i],
                          out->dims[i]);
    }
  }
  const bool acts = reduce->activation.kind != PLAN_ACT_NONE;
  if (acts && !plan_type_is_float(out->type)) {
    return CHECKER_FAIL(checker, "reduction to %s with an activation", plan_type_text(out->type));
  }
  return check_activation(checker, &reduce->activation);
}

static bool check_layer_norm(struct checker *checker) {
  const struct plan_normalize *normalize = &checker->op->normalize;
  const struct plan_tensor *in = checker_in(checker, 0);
  if (!check_floats(checker, false) || !check_axis(checker, normalize->axis) ||
      !check_same(checker, in, checker_out(checker, 0))) {
    return false;
  }
  uint64_t elements = 1;
  for (uint32_t i = normalize->axis; i < in->rank; i++) {
    elements *= in->dims[i];
  }
  if (!(normalize->epsilon >= 0)) {
    return CHECKER_FAIL(checker, "layer_norm: epsilon is negative or no number");
  }
  return check_vector(checker, 1, elements) && check_vector(checker, 2, elements);
}

static bool check_group_norm(struct checker *checker) {
  const struct plan_normalize *normalize = &checker->op->normalize;
  const struct plan_tensor *in = checker_in(checker, 0);
  if (!check_floats(checker, false) || !check_same(checker, in, checker_out(checker, 0))) {
    return false;
  }
  if (in->rank < 3 || normalize->groups == 0 || in->dims[1] % normalize->groups != 0 ||
      !(normalize->epsilon >= 0)) {
    return CHECKER_FAIL(checker, "group_norm of rank %u, %u channels in %u groups", in->rank,
                        in->dims[1], normalize->groups);
  }
  return check_vector(checker, 1, in->dims[1]) && check_vector(checker, 2, in->dims[1]);
}

static bool check_softmax(struct checker *checker) {
  return check_floats(checker, false) && check_axis(checker, checker->op->softmax.axis) &&
         check_same(checker, checker_in(checker, 0), checker_out(checker, 0));
}

/* -------------------------------------------------------------------------------- recurrences */

/* An optional tensor of (a, b, c), or of (a, b, c, d) if d > 0. */
static bool check_dims(struct checker *checker, const struct plan_tensor *tensor, const char *what,
                       const struct plan_tensor *wanted) {
  if (tensor != NULL && !checker_same_dims(tensor, wanted)) {
    return CHECKER_FAIL(checker, "%s: %s has the wrong shape", plan_op_kind_text(checker->op->kind),
                        what);
  }
  return true;
}

static struct plan_tensor of_dims(uint32_t rank, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return (struct plan_tensor){.rank = rank, .dims = {a, b, c, d, 1, 1, 1, 1}};
}

static bool check_recurrent(struct checker *checker) {
  const struct plan_recurrent *recurrent = &checker->op->recurrent;
  const struct plan_tensor *x = checker_in(checker, 0);
  const uint32_t hidden = recurrent->hidden;
  if (recurrent->direction < PLAN_FORWARD || recurrent->direction > PLAN_BIDIRECTIONAL ||
      x->rank != 3 || hidden == 0 || hidden > CHECK_WINDOW_MAX || checker_in(checker, 4) != NULL) {
    return CHECKER_FAIL(checker, "%s of direction %u, rank %u, %u hidden units",
                        plan_op_kind_text(checker->op->kind), recurrent->direction, x->rank,
                        hidden);
  }
  for (uint32_t i = 0; i < 6; i++) {
    if (!check_activation(checker, &recurrent->activations[i])) {
      return false;
    }
  }
  const uint32_t gates = plan_op_kind_gates(checker->op->kind);
  const uint32_t directions = recurrent->direction == PLAN_BIDIRECTIONAL ? 2 : 1;
  const uint32_t time = x->dims[0];
  const uint32_t batch = x->dims[1];
  const struct plan_tensor w = of_dims(3, directions, gates * hidden, x->dims[2], 1);
  const struct plan_tensor r = of_dims(3, directions, gates * hidden, hidden, 1);
  const struct plan_tensor bias = of_dims(2, directions, 2 * gates * hidden, 1, 1);
  const struct plan_tensor state = of_dims(3, directions, batch, hidden, 1);
  const struct plan_tensor peephole = of_dims(2, directions, 3 * hidden, 1, 1);
  const struct plan_tensor y = of_dims(4, time, directions, batch, hidden);
  return check_floats(checker, false) && check_dims(checker, checker_in(checker, 1), "W", &w) &&
         check_dims(checker, checker_in(checker, 2), "R", &r) &&
         check_dims(checker, checker_in(checker, 3), "bias", &bias) &&
         check_dims(checker, checker_in(checker, 5), "initial h", &state) &&
         check_dims(checker, checker_in(checker, 6), "initial c", &state) &&
         check_dims(checker, checker_in(checker, 7), "peepholes", &peephole) &&
         check_dims(checker, checker_out(checker, 0), "Y", &y) &&
         check_dims(checker, checker_out(checker, 1), "last h", &state) &&
         check_dims(checker, checker_out(checker, 2), "last c", &state);
}

bool check_operation(struct checker *checker) {
  static bool (*const CHECKS[PLAN_OPS_END])(struct checker *) = {
      [PLAN_OP_CONV] = check_conv,
      [PLAN_OP_CONV_TRANSPOSE] = check_conv,
      [PLAN_OP_MATMUL] = check_matmul,
      [PLAN_OP_POOL] = check_pool,
      [PLAN_OP_POINTWISE] = check_pointwise,
      [PLAN_OP_REDUCE] = check_reduce,
      [PLAN_OP_SOFTMAX] = check_softmax,
      [PLAN_OP_LAYER_NORM] = check_layer_norm,
      [PLAN_OP_GROUP_NORM] = check_group_norm,
      [PLAN_OP_LRN] = check_lrn,
      [PLAN_OP_RESIZE] = check_resize,
      [PLAN_OP_LSTM] = check_recurrent,
      [PLAN_OP_GRU] = check_recurrent,
      [PLAN_OP_RNN] = check_recurrent,
  };
  if (!checker_is_name(checker->op->name, sizeof(checker->op->name))) {
    return CHECKER_FAIL(checker, "the operation's name is no proper text");
  }
  if (!check_arity(checker)) {
    return false;
  }
  bool (*const check)(struct checker *) = CHECKS[checker->op->kind];
  return check != NULL ? check(checker) : check_move(checker);
}
