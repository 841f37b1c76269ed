/* Along axes: reductions, softmax, normalisations, orders and running sums. */
#include <math.h>
#include <string.h>

#include "kernels/private.h"

/* One line of a ROW_MAJOR tensor along an axis. */
struct line {
  uint64_t at;
  uint64_t stride;
  uint32_t count;
};

static uint64_t lines_count(const struct plan_tensor *tensor, uint32_t axis) {
  return plan_tensor_elements(tensor) / tensor->dims[axis];
}

static struct line line_of(const struct plan_tensor *tensor, uint32_t axis, uint64_t index) {
  uint64_t stride = 1;
  for (uint32_t i = axis + 1; i < tensor->rank; i++) {
    stride *= tensor->dims[i];
  }
  return (struct line){.at = index / stride * stride * tensor->dims[axis] + index % stride,
                       .stride = stride,
                       .count = tensor->dims[axis]};
}

struct sum {
  enum plan_reduce_kind kind;
  bool first;
  bool last_index;
  double value;
  double greatest; /* LOG_SUM_EXP */
  int64_t whole;
  uint64_t count;
  uint64_t index;
};

static bool beats(const struct sum *sum, bool greater, bool equal) {
  return sum->first || greater || (equal && sum->last_index);
}

static void take_real(struct sum *s, double x) {
  switch (s->kind) {
  case PLAN_REDUCE_SUM:
  case PLAN_REDUCE_MEAN:
  case PLAN_REDUCE_LOG_SUM:
    s->value += x;
    break;
  case PLAN_REDUCE_L1:
    s->value += fabs(x);
    break;
  case PLAN_REDUCE_L2:
  case PLAN_REDUCE_SUM_SQUARE:
    s->value += x * x;
    break;
  case PLAN_REDUCE_PROD:
    s->value = s->first ? x : s->value * x;
    break;
  case PLAN_REDUCE_MAX:
    s->value = s->first || x > s->value || isnan(x) ? x : s->value;
    break;
  case PLAN_REDUCE_MIN:
    s->value = s->first || x < s->value || isnan(x) ? x : s->value;
    break;
  case PLAN_REDUCE_LOG_SUM_EXP:
    if (s->first || x > s->greatest) {
      s->value = s->first || isinf(x) ? 1 : s->value * exp(s->greatest - x) + 1;
      s->greatest = x;
    } else {
      s->value += isinf(x) ? 0 : exp(x - s->greatest);
    }
    break;
  case PLAN_REDUCE_ARG_MAX:
  case PLAN_REDUCE_ARG_MIN: {
    const bool greater = s->kind == PLAN_REDUCE_ARG_MAX ? x > s->value : x < s->value;
    if (beats(s, greater, x <= s->value && x >= s->value)) {
      s->value = x;
      s->index = s->count;
    }
    break;
  }
  default:
    break;
  }
  s->first = false;
  s->count++;
}

static void take_whole(struct sum *s, int64_t x) {
  const uint64_t u = (uint64_t)x;
  switch (s->kind) {
  case PLAN_REDUCE_L1:
    s->whole = (int64_t)((uint64_t)s->whole + (x < 0 ? 0 - u : u));
    break;
  case PLAN_REDUCE_SUM_SQUARE:
  case PLAN_REDUCE_L2:
    s->whole = (int64_t)((uint64_t)s->whole + u * u);
    break;
  case PLAN_REDUCE_PROD:
    s->whole = s->first ? x : (int64_t)((uint64_t)s->whole * u);
    break;
  case PLAN_REDUCE_MAX:
    s->whole = s->first || x > s->whole ? x : s->whole;
    break;
  case PLAN_REDUCE_MIN:
    s->whole = s->first || x < s->whole ? x : s->whole;
    break;
  case PLAN_REDUCE_ARG_MAX:
  case PLAN_REDUCE_ARG_MIN:
    if (beats(s, s->kind == PLAN_REDUCE_ARG_MAX ? x > s->whole : x < s->whole, x == s->whole)) {
      s->whole = x;
      s->index = s->count;
    }
    break;
  default:
    s->whole = (int64_t)((uint64_t)s->whole + u);
    break;
  }
  s->first = false;
  s->count++;
}

