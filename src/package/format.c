/* One description of the layout serves both directions: each visit_* function walks a struct and
 * writes, measures or reads its fields in turn, so that writing and reading can't disagree. */
#include "package/format.h"

#include <string.h>

#include "base/check.h"

enum {
  MAGIC_BYTES = 8,
  /* magic, version, flags, payload's bytes, payload's checksum, weights' checksum. */
  HEADER_BYTES = MAGIC_BYTES + 4 + 4 + 8 + 8 + 8,
  TABLES = 8,
  TABLE_ENTRIES = 256,
};

static const char magic[MAGIC_BYTES] = {'C', 'W', 'P', 'L', 'A', 'N', '\r', '\n'};

/* ------------------------------------------------------------------------------------ checksum */

/* CRC-64 of the XZ format (ECMA-182 reflected), eight bytes at a time. */
#define POLYNOMIAL UINT64_C(0xc96c5795d7870f42)

static void make_tables(uint64_t tables[TABLES][TABLE_ENTRIES]) {
  for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
    uint64_t remainder = i;
    for (int bit = 0; bit < 8; bit++) {
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? POLYNOMIAL : 0);
    }
    tables[0][i] = remainder;
  }
  for (int table = 1; table < TABLES; table++) {
    for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
      const uint64_t before = tables[table - 1][i];
      tables[table][i] = tables[0][before & 0xff] ^ (before >> 8);
    }
  }
}

uint64_t format_checksum(uint64_t checksum, const void *bytes, size_t bytes_count) {
  uint64_t tables[TABLES][TABLE_ENTRIES];
  make_tables(tables);
  const unsigned char *at = bytes;
  uint64_t crc = ~checksum;
  size_t left = bytes_count;
  for (; left >= TABLES; left -= TABLES, at += TABLES) {
    for (int i = 0; i < TABLES; i++) {
      crc ^= (uint64_t)at[i] << (8 * i);
    }
    uint64_t next = 0;
    for (int i = 0; i < TABLES; i++) {
      next ^= tables[TABLES - 1 - i][(crc >> (8 * i)) & 0xff];
    }
    crc = next;
  }
  for (; left > 0; left--, at++) {
    crc = tables[0][(crc ^ *at) & 0xff] ^ (crc >> 8);
  }
  return ~crc;
}

/* -------------------------------------------------------------------------------------- streams */

enum stream_mode { STREAM_MEASURE, STREAM_WRITE, STREAM_READ };

struct stream {
  enum stream_mode mode;
  unsigned char *written; /* WRITE */
  const unsigned char *read;
  size_t at;
  size_t bytes;        /* READ: of the payload; WRITE: room */
  struct arena *arena; /* READ; may be counting */
  bool has_failed;     /* READ: the bytes end early or can't be */
};

/* A field of 1, 4 or 8 bytes, little-endian. */
static uint64_t visit_bytes(struct stream *s, uint64_t value, size_t count) {
  if (s->mode == STREAM_MEASURE) {
    s->at += count;
    return value;
  }
  if (s->has_failed || s->bytes - s->at < count) {
    s->has_failed = true;
    return 0;
  }
  uint64_t read = 0;
  for (size_t i = 0; i < count; i++) {
    if (s->mode == STREAM_WRITE) {
      s->written[s->at + i] = (unsigned char)(value >> (8 * i));
    } else {
      read |= (uint64_t)s->read[s->at + i] << (8 * i);
    }
  }
  s->at += count;
  return s->mode == STREAM_WRITE ? value : read;
}

static void visit_u32(struct stream *s, uint32_t *value) {
  *value = (uint32_t)visit_bytes(s, *value, 4);
}

static void visit_i32(struct stream *s, int32_t *value) {
  *value = (int32_t)(uint32_t)visit_bytes(s, (uint32_t)*value, 4);
}

static void visit_u64(struct stream *s, uint64_t *value) {
  *value = visit_bytes(s, *value, 8);
}

static void visit_f32(struct stream *s, float *value) {
  uint32_t bits = 0;
  memcpy(&bits, value, sizeof(bits));
  visit_u32(s, &bits);
  memcpy(value, &bits, sizeof(bits));
}

