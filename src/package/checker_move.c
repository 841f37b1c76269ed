#include "package/checker.h"

static const char *kind_text(const struct checker *checker) {
  return plan_op_kind_text(checker->op->kind);
}

/* Every tensor of the operation in one layout: ROW_MAJOR, or any if `may_be_image`. */
static bool check_one_layout(struct checker *checker, bool may_be_image) {
  const struct plan_op *op = checker->op;
  const struct plan_tensor *first = checker_in(checker, 0);
  const enum plan_layout layout = may_be_image ? first->layout : PLAN_ROW_MAJOR;
  for (uint32_t i = 0; i < op->inputs_count + op->outputs_count; i++) {
    const struct plan_tensor *tensor =
        i < op->inputs_count ? checker_in(checker, i) : checker_out(checker, i - op->inputs_count);
    if (tensor != NULL && tensor->layout != layout) {
      return CHECKER_FAIL(checker, "%s: layouts differ, or are not row-major", kind_text(checker));
    }
  }
  return true;
}

static bool check_type(struct checker *checker, const struct plan_tensor *tensor,
                       enum plan_type wanted) {
  if (tensor != NULL && tensor->type != wanted) {
    return CHECKER_FAIL(checker, "%s: %s where %s is needed", kind_text(checker),
                        plan_type_text(tensor->type), plan_type_text(wanted));
  }
  return true;
}

static bool check_rank(struct checker *checker, uint32_t rank, uint32_t wanted) {
  if (rank != wanted) {
    return CHECKER_FAIL(checker, "%s: rank %u where %u is needed", kind_text(checker), rank,
                        wanted);
  }
  return true;
}

static bool check_dim(struct checker *checker, uint32_t axis, uint64_t dim, uint64_t wanted) {
  if (dim != wanted) {
    return CHECKER_FAIL(checker, "%s: axis %u has %llu elements instead of %llu",
                        kind_text(checker), axis, (unsigned long long)dim,
                        (unsigned long long)wanted);
  }
  return true;
}

static bool check_move_axis(struct checker *checker, uint32_t axis) {
  const uint32_t rank = checker_in(checker, 0)->rank;
  if (axis >= rank) {
    return CHECKER_FAIL(checker, "%s along axis %u of rank %u", kind_text(checker), axis, rank);
  }
  return true;
}

static bool check_transpose(struct checker *checker, const struct plan_tensor *in,
                            const struct plan_tensor *out) {
  uint32_t seen = 0;
  for (uint32_t i = 0; i < in->rank; i++) {
    const uint32_t from = checker->op->transpose.permutation[i];
    if (from >= in->rank || (seen >> from & 1) != 0) {
      return CHECKER_FAIL(checker, "transpose: axis %u comes from %u, which is no permutation", i,
                          from);
    }
    seen |= 1u << from;
    if (!check_dim(checker, i, out->dims[i], in->dims[from])) {
      return false;
    }
  }
  return true;
}

static bool check_concat(struct checker *checker, const struct plan_tensor *out) {
  const uint32_t axis = checker->op->axis;
  if (!check_move_axis(checker, axis)) {
    return false;
  }
  uint64_t sum = 0;
  for (uint32_t i = 0; i < checker->op->inputs_count; i++) {
    const struct plan_tensor *in = checker_in(checker, i);
    if (!check_type(checker, in, out->type) || !check_rank(checker, in->rank, out->rank)) {
      return false;
    }
    for (uint32_t other = 0; other < out->rank; other++) {
      if (other != axis && !check_dim(checker, other, in->dims[other], out->dims[other])) {
        return false;
      }
    }
    sum += in->dims[axis];
  }
  return check_dim(checker, axis, out->dims[axis], sum);
}

static bool check_slice(struct checker *checker, const struct plan_tensor *in,
                        const struct plan_tensor *out) {
  const struct plan_slice *slice = &checker->op->slice;
  for (uint32_t i = 0; i < in->rank; i++) {
    /* At most 2^32 x 2^31 either way. */
    const int64_t last =
        (int64_t)slice->starts[i] + ((int64_t)out->dims[i] - 1) * (int64_t)slice->steps[i];
    if (slice->steps[i] == 0 || slice->starts[i] >= in->dims[i] || last < 0 ||
        last >= (int64_t)in->dims[i]) {
      return CHECKER_FAIL(checker, "slice: %u elements of axis %u from %u leave its %u",
                          out->dims[i], i, slice->starts[i], in->dims[i]);
    }
  }
  return true;
}

