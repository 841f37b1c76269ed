#include "package/checker.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/tree.h"

enum { PLACES = PLAN_WORKSPACE + 1 };

/* What is known of a buffer while its batch is gone through. */
struct life {
  struct tree_node node; /* in the tree of its place while it lives; key: its end */
  uint32_t next_begun;   /* of those that begin at the same operation */
  uint32_t next_ended;
  uint64_t written_begin; /* bytes between the first and the last that were written so far */
  uint64_t written_end;
};

/* first_begun[i], first_ended[i]: list of buffers that begin before, end behind operation i. */
struct lives {
  struct life *lives;
  uint32_t *first_begun;
  uint32_t *first_ended;
  struct tree trees[PLACES];
};

static void carve(struct lives *lives, struct arena *arena, const struct plan_batch *batch) {
  lives->lives = arena_take(arena, batch->buffers_count, sizeof(struct life));
  lives->first_begun = arena_take(arena, batch->ops_count, sizeof(uint32_t));
  lives->first_ended = arena_take(arena, batch->ops_count, sizeof(uint32_t));
}

size_t check_memory_bytes(const struct plan_batch *batch) {
  struct lives lives;
  struct arena counting;
  arena_init_counting(&counting);
  carve(&lives, &counting, batch);
  return counting.used_bytes;
}

static void list_lives(struct lives *lives, const struct plan_batch *batch) {
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    lives->first_begun[i] = PLAN_NONE;
    lives->first_ended[i] = PLAN_NONE;
  }
  for (uint32_t i = 0; i < batch->buffers_count; i++) {
    const struct plan_buffer *buffer = &batch->buffers[i];
    struct life *life = &lives->lives[i];
    *life = (struct life){.written_begin = 0, .written_end = 0};
    if (buffer->place == PLAN_WEIGHTS) { /* read-only: several may share */
      life->written_end = buffer->bytes;
      continue;
    }
    const bool is_passing = buffer->place == PLAN_WORKSPACE;
    const uint32_t first = is_passing ? buffer->first_op : 0;
    const uint32_t last = is_passing ? buffer->last_op : batch->ops_count - 1;
    life->next_begun = lives->first_begun[first];
    lives->first_begun[first] = i;
    life->next_ended = lives->first_ended[last];
    lives->first_ended[last] = i;
  }
}

/* Those in the tree have no byte in common, so their ends are in the order of their begins, and the
 * first that ends behind `buffer`'s begin is the only one that could meet it. */
static bool begin_life(struct checker *checker, struct lives *lives, uint32_t index) {
  const struct plan_buffer *buffer = &checker->batch->buffers[index];
  struct tree *tree = &lives->trees[buffer->place];
  const struct tree_node *met = tree_at_least(tree, (int64_t)buffer->offset_bytes + 1);
  const uint64_t end = buffer->offset_bytes + buffer->bytes;
  if (met != NULL) {
    const uint32_t other = (uint32_t)met->tie;
    if (checker->batch->buffers[other].offset_bytes < end) {
      return CHECKER_FAIL(checker, "buffers %u and %u share bytes and live at the same time", other,
                          index);
    }
  }
  tree_insert(tree, &lives->lives[index].node, (int64_t)end, index);
  return true;
}

bool checker_share_bytes(const struct plan_tensor *a, const struct plan_tensor *b) {
  if (a->buffer != b->buffer) {
    return false;
  }
  const uint64_t a_end = a->offset_bytes + plan_tensor_span_bytes(a);
  const uint64_t b_end = b->offset_bytes + plan_tensor_span_bytes(b);
  if (a->offset_bytes >= b_end || b->offset_bytes >= a_end) {
    return false;
  }
  const uint64_t element = plan_type_bytes(a->type);
  const uint64_t pixel = a->pitch * element;
  if (a->layout != PLAN_CHANNELS_LAST || b->layout != PLAN_CHANNELS_LAST ||
      b->pitch * (uint64_t)plan_type_bytes(b->type) != pixel) {
    return true;
  }
  /* Windows of channels that do not meet, in images of one pitch. */
  const uint64_t a_from = a->offset_bytes % pixel;
  const uint64_t b_from = b->offset_bytes % pixel;
  const uint64_t a_to = a_from + a->dims[1] * element;
  const uint64_t b_to = b_from + b->dims[1] * (uint64_t)plan_type_bytes(b->type);
  return a_to > pixel || b_to > pixel || (a_from < b_to && b_from < a_to);
}

/* Whether the operation's kind lets its first output take the place of input `i`. */
static bool may_replace(const struct plan_op *op, uint32_t i, const struct plan_tensor *in,
                        const struct plan_tensor *out) {
  switch (op->kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
  case PLAN_OP_MATMUL:
    if (i != 3) {
      return false;
    }
    break;
  case PLAN_OP_POINTWISE:
    break;
  case PLAN_OP_SOFTMAX:
  case PLAN_OP_LAYER_NORM:
    if (i != 0) {
      return false;
    }
    break;
  default:
    return false;
  }
  return in->offset_bytes == out->offset_bytes && in->layout == out->layout &&
         in->pitch == out->pitch && checker_same_dims(in, out) &&
         plan_type_bytes(in->type) == plan_type_bytes(out->type);
}