static void visit_f64(struct stream *s, double *value) {
  uint64_t bits = 0;
  memcpy(&bits, value, sizeof(bits));
  visit_u64(s, &bits);
  memcpy(value, &bits, sizeof(bits));
}

static void visit_bool(struct stream *s, bool *value) {
  const uint64_t read = visit_bytes(s, *value ? 1 : 0, 1);
  s->has_failed = s->has_failed || read > 1;
  *value = read == 1;
}

/* Enumerations are plain numbers here; plan_check() knows which there are. */
#define VISIT_ENUM(s, value)                                                                       \
  do {                                                                                             \
    uint32_t number_ = (uint32_t)(value);                                                          \
    visit_u32(s, &number_);                                                                        \
    (value) = number_ <= INT32_MAX ? (__typeof__(value))number_ : (__typeof__(value))0;            \
    (s)->has_failed = (s)->has_failed || number_ > INT32_MAX;                                      \
  } while (0)

/* The text without its NUL, behind its length. A NUL within it would hide what follows from all who
 * read the name. */
static void visit_text(struct stream *s, char *text, size_t capacity) {
  uint32_t length = s->mode == STREAM_READ ? 0 : (uint32_t)strnlen(text, capacity - 1);
  visit_u32(s, &length);
  if (length >= capacity) {
    s->has_failed = true;
    length = 0;
  }
  for (uint32_t i = 0; i < length; i++) {
    text[i] = (char)visit_bytes(s, (unsigned char)text[i], 1);
    s->has_failed = s->has_failed || text[i] == '\0';
  }
  text[length] = '\0';
}

static void visit_u32s(struct stream *s, uint32_t *values, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    visit_u32(s, &values[i]);
  }
}

union item {
  uint32_t index;
  struct plan_buffer buffer;
  struct plan_tensor tensor;
  struct plan_step step;
  struct plan_op op;
  struct plan_batch batch;
  struct plan_port port;
};

typedef void visit_item(struct stream *s, union item *item);

/* `count` items; reading makes room for them in the arena, but not for more than the bytes that are
 * left could hold. */
static const void *visit_items(struct stream *s, const void *items, uint32_t count,
                               size_t item_bytes, size_t encoded_bytes_min, visit_item *visit) {
  unsigned char *made = NULL;
  if (s->mode == STREAM_READ) {
    if (s->has_failed || count > (s->bytes - s->at) / encoded_bytes_min) {
      s->has_failed = true;
      return NULL;
    }
    made = arena_take(s->arena, count, item_bytes);
  }
  for (uint32_t i = 0; i < count && !s->has_failed; i++) {
    union item item;
    memset(&item, 0, sizeof(item));
    if (s->mode != STREAM_READ) {
      memcpy(&item, (const unsigned char *)items + i * item_bytes, item_bytes);
    }
    visit(s, &item);
    if (made != NULL) {
      memcpy(made + i * item_bytes, &item, item_bytes);
    }
  }
  return s->mode == STREAM_READ ? made : items;
}

/* --------------------------------------------------------------------------------------- layout */

static void visit_index(struct stream *s, union item *item) {
  visit_u32(s, &item->index);
}

static void visit_buffer(struct stream *s, union item *item) {
  struct plan_buffer *buffer = &item->buffer;
  VISIT_ENUM(s, buffer->place);
  visit_u64(s, &buffer->offset_bytes);
  visit_u64(s, &buffer->bytes);
  visit_u32(s, &buffer->first_op);
  visit_u32(s, &buffer->last_op);
}

static void visit_tensor(struct stream *s, union item *item) {
  struct plan_tensor *tensor = &item->tensor;
  VISIT_ENUM(s, tensor->type);
  VISIT_ENUM(s, tensor->layout);
  visit_u32(s, &tensor->rank);
  visit_u32s(s, tensor->dims, PLAN_RANK_MAX);
  visit_u32(s, &tensor->pitch);
  visit_u32(s, &tensor->buffer);
  visit_u64(s, &tensor->offset_bytes);
}

static void visit_activation(struct stream *s, struct plan_activation *activation) {
  VISIT_ENUM(s, activation->kind);
  visit_f32(s, &activation->alpha);
  visit_f32(s, &activation->beta);
}

static void visit_operand(struct stream *s, struct plan_operand *operand) {
  VISIT_ENUM(s, operand->kind);
  visit_u32(s, &operand->index);
  visit_f64(s, &operand->number);
}