static double real_result(const struct sum *s) {
  switch (s->kind) {
  case PLAN_REDUCE_MEAN:
    return s->value / (double)s->count;
  case PLAN_REDUCE_L2:
    return sqrt(s->value);
  case PLAN_REDUCE_LOG_SUM:
    return log(s->value);
  case PLAN_REDUCE_LOG_SUM_EXP:
    return isinf(s->greatest) ? s->greatest : s->greatest + log(s->value);
  default:
    return s->value;
  }
}

static int64_t whole_result(const struct sum *s) {
  return s->kind == PLAN_REDUCE_MEAN ? s->whole / (int64_t)s->count
         : s->kind == PLAN_REDUCE_L2 ? (int64_t)sqrt((double)s->whole)
                                     : s->whole;
}

static void reduce_one(const struct kernel *k, const uint32_t *at, const uint64_t *in_strides,
                       uint64_t out_at) {
  const struct plan_reduce *reduce = &k->op->reduce;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *out = kernel_out(k, 0);
  const bool real = plan_type_is_float(in->type);
  const uint64_t base = element_offset(in->rank, at, in_strides);
  struct sum sum = {.kind = reduce->kind, .first = true, .last_index = reduce->last_index};
  uint64_t total = 1;
  for (uint32_t axis = 0; axis < in->rank; axis++) {
    total *= (reduce->axes >> axis & 1) != 0 ? in->dims[axis] : 1;
  }
  for (uint64_t i = 0; i < total; i++) {
    uint64_t rest = i;
    uint64_t offset = base;
    for (uint32_t axis = in->rank; axis-- > 0;) {
      if ((reduce->axes >> axis & 1) != 0) {
        offset += rest % in->dims[axis] * in_strides[axis];
        rest /= in->dims[axis];
      }
    }
    if (real) {
      take_real(&sum, element_load(in->type, kernel_in_data(k, 0), offset));
    } else {
      take_whole(&sum, element_load_int(in->type, kernel_in_data(k, 0), offset));
    }
  }
  if (reduce->kind == PLAN_REDUCE_ARG_MAX || reduce->kind == PLAN_REDUCE_ARG_MIN) {
    element_store_int(out->type, kernel_out_data(k, 0), out_at, (int64_t)sum.index);
  } else if (real) {
    element_store(out->type, kernel_out_data(k, 0), out_at,
                  element_activate(&reduce->activation, real_result(&sum)));
  } else {
    element_store_int(out->type, kernel_out_data(k, 0), out_at, whole_result(&sum));
  }
}

void kernel_reduce(const struct kernel *k) {
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t in_strides[PLAN_RANK_MAX];
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(kernel_in(k, 0), in_strides);
  plan_tensor_strides(out, out_strides);
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, index, at);
    reduce_one(k, at, in_strides, element_offset(out->rank, at, out_strides));
  }
}

static void softmax_line(const struct plan_softmax *softmax, enum plan_type type, const void *in,
                         void *out, const struct line *line) {
  double greatest = (double)-INFINITY;
  double sum = 0;
  uint32_t first = 0;
  for (uint32_t i = 0; i < line->count; i++) {
    const double x = element_load(type, in, line->at + i * line->stride);
    if (x > greatest) {
      greatest = x;
      first = i;
    }
  }
  for (uint32_t i = 0; i < line->count; i++) {
    sum += exp(element_load(type, in, line->at + i * line->stride) - greatest);
  }
  for (uint32_t i = 0; i < line->count; i++) {
    const double x = element_load(type, in, line->at + i * line->stride) - greatest;
    const double y = softmax->hard ? i == first : softmax->logarithm ? x - log(sum) : exp(x) / sum;
    element_store(type, out, line->at + i * line->stride, y);
  }
}

void kernel_softmax(const struct kernel *k) {
  const struct plan_softmax *softmax = &k->op->softmax;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct element_range range =
      element_part(lines_count(in, softmax->axis), k->part, k->parts);
  for (uint64_t i = range.begin; i < range.end; i++) {
    const struct line line = line_of(in, softmax->axis, i);
    softmax_line(softmax, in->type, kernel_in_data(k, 0), kernel_out_data(k, 0), &line);
  }
}