static bool lives_now(const struct checker *checker, uint32_t tensor) {
  const struct plan_buffer *buffer =
      &checker->batch->buffers[checker->batch->tensors[tensor].buffer];
  return buffer->place != PLAN_WORKSPACE ||
         (buffer->first_op <= checker->op_index && checker->op_index <= buffer->last_op);
}

static bool check_reads(struct checker *checker, const struct lives *lives) {
  const struct plan_op *op = checker->op;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    const struct plan_tensor *in = checker_in(checker, i);
    if (in == NULL) {
      continue;
    }
    const struct life *life = &lives->lives[in->buffer];
    if (!lives_now(checker, op->inputs[i]) || in->offset_bytes < life->written_begin ||
        in->offset_bytes + plan_tensor_span_bytes(in) > life->written_end) {
      return CHECKER_FAIL(checker, "reads tensor %u, which nothing has written", op->inputs[i]);
    }
  }
  return true;
}

static bool check_writes(struct checker *checker, struct lives *lives) {
  const struct plan_op *op = checker->op;
  for (uint32_t o = 0; o < op->outputs_count; o++) {
    const struct plan_tensor *out = checker_out(checker, o);
    if (out == NULL) {
      continue;
    }
    const enum plan_place place = checker->batch->buffers[out->buffer].place;
    if ((place != PLAN_WORKSPACE && place != PLAN_OUTPUT) || !lives_now(checker, op->outputs[o])) {
      return CHECKER_FAIL(checker, "writes tensor %u, whose buffer is read-only or not alive",
                          op->outputs[o]);
    }
    for (uint32_t i = 0; i < op->inputs_count; i++) {
      const struct plan_tensor *in = checker_in(checker, i);
      if (in != NULL && checker_share_bytes(in, out) && !(o == 0 && may_replace(op, i, in, out))) {
        return CHECKER_FAIL(checker, "output tensor %u shares bytes with input tensor %u",
                            op->outputs[o], op->inputs[i]);
      }
    }
    for (uint32_t p = 0; p < o; p++) {
      const struct plan_tensor *other = checker_out(checker, p);
      if (other != NULL && checker_share_bytes(other, out)) {
        return CHECKER_FAIL(checker, "output tensors %u and %u share bytes", op->outputs[p],
                            op->outputs[o]);
      }
    }
    struct life *life = &lives->lives[out->buffer];
    const uint64_t begin = out->offset_bytes;
    const uint64_t end = begin + plan_tensor_span_bytes(out);
    const bool is_first = life->written_end == 0;
    life->written_begin = is_first || begin < life->written_begin ? begin : life->written_begin;
    life->written_end = end > life->written_end ? end : life->written_end;
  }
  return true;
}

static bool check_step_of_time(struct checker *checker, struct lives *lives) {
  const uint32_t now = checker->op_index;
  for (uint32_t i = lives->first_begun[now]; i != PLAN_NONE; i = lives->lives[i].next_begun) {
    if (!begin_life(checker, lives, i)) {
      return false;
    }
  }
  if (!check_reads(checker, lives) || !check_writes(checker, lives)) {
    return false;
  }
  for (uint32_t i = lives->first_ended[now]; i != PLAN_NONE; i = lives->lives[i].next_ended) {
    tree_remove(&lives->trees[checker->batch->buffers[i].place], &lives->lives[i].node);
  }
  return true;
}

static bool check_outputs_written(struct checker *checker, const struct lives *lives) {
  for (uint32_t i = 0; i < checker->plan->outputs_count; i++) {
    const struct plan_tensor *tensor = &checker->batch->tensors[checker->batch->outputs[i]];
    const struct life *life = &lives->lives[tensor->buffer];
    if (tensor->offset_bytes < life->written_begin ||
        tensor->offset_bytes + plan_tensor_span_bytes(tensor) > life->written_end) {
      return CHECKER_FAIL(checker, "nothing writes output %s", checker->plan->outputs[i].name);
    }
  }
  return true;
}

bool check_memory(struct checker *checker, void *scratch) {
  const struct plan_batch *batch = checker->batch;
  struct arena arena = {
      .memory = scratch, .capacity_bytes = check_memory_bytes(batch), .used_bytes = 0};
  struct lives lives = {.lives = NULL};
  carve(&lives, &arena, batch);
  list_lives(&lives, batch);
  for (uint32_t i = 0; i < checker->plan->inputs_count; i++) {
    const struct plan_tensor *tensor = &batch->tensors[batch->inputs[i]];
    lives.lives[tensor->buffer].written_begin = tensor->offset_bytes;
    lives.lives[tensor->buffer].written_end = tensor->offset_bytes + plan_tensor_span_bytes(tensor);
  }
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    checker->op_index = i;
    checker->op = &batch->ops[i];
    if (!check_step_of_time(checker, &lives)) {
      return false;
    }
  }
  checker->op_index = PLAN_NONE;
  return check_outputs_written(checker, &lives);
}