static void visit_step(struct stream *s, union item *item) {
  struct plan_step *step = &item->step;
  VISIT_ENUM(s, step->scalar);
  VISIT_ENUM(s, step->type);
  visit_operand(s, &step->a);
  visit_operand(s, &step->b);
  visit_operand(s, &step->c);
  visit_activation(s, &step->activation);
}

static void visit_conv(struct stream *s, struct plan_conv *conv) {
  visit_u32(s, &conv->spatial);
  visit_u32(s, &conv->groups);
  visit_u32s(s, conv->strides, PLAN_SPATIAL_MAX);
  visit_u32s(s, conv->dilations, PLAN_SPATIAL_MAX);
  visit_u32s(s, conv->pads_before, PLAN_SPATIAL_MAX);
  visit_u32s(s, conv->pads_after, PLAN_SPATIAL_MAX);
  visit_bool(s, &conv->residual_last);
  visit_activation(s, &conv->activation);
}

static void visit_pool(struct stream *s, struct plan_pool *pool) {
  VISIT_ENUM(s, pool->kind);
  visit_u32(s, &pool->spatial);
  visit_u32s(s, pool->kernel, PLAN_SPATIAL_MAX);
  visit_u32s(s, pool->strides, PLAN_SPATIAL_MAX);
  visit_u32s(s, pool->dilations, PLAN_SPATIAL_MAX);
  visit_u32s(s, pool->pads_before, PLAN_SPATIAL_MAX);
  visit_u32s(s, pool->pads_after, PLAN_SPATIAL_MAX);
  visit_bool(s, &pool->count_padding);
  visit_u32s(s, pool->declared_pads_after, PLAN_SPATIAL_MAX);
  visit_u32(s, &pool->p);
}

static void visit_resize(struct stream *s, struct plan_resize *resize) {
  VISIT_ENUM(s, resize->mode);
  VISIT_ENUM(s, resize->coordinates);
  VISIT_ENUM(s, resize->rounding);
  for (int i = 0; i < PLAN_RANK_MAX; i++) {
    visit_f32(s, &resize->scales[i]);
  }
  visit_f32(s, &resize->cubic_a);
  visit_bool(s, &resize->exclude_outside);
}

static void visit_recurrent(struct stream *s, struct plan_recurrent *recurrent) {
  VISIT_ENUM(s, recurrent->direction);
  visit_u32(s, &recurrent->hidden);
  visit_bool(s, &recurrent->linear_before_reset);
  for (int i = 0; i < 6; i++) {
    visit_activation(s, &recurrent->activations[i]);
  }
}

static void visit_pointwise(struct stream *s, struct plan_pointwise *pointwise) {
  enum { STEP_BYTES_MIN = 4 + 4 + 3 * (4 + 4 + 8) + 12 };
  visit_u32(s, &pointwise->steps_count);
  pointwise->steps = visit_items(s, pointwise->steps, pointwise->steps_count,
                                 sizeof(struct plan_step), STEP_BYTES_MIN, visit_step);
}

static void visit_normalize(struct stream *s, struct plan_normalize *normalize) {
  visit_u32(s, &normalize->axis);
  visit_u32(s, &normalize->groups);
  visit_bool(s, &normalize->rms);
  visit_f32(s, &normalize->epsilon);
}

static void visit_lrn(struct stream *s, struct plan_lrn *lrn) {
  visit_u32(s, &lrn->size);
  visit_f32(s, &lrn->alpha);
  visit_f32(s, &lrn->beta);
  visit_f32(s, &lrn->bias);
}

static void visit_slice(struct stream *s, struct plan_slice *slice) {
  visit_u32s(s, slice->starts, PLAN_RANK_MAX);
  for (int i = 0; i < PLAN_RANK_MAX; i++) {
    visit_i32(s, &slice->steps[i]);
  }
}

static void visit_pad(struct stream *s, struct plan_pad *pad) {
  VISIT_ENUM(s, pad->mode);
  for (int i = 0; i < PLAN_RANK_MAX; i++) {
    visit_i32(s, &pad->before[i]);
  }
  visit_f64(s, &pad->fill);
}