static bool check_pad(struct checker *checker, const struct plan_tensor *in,
                      const struct plan_tensor *out) {
  const struct plan_pad *pad = &checker->op->pad;
  if (pad->mode < PLAN_PAD_FILL || pad->mode > PLAN_PAD_WRAP) {
    return CHECKER_FAIL(checker, "pad of unknown mode %u", pad->mode);
  }
  for (uint32_t i = 0; i < in->rank; i++) {
    const int64_t inside = in->dims[i];
    const int64_t before = pad->before[i];
    const int64_t after = (int64_t)out->dims[i] - inside - before;
    /* One reflection, one turn: what ONNX asks for, and what needs no loop to find an index. */
    const int64_t most = pad->mode == PLAN_PAD_REFLECT ? inside - 1 : inside;
    const bool is_far = pad->mode == PLAN_PAD_REFLECT || pad->mode == PLAN_PAD_WRAP;
    if (before <= -inside || after <= -inside || (is_far && (before > most || after > most))) {
      return CHECKER_FAIL(checker, "pad of mode %u: axis %u of %u can not become %u", pad->mode, i,
                          in->dims[i], out->dims[i]);
    }
  }
  return true;
}

static bool check_indices(struct checker *checker) {
  const struct plan_tensor *indices = checker_in(checker, 1);
  if (indices->type != PLAN_I32 && indices->type != PLAN_I64) {
    return CHECKER_FAIL(checker, "%s with indices of %s", kind_text(checker),
                        plan_type_text(indices->type));
  }
  return true;
}

static bool check_gather(struct checker *checker, const struct plan_tensor *in,
                         const struct plan_tensor *out) {
  const struct plan_tensor *indices = checker_in(checker, 1);
  const uint32_t axis = checker->op->gather.axis;
  if (!check_move_axis(checker, axis) ||
      !check_rank(checker, out->rank, in->rank + indices->rank - 1)) {
    return false;
  }
  for (uint32_t i = 0; i < out->rank; i++) {
    const bool is_inner = i >= axis && i < axis + indices->rank;
    const uint32_t wanted = i < axis   ? in->dims[i]
                            : is_inner ? indices->dims[i - axis]
                                       : in->dims[i - indices->rank + 1];
    if (!check_dim(checker, i, out->dims[i], wanted)) {
      return false;
    }
  }
  return true;
}

/* Elements of `indices` say where along the axis; all other positions must exist in `data`. */
static bool check_elements(struct checker *checker, const struct plan_tensor *data,
                           const struct plan_tensor *indices) {
  const uint32_t axis = checker->op->gather.axis;
  if (!check_move_axis(checker, axis) || !check_rank(checker, indices->rank, data->rank)) {
    return false;
  }
  for (uint32_t i = 0; i < data->rank; i++) {
    if (i != axis && indices->dims[i] > data->dims[i]) {
      return CHECKER_FAIL(checker, "%s: axis %u has %u indices for %u elements", kind_text(checker),
                          i, indices->dims[i], data->dims[i]);
    }
  }
  return true;
}

static bool check_same_shape(struct checker *checker, const struct plan_tensor *a,
                             const struct plan_tensor *b) {
  if (!checker_same_dims(a, b)) {
    return CHECKER_FAIL(checker, "%s: tensors that must have the same dims do not",
                        kind_text(checker));
  }
  return true;
}

/* `part`: the dims of the indices but the last, then what is left of the data's. */
static bool check_nd(struct checker *checker, const struct plan_tensor *data,
                     const struct plan_tensor *part, uint32_t batch_dims) {
  const struct plan_tensor *indices = checker_in(checker, 1);
  if (indices->rank == 0 || batch_dims >= indices->rank || batch_dims >= data->rank) {
    return CHECKER_FAIL(checker, "%s: ranks %u and %u with %u matched axes", kind_text(checker),
                        data->rank, indices->rank, batch_dims);
  }
  const uint32_t depth = indices->dims[indices->rank - 1];
  if (depth > data->rank - batch_dims) {
    return CHECKER_FAIL(checker, "%s: indices of depth %u into rank %u", kind_text(checker), depth,
                        data->rank);
  }
  for (uint32_t i = 0; i < batch_dims; i++) {
    if (!check_dim(checker, i, indices->dims[i], data->dims[i])) {
      return false;
    }
  }
  const uint32_t outer = indices->rank - 1;
  const uint32_t inner_from = batch_dims + depth;
  if (!check_rank(checker, part->rank, outer + data->rank - inner_from)) {
    return false;
  }
  for (uint32_t i = 0; i < part->rank; i++) {
    const uint32_t wanted = i < outer ? indices->dims[i] : data->dims[inner_from + i - outer];
    if (!check_dim(checker, i, part->dims[i], wanted)) {
      return false;
    }
  }
  return true;
}