/* Mean (0 for rms) and 1 / deviation of `count` elements. */
static void moments(enum plan_type type, const void *data, uint64_t at, uint64_t count, bool rms,
                    float epsilon, double *ret_mean, double *ret_scale) {
  double mean = 0;
  double variance = 0;
  for (uint64_t i = 0; !rms && i < count; i++) {
    mean += element_load(type, data, at + i);
  }
  mean /= (double)count;
  for (uint64_t i = 0; i < count; i++) {
    const double x = element_load(type, data, at + i) - mean;
    variance += x * x;
  }
  *ret_mean = mean;
  *ret_scale = 1 / sqrt(variance / (double)count + (double)epsilon);
}

void kernel_layer_norm(const struct kernel *k) {
  const struct plan_normalize *normalize = &k->op->normalize;
  const struct plan_tensor *in = kernel_in(k, 0);
  uint64_t width = 1;
  for (uint32_t i = normalize->axis; i < in->rank; i++) {
    width *= in->dims[i];
  }
  const struct element_range range =
      element_part(plan_tensor_elements(in) / width, k->part, k->parts);
  for (uint64_t row = range.begin; row < range.end; row++) {
    double mean = 0;
    double scale = 0;
    moments(in->type, kernel_in_data(k, 0), row * width, width, normalize->rms, normalize->epsilon,
            &mean, &scale);
    for (uint64_t i = 0; i < width; i++) {
      double y = (element_load(in->type, kernel_in_data(k, 0), row * width + i) - mean) * scale;
      y *= kernel_has_input(k, 1) ? element_load(in->type, kernel_in_data(k, 1), i) : 1;
      y += kernel_has_input(k, 2) ? element_load(in->type, kernel_in_data(k, 2), i) : 0;
      element_store(in->type, kernel_out_data(k, 0), row * width + i, y);
    }
  }
}

void kernel_group_norm(const struct kernel *k) {
  const struct plan_normalize *normalize = &k->op->normalize;
  const struct plan_tensor *in = kernel_in(k, 0);
  const uint64_t groups = (uint64_t)in->dims[0] * normalize->groups;
  const uint64_t width = plan_tensor_elements(in) / groups;
  const uint64_t channels = in->dims[1] / normalize->groups;
  const uint64_t pixels = width / channels;
  const struct element_range range = element_part(groups, k->part, k->parts);
  for (uint64_t group = range.begin; group < range.end; group++) {
    double mean = 0;
    double scale = 0;
    moments(in->type, kernel_in_data(k, 0), group * width, width, false, normalize->epsilon, &mean,
            &scale);
    for (uint64_t i = 0; i < width; i++) {
      const uint64_t channel = group % normalize->groups * channels + i / pixels;
      double y = (element_load(in->type, kernel_in_data(k, 0), group * width + i) - mean) * scale;
      y *= kernel_has_input(k, 1) ? element_load(in->type, kernel_in_data(k, 1), channel) : 1;
      y += kernel_has_input(k, 2) ? element_load(in->type, kernel_in_data(k, 2), channel) : 0;
      element_store(in->type, kernel_out_data(k, 0), group * width + i, y);
    }
  }
}

size_t kernel_topk_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors) {
  return tensors[op->inputs[0]].dims[op->topk.axis] * sizeof(uint32_t);
}

struct order {
  const struct plan_tensor *tensor;
  const void *data;
  struct line line;
  bool largest;
};

/* Whether element a comes before b: by value, equal ones by index. */
static bool before(const struct order *o, uint32_t a, uint32_t b) {
  if (plan_type_is_float(o->tensor->type)) {
    const double x = element_load(o->tensor->type, o->data, o->line.at + a * o->line.stride);
    const double y = element_load(o->tensor->type, o->data, o->line.at + b * o->line.stride);
    return o->largest ? x > y || (!(x < y) && a < b) : x < y || (!(x > y) && a < b);
  }
  const int64_t x = element_load_int(o->tensor->type, o->data, o->line.at + a * o->line.stride);
  const int64_t y = element_load_int(o->tensor->type, o->data, o->line.at + b * o->line.stride);
  return x == y ? a < b : o->largest ? x > y : x < y;
}