static void visit_reduce(struct stream *s, struct plan_reduce *reduce) {
  VISIT_ENUM(s, reduce->kind);
  visit_u32(s, &reduce->axes);
  visit_bool(s, &reduce->last_index);
  visit_activation(s, &reduce->activation);
}

/* Kinds that move or order elements. */
static void visit_moves(struct stream *s, struct plan_op *op) {
  switch (op->kind) {
  case PLAN_OP_TRANSPOSE:
    visit_u32s(s, op->transpose.permutation, PLAN_RANK_MAX);
    break;
  case PLAN_OP_CONCAT:
    visit_u32(s, &op->axis);
    break;
  case PLAN_OP_SLICE:
    visit_slice(s, &op->slice);
    break;
  case PLAN_OP_PAD:
    visit_pad(s, &op->pad);
    break;
  case PLAN_OP_GATHER:
  case PLAN_OP_GATHER_ELEMENTS:
  case PLAN_OP_GATHER_ND:
  case PLAN_OP_SCATTER_ELEMENTS:
  case PLAN_OP_SCATTER_ND:
    visit_u32(s, &op->gather.axis);
    visit_u32(s, &op->gather.batch_dims);
    VISIT_ENUM(s, op->gather.reduction);
    break;
  case PLAN_OP_TOPK:
    visit_u32(s, &op->topk.axis);
    visit_bool(s, &op->topk.largest);
    break;
  case PLAN_OP_CUMSUM:
    visit_u32(s, &op->cumsum.axis);
    visit_bool(s, &op->cumsum.exclusive);
    visit_bool(s, &op->cumsum.reverse);
    break;
  case PLAN_OP_TRILU:
    visit_bool(s, &op->trilu.upper);
    visit_i32(s, &op->trilu.diagonal);
    break;
  default: /* a kind that this version does not know */
    s->has_failed = true;
    break;
  }
}

static void visit_attributes(struct stream *s, struct plan_op *op) {
  switch (op->kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
    visit_conv(s, &op->conv);
    break;
  case PLAN_OP_MATMUL:
    visit_bool(s, &op->matmul.transpose_a);
    visit_bool(s, &op->matmul.transpose_b);
    visit_f32(s, &op->matmul.alpha);
    visit_activation(s, &op->matmul.activation);
    break;
  case PLAN_OP_POOL:
    visit_pool(s, &op->pool);
    break;
  case PLAN_OP_POINTWISE:
    visit_pointwise(s, &op->pointwise);
    break;
  case PLAN_OP_REDUCE:
    visit_reduce(s, &op->reduce);
    break;
  case PLAN_OP_SOFTMAX:
    visit_u32(s, &op->softmax.axis);
    visit_bool(s, &op->softmax.logarithm);
    visit_bool(s, &op->softmax.hard);
    break;
  case PLAN_OP_LAYER_NORM:
  case PLAN_OP_GROUP_NORM:
    visit_normalize(s, &op->normalize);
    break;
  case PLAN_OP_LRN:
    visit_lrn(s, &op->lrn);
    break;
  case PLAN_OP_RESIZE:
    visit_resize(s, &op->resize);
    break;
  case PLAN_OP_LSTM:
  case PLAN_OP_GRU:
  case PLAN_OP_RNN:
    visit_recurrent(s, &op->recurrent);
    break;
  default:
    visit_moves(s, op);
    break;
  }
}

static void visit_op(struct stream *s, union item *item) {
  struct plan_op *op = &item->op;
  VISIT_ENUM(s, op->kind);
  visit_text(s, op->name, sizeof(op->name));
  visit_u32(s, &op->inputs_count);
  visit_u32(s, &op->outputs_count);
  op->inputs = visit_items(s, op->inputs, op->inputs_count, sizeof(uint32_t), 4, visit_index);
  op->outputs = visit_items(s, op->outputs, op->outputs_count, sizeof(uint32_t), 4, visit_index);
  visit_attributes(s, op);
}

static void visit_port(struct stream *s, union item *item) {
  struct plan_port *port = &item->port;
  visit_text(s, port->name, sizeof(port->name));
  VISIT_ENUM(s, port->type);
  visit_u32(s, &port->rank);
  visit_u32s(s, port->dims, PLAN_RANK_MAX);
  visit_bool(s, &port->batched);
  visit_u64(s, &port->bytes_per_request);
}