static bool check_scatter(struct checker *checker, const struct plan_tensor *in,
                          const struct plan_tensor *out) {
  const struct plan_tensor *updates = checker_in(checker, 2);
  const enum plan_scatter_reduction reduction = checker->op->gather.reduction;
  if (reduction > PLAN_SCATTER_MAX || (reduction != PLAN_SCATTER_PUT && in->type == PLAN_BOOL)) {
    return CHECKER_FAIL(checker, "%s of %s with reduction %u", kind_text(checker),
                        plan_type_text(in->type), reduction);
  }
  if (!check_type(checker, updates, in->type) || !check_same_shape(checker, in, out)) {
    return false;
  }
  return checker->op->kind == PLAN_OP_SCATTER_ND
             ? check_nd(checker, in, updates, 0)
             : check_elements(checker, in, checker_in(checker, 1)) &&
                   check_same_shape(checker, updates, checker_in(checker, 1));
}

static bool check_topk(struct checker *checker, const struct plan_tensor *in) {
  const uint32_t axis = checker->op->topk.axis;
  const struct plan_tensor *values = checker_out(checker, 0);
  const struct plan_tensor *indices = checker_out(checker, 1);
  const struct plan_tensor *out = values != NULL ? values : indices;
  if (!plan_type_is_float(in->type) && in->type != PLAN_I32 && in->type != PLAN_I64) {
    return CHECKER_FAIL(checker, "topk of %s", plan_type_text(in->type));
  }
  if (!check_move_axis(checker, axis) || !check_type(checker, values, in->type) ||
      !check_type(checker, indices, PLAN_I64) || !check_rank(checker, out->rank, in->rank)) {
    return false;
  }
  for (uint32_t i = 0; i < in->rank; i++) {
    if (i != axis && !check_dim(checker, i, out->dims[i], in->dims[i])) {
      return false;
    }
  }
  if (out->dims[axis] > in->dims[axis]) {
    return CHECKER_FAIL(checker, "topk: the %u greatest of %u", out->dims[axis], in->dims[axis]);
  }
  return values == NULL || indices == NULL || check_same_shape(checker, values, indices);
}

static bool check_cumsum(struct checker *checker, const struct plan_tensor *in,
                         const struct plan_tensor *out) {
  if (!plan_type_is_float(in->type) && in->type != PLAN_I32 && in->type != PLAN_I64) {
    return CHECKER_FAIL(checker, "cumsum of %s", plan_type_text(in->type));
  }
  return check_move_axis(checker, checker->op->cumsum.axis) && check_same_shape(checker, in, out);
}

bool check_move(struct checker *checker) {
  const enum plan_op_kind kind = checker->op->kind;
  const struct plan_tensor *in = checker_in(checker, 0);
  const struct plan_tensor *out = checker_out(checker, 0);
  if (!check_one_layout(checker, kind == PLAN_OP_CONCAT || kind == PLAN_OP_SLICE) ||
      !check_type(checker, out, in->type)) {
    return false;
  }
  switch (kind) {
  case PLAN_OP_TRANSPOSE:
    return check_rank(checker, out->rank, in->rank) && check_transpose(checker, in, out);
  case PLAN_OP_CONCAT:
    return check_concat(checker, out);
  case PLAN_OP_SLICE:
    return check_rank(checker, out->rank, in->rank) && check_slice(checker, in, out);
  case PLAN_OP_PAD:
    return check_rank(checker, out->rank, in->rank) && check_pad(checker, in, out);
  case PLAN_OP_GATHER:
    return check_indices(checker) && check_gather(checker, in, out);
  case PLAN_OP_GATHER_ELEMENTS:
    return check_indices(checker) && check_elements(checker, in, checker_in(checker, 1)) &&
           check_same_shape(checker, out, checker_in(checker, 1));
  case PLAN_OP_GATHER_ND:
    return check_indices(checker) && check_nd(checker, in, out, checker->op->gather.batch_dims);
  case PLAN_OP_SCATTER_ELEMENTS:
  case PLAN_OP_SCATTER_ND:
    return check_indices(checker) && check_scatter(checker, in, out);
  case PLAN_OP_TOPK:
    return check_topk(checker, in);
  case PLAN_OP_CUMSUM:
    return check_cumsum(checker, in, out);
  case PLAN_OP_TRILU:
    if (in->rank < 2) {
      return CHECKER_FAIL(checker, "trilu of rank %u", in->rank);
    }
    return check_same_shape(checker, in, out);
  default:
    return CHECKER_FAIL(checker, "unknown operation %u", kind);
  }
}