static void sift(const struct order *o, uint32_t *heap, uint32_t count, uint32_t at) {
  for (;;) {
    uint32_t last = at;
    for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
      last = before(o, heap[last], heap[child]) ? child : last;
    }
    if (last == at) {
      return;
    }
    const uint32_t swap = heap[at];
    heap[at] = heap[last];
    heap[last] = swap;
    at = last;
  }
}

/* A heap of the k best whose root is the worst of them, then sorted by taking the root off. */
static void sort_best(const struct order *o, uint32_t *heap, uint32_t k) {
  for (uint32_t i = 0; i < k; i++) {
    heap[i] = i;
  }
  for (uint32_t i = k / 2; i-- > 0;) {
    sift(o, heap, k, i);
  }
  for (uint32_t i = k; i < o->line.count; i++) {
    if (before(o, i, heap[0])) {
      heap[0] = i;
      sift(o, heap, k, 0);
    }
  }
  for (uint32_t left = k; left-- > 1;) {
    const uint32_t worst = heap[0];
    heap[0] = heap[left];
    heap[left] = worst;
    sift(o, heap, left, 0);
  }
}

void kernel_topk(const struct kernel *k) {
  const struct plan_topk *topk = &k->op->topk;
  const struct plan_tensor *in = kernel_in(k, 0);
  const uint32_t values = k->op->outputs[0];
  const uint32_t indices = k->op->outputs_count > 1 ? k->op->outputs[1] : PLAN_NONE;
  const struct plan_tensor *out = &k->tensors[values != PLAN_NONE ? values : indices];
  const uint32_t bytes = plan_type_bytes(in->type);
  uint32_t *heap = k->scratch;
  const struct element_range range = element_part(lines_count(in, topk->axis), k->part, k->parts);
  for (uint64_t i = range.begin; i < range.end; i++) {
    const struct order order = {.tensor = in,
                                .data = kernel_in_data(k, 0),
                                .line = line_of(in, topk->axis, i),
                                .largest = topk->largest};
    const struct line to = line_of(out, topk->axis, i);
    sort_best(&order, heap, to.count);
    for (uint32_t j = 0; j < to.count; j++) {
      if (values != PLAN_NONE) {
        memcpy((unsigned char *)k->data[values] + (to.at + j * to.stride) * bytes,
               (const unsigned char *)order.data +
                   (order.line.at + heap[j] * order.line.stride) * bytes,
               bytes);
      }
      if (indices != PLAN_NONE) {
        element_store_int(PLAN_I64, k->data[indices], to.at + j * to.stride, heap[j]);
      }
    }
  }
}

void kernel_cumsum(const struct kernel *k) {
  const struct plan_cumsum *cumsum = &k->op->cumsum;
  const struct plan_tensor *in = kernel_in(k, 0);
  const bool real = plan_type_is_float(in->type);
  const struct element_range range = element_part(lines_count(in, cumsum->axis), k->part, k->parts);
  for (uint64_t i = range.begin; i < range.end; i++) {
    const struct line line = line_of(in, cumsum->axis, i);
    double sum = 0;
    uint64_t whole = 0;
    for (uint32_t j = 0; j < line.count; j++) {
      const uint64_t at = line.at + (cumsum->reverse ? line.count - 1 - j : j) * line.stride;
      const double x = real ? element_load(in->type, kernel_in_data(k, 0), at) : 0;
      const uint64_t w = real ? 0 : (uint64_t)element_load_int(in->type, kernel_in_data(k, 0), at);
      if (real) {
        element_store(in->type, kernel_out_data(k, 0), at, cumsum->exclusive ? sum : sum + x);
      } else {
        element_store_int(in->type, kernel_out_data(k, 0), at,
                          (int64_t)(cumsum->exclusive ? whole : whole + w));
      }
      sum += x;
      whole += w;
    }
  }
}