static void visit_batch(struct stream *s, const struct plan *plan, struct plan_batch *batch) {
  enum { BUFFER_BYTES = 28, TENSOR_BYTES = 60, OP_BYTES_MIN = 16 };
  visit_u32(s, &batch->batch_size);
  visit_u32(s, &batch->buffers_count);
  visit_u32(s, &batch->tensors_count);
  visit_u32(s, &batch->ops_count);
  visit_u64(s, &batch->input_bytes);
  visit_u64(s, &batch->output_bytes);
  visit_u64(s, &batch->workspace_bytes);
  visit_u64(s, &batch->naive_bytes);
  batch->inputs =
      visit_items(s, batch->inputs, plan->inputs_count, sizeof(uint32_t), 4, visit_index);
  batch->outputs =
      visit_items(s, batch->outputs, plan->outputs_count, sizeof(uint32_t), 4, visit_index);
  batch->buffers = visit_items(s, batch->buffers, batch->buffers_count, sizeof(struct plan_buffer),
                               BUFFER_BYTES, visit_buffer);
  batch->tensors = visit_items(s, batch->tensors, batch->tensors_count, sizeof(struct plan_tensor),
                               TENSOR_BYTES, visit_tensor);
  batch->ops =
      visit_items(s, batch->ops, batch->ops_count, sizeof(struct plan_op), OP_BYTES_MIN, visit_op);
}

/* `batches`: MODEL_BATCH_KINDS of them, where plan->batches are or will be. */
static void visit_plan(struct stream *s, struct plan *plan, struct plan_batch *batches) {
  enum { PORT_BYTES_MIN = 4 + 4 + 4 + 32 + 1 + 8 };
  visit_text(s, plan->name, sizeof(plan->name));
  VISIT_ENUM(s, plan->precision);
  visit_u32(s, &plan->inputs_count);
  visit_u32(s, &plan->outputs_count);
  visit_u64(s, &plan->input_bytes);
  visit_u64(s, &plan->output_bytes);
  visit_u64(s, &plan->weights_bytes);
  visit_u32(s, &plan->batch_kinds);
  s->has_failed = s->has_failed || plan->batch_kinds > MODEL_BATCH_KINDS;
  plan->inputs = visit_items(s, plan->inputs, plan->inputs_count, sizeof(struct plan_port),
                             PORT_BYTES_MIN, visit_port);
  plan->outputs = visit_items(s, plan->outputs, plan->outputs_count, sizeof(struct plan_port),
                              PORT_BYTES_MIN, visit_port);
  for (uint32_t i = 0; i < plan->batch_kinds && !s->has_failed; i++) {
    visit_batch(s, plan, &batches[i]);
  }
}

/* -------------------------------------------------------------------------------------- the file
 */

static void visit_whole(struct stream *s, const struct plan *plan) {
  struct plan copy = *plan;
  struct plan_batch batches[MODEL_BATCH_KINDS];
  CHECK_LE(plan->batch_kinds, MODEL_BATCH_KINDS);
  memcpy(batches, plan->batches, plan->batch_kinds * sizeof(batches[0]));
  visit_plan(s, &copy, batches);
}

size_t format_encoded_bytes(const struct plan *plan) {
  struct stream s = {.mode = STREAM_MEASURE};
  visit_whole(&s, plan);
  return HEADER_BYTES + s.at;
}

void format_encode(const struct plan *plan, uint64_t weights_checksum, void *ret_bytes,
                   size_t capacity_bytes) {
  unsigned char *bytes = ret_bytes;
  CHECK_GE(capacity_bytes, HEADER_BYTES);
  struct stream payload = {.mode = STREAM_WRITE,
                           .written = bytes + HEADER_BYTES,
                           .bytes = capacity_bytes - HEADER_BYTES};
  visit_whole(&payload, plan);
  CHECK(!payload.has_failed);
  memcpy(bytes, magic, MAGIC_BYTES);
  struct stream header = {
      .mode = STREAM_WRITE, .written = bytes, .at = MAGIC_BYTES, .bytes = HEADER_BYTES};
  visit_bytes(&header, FORMAT_VERSION, 4);
  visit_bytes(&header, 0, 4);
  visit_bytes(&header, payload.at, 8);
  visit_bytes(&header, format_checksum(0, bytes + HEADER_BYTES, payload.at), 8);
  visit_bytes(&header, weights_checksum, 8);
}

static enum err read_header(const unsigned char *bytes, size_t bytes_count,
                            struct stream *ret_payload, uint64_t *ret_weights_checksum) {
  if (bytes_count < HEADER_BYTES || memcmp(bytes, magic, MAGIC_BYTES) != 0) {
    return ERR_MALFORMED;
  }
  struct stream header = {
      .mode = STREAM_READ, .read = bytes, .at = MAGIC_BYTES, .bytes = HEADER_BYTES};
  const uint64_t version = visit_bytes(&header, 0, 4);
  const uint64_t reserved = visit_bytes(&header, 0, 4);
  const uint64_t payload_bytes = visit_bytes(&header, 0, 8);
  const uint64_t checksum = visit_bytes(&header, 0, 8);
  const uint64_t weights_checksum = visit_bytes(&header, 0, 8);
  if (version != FORMAT_VERSION || reserved != 0) {
    return ERR_VERSION;
  }
  if (payload_bytes != bytes_count - HEADER_BYTES ||
      format_checksum(0, bytes + HEADER_BYTES, payload_bytes) != checksum) {
    return ERR_MALFORMED;
  }
  *ret_payload = (struct stream){
      .mode = STREAM_READ, .read = bytes + HEADER_BYTES, .bytes = bytes_count - HEADER_BYTES};
  *ret_weights_checksum = weights_checksum;
  return ERR_OK;
}

/* Into the arena, which may only count: the plan, its tables, and what plan_check() works in. */
static enum err read_plan(struct stream *payload, struct arena *arena, struct plan **ret_plan,
                          void **ret_scratch) {
  payload->arena = arena;
  struct plan *plan = arena_take(arena, 1, sizeof(*plan));
  struct plan_batch *batches = arena_take(arena, MODEL_BATCH_KINDS, sizeof(*batches));
  struct plan counted;
  struct plan_batch counted_batches[MODEL_BATCH_KINDS];
  memset(&counted, 0, sizeof(counted));
  memset(counted_batches, 0, sizeof(counted_batches));
  visit_plan(payload, &counted, counted_batches);
  if (payload->has_failed || payload->at != payload->bytes) {
    return ERR_MALFORMED;
  }
  counted.batches = counted_batches;
  *ret_scratch = arena_take(arena, 1, plan_check_bytes(&counted));
  if (plan != NULL) {
    memcpy(batches, counted_batches, sizeof(counted_batches));
    *plan = counted;
    plan->batches = batches;
  }
  *ret_plan = plan;
  return ERR_OK;
}

enum err format_decoded_bytes(const void *bytes, size_t bytes_count, size_t *ret_bytes) {
  struct stream payload;
  uint64_t weights_checksum = 0;
  enum err error = read_header(bytes, bytes_count, &payload, &weights_checksum);
  if (error != ERR_OK) {
    return error;
  }
  struct arena arena;
  arena_init_counting(&arena);
  struct plan *plan = NULL;
  void *scratch = NULL;
  error = read_plan(&payload, &arena, &plan, &scratch);
  if (error == ERR_OK) {
    *ret_bytes = arena.used_bytes;
  }
  return error;
}

enum err format_decode(const void *bytes, size_t bytes_count, struct arena *arena,
                       const struct plan **ret_plan, uint64_t *ret_weights_checksum,
                       struct plan_fault *ret_fault) {
  struct stream payload;
  uint64_t weights_checksum = 0;
  struct plan *plan = NULL;
  void *scratch = NULL;
  static const char cut[] = "the file is cut off, damaged, or no plan";
  enum err error = read_header(bytes, bytes_count, &payload, &weights_checksum);
  if (error == ERR_OK) {
    error = read_plan(&payload, arena, &plan, &scratch);
  }
  if (error != ERR_OK) {
    *ret_fault = (struct plan_fault){.batch_size = 0, .op = PLAN_NONE};
    memcpy(ret_fault->text, cut, sizeof(cut));
    return error;
  }
  CHECK(plan != NULL); /* the arena was for real */
  if (!plan_check(plan, scratch, ret_fault)) {
    return ERR_MALFORMED;
  }
  *ret_plan = plan;
  *ret_weights_checksum = weights_checksum;
  return ERR_OK;
}
