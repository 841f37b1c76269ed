/* Values that share memory (views, slices of a concatenation, operations in place) are gathered
 * into storages first; a storage becomes a buffer.
 */
#include "compiler/emit.h"

#include <string.h>

#include "package/memory_plan.h"

struct slot { /* where a value lies */
  uint32_t storage;
  uint64_t offset_bytes;
  uint32_t pitch;
  uint32_t tensor; /* PLAN_NONE until it is named */
  bool placed;
};

struct storage {
  enum plan_place place;
  uint64_t bytes;
  uint64_t naive_bytes;
  uint64_t offset_bytes; /* INPUT, OUTPUT, WEIGHTS */
  uint32_t first_op;
  uint32_t last_op;
  uint32_t buffer;
  uint32_t members;
  uint32_t merged; /* the storage that took this one's place; GRAPH_NONE */
};

struct emission {
  struct graph *graph;
  struct context *context;
  struct slot *slots; /* per value */
  uint32_t *last_use; /* per value: index of the last operation that reads it */
  struct storage *storages;
  uint32_t storages_count;
  uint32_t storages_capacity;
};

static uint64_t align_up(uint64_t bytes) {
  return (bytes + PLAN_ALIGN_BYTES - 1) / PLAN_ALIGN_BYTES * PLAN_ALIGN_BYTES;
}

static uint32_t add_storage(struct emission *e, enum plan_place place, uint64_t bytes,
                            uint64_t offset_bytes) {
  context_grow(e->context, (void **)&e->storages, &e->storages_capacity, e->storages_count,
               sizeof(e->storages[0]));
  e->storages[e->storages_count] = (struct storage){
      .place = place,
      .bytes = bytes,
      .naive_bytes = bytes,
      .offset_bytes = offset_bytes,
      .first_op = UINT32_MAX,
      .buffer = PLAN_NONE,
      .merged = GRAPH_NONE,
  };
  return e->storages_count++;
}

static void place_value(struct emission *e, uint32_t value, uint32_t storage, uint64_t offset_bytes,
                        uint32_t pitch) {
  e->slots[value] = (struct slot){.storage = storage,
                                  .offset_bytes = offset_bytes,
                                  .pitch = pitch,
                                  .tensor = PLAN_NONE,
                                  .placed = true};
  e->storages[storage].members++;
}

static uint32_t own_pitch(const struct graph_value *value) {
  return value->layout == PLAN_CHANNELS_LAST ? value->dims[1] : 0;
}

/* A value of its own in the workspace, unless it is an output or a constant. */
static void place_alone(struct emission *e, uint32_t value) {
  const uint64_t bytes = graph_bytes(e->graph, value);
  place_value(e, value, add_storage(e, PLAN_WORKSPACE, bytes, 0), 0,
              own_pitch(graph_value(e->graph, value)));
}

/* A value read through another pitch than its own dims say can't be viewed differently. */
static bool is_dense(const struct emission *e, uint32_t value) {
  return e->slots[value].pitch == own_pitch(graph_value(e->graph, value));
}

/* Ports get their places. An output that is an input or a constant, or the same as another output,
 * was given a copy of its own before (separate_outputs). */
static void place_ports(struct emission *e, uint64_t *ret_input_bytes, uint64_t *ret_output_bytes) {
  uint64_t offset = 0;
  for (uint32_t i = 0; i < e->graph->inputs_count; i++) {
    const uint64_t bytes = graph_bytes(e->graph, e->graph->inputs[i]);
    place_value(e, e->graph->inputs[i], add_storage(e, PLAN_INPUT, bytes, offset), 0, 0);
    offset += align_up(bytes);
  }
  *ret_input_bytes = offset;
  offset = 0;
  for (uint32_t i = 0; i < e->graph->outputs_count; i++) {
    const uint64_t bytes = graph_bytes(e->graph, e->graph->outputs[i]);
    place_value(e, e->graph->outputs[i], add_storage(e, PLAN_OUTPUT, bytes, offset), 0, 0);
    offset += align_up(bytes);
  }
  *ret_output_bytes = offset;
}

/* A CONCAT of image channels is no work where its inputs can be written in place: made by an
 * operation that takes any pitch, read as images, and nothing else's slice yet. Walking backwards,
 * a concatenation is placed before its inputs. */
static bool takes_pitch(const struct graph_op *op) {
  switch (op->plan.kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_POOL:
  case PLAN_OP_POINTWISE:
  case PLAN_OP_CONCAT:
    return true;
  default:
    return false;
  }
}

static bool can_be_slice(const struct emission *e, const uint8_t *fixed, uint32_t value) {
  const struct graph_op *producer = graph_producer(e->graph, value);
  return producer != NULL && takes_pitch(producer) && !e->slots[value].placed &&
         fixed[value] == 0 && graph_value(e->graph, value)->layout == PLAN_CHANNELS_LAST &&
         !graph_value(e->graph, value)->is_output;
}

/* Values whose memory must have no gaps: read or viewed by an operation that takes none. */
static uint8_t *find_fixed(struct emission *e) {
  uint8_t *fixed = context_take(e->context, e->graph->values_count, 1);
  for (uint32_t i = 0; i < e->graph->ops_count; i++) {
    const struct graph_op *op = &e->graph->ops[i];
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      if (op->inputs[j] != GRAPH_NONE && !takes_pitch(op)) {
        fixed[op->inputs[j]] = 1;
      }
    }
    if (op->plan.kind == PLAN_OP_CONV) {
      fixed[op->inputs[1]] = 1; /* weights, should something compute them */
    }
  }
  return fixed;
}

static void place_concat_inputs(struct emission *e, const uint8_t *fixed,
                                const struct graph_op *op) {
  const uint32_t out = op->outputs[0];
  const struct graph_value *image = graph_value(e->graph, out);
  if (image->layout != PLAN_CHANNELS_LAST || op->plan.axis != 1) {
    return;
  }
  const uint64_t element = plan_type_bytes(image->type);
  uint64_t channel = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    const uint32_t in = op->inputs[i];
    if (can_be_slice(e, fixed, in)) {
      place_value(e, in, e->slots[out].storage, e->slots[out].offset_bytes + channel * element,
                  e->slots[out].pitch);
    }
    channel += graph_value(e->graph, in)->dims[1];
  }
}

/* Views backwards: what an output views is written where the output lies. */
static void place_backwards(struct emission *e) {
  const uint8_t *fixed = find_fixed(e);
  for (uint32_t i = e->graph->ops_count; i-- > 0;) {
    const struct graph_op *op = &e->graph->ops[i];
    if ((uint32_t)op->plan.kind == GRAPH_VIEW) {
      const uint32_t in = op->inputs[0];
      const uint32_t out = op->outputs[0];
      if (e->slots[out].placed && !e->slots[in].placed && is_dense(e, out)) {
        place_value(e, in, e->slots[out].storage, e->slots[out].offset_bytes,
                    own_pitch(graph_value(e->graph, in)));
      }
    } else if (op->plan.kind == PLAN_OP_CONCAT) {
      if (!e->slots[op->outputs[0]].placed) {
        place_alone(e, op->outputs[0]);
      }
      place_concat_inputs(e, fixed, op);
    }
  }
}

static bool may_be_in_place(const struct emission *e, const struct graph_op *op, uint32_t input) {
  const struct graph_value *in = graph_value(e->graph, op->inputs[input]);
  const struct graph_value *out = graph_value(e->graph, op->outputs[0]);
  if (in->rank != out->rank || memcmp(in->dims, out->dims, sizeof(in->dims)) != 0 ||
      in->layout != out->layout) {
    return false;
  }
  switch (op->plan.kind) {
  case PLAN_OP_POINTWISE:
    return plan_type_bytes(in->type) == plan_type_bytes(out->type);
  case PLAN_OP_CONV:
  case PLAN_OP_MATMUL:
    return input == 3 && in->type == out->type;
  case PLAN_OP_SOFTMAX:
  case PLAN_OP_LAYER_NORM:
    return input == 0;
  default:
    return false;
  }
}

/* Whether nothing reads the input's memory after this operation, and no other input shares it: only
 * a program may read a value twice and write it in place, element by element. */
static bool dies_here(const struct emission *e, const struct graph_op *op, uint32_t input,
                      uint32_t at, const uint32_t *storage_last) {
  const struct slot *slot = &e->slots[op->inputs[input]];
  const struct storage *storage = &e->storages[slot->storage];
  if (storage->place != PLAN_WORKSPACE || storage_last[slot->storage] > at ||
      slot->offset_bytes != 0 || graph_bytes(e->graph, op->inputs[input]) != storage->bytes) {
    return false;
  }
  for (uint32_t j = 0; j < op->inputs_count; j++) {
    if (j != input && op->inputs[j] != GRAPH_NONE && !graph_is_constant(e->graph, op->inputs[j]) &&
        e->slots[op->inputs[j]].storage == slot->storage &&
        (op->inputs[j] != op->inputs[input] || op->plan.kind != PLAN_OP_POINTWISE)) {
      return false;
    }
  }
  return true;
}

/* Storages' last readers as far as they are known: values that were placed. */
static void note_reads(struct emission *e, uint32_t value, uint32_t *storage_last) {
  uint32_t *last = &storage_last[e->slots[value].storage];
  if (e->last_use[value] > *last) {
    *last = e->last_use[value];
  }
}

static void place_output(struct emission *e, const struct graph_op *op, uint32_t at, uint32_t out,
                         uint32_t *storage_last) {
  if ((uint32_t)op->plan.kind == GRAPH_VIEW) {
    const uint32_t in = op->inputs[0];
    place_value(e, out, e->slots[in].storage, e->slots[in].offset_bytes,
                own_pitch(graph_value(e->graph, out)));
    return;
  }
  for (uint32_t j = 0; op->outputs_count == 1 && j < op->inputs_count; j++) {
    const uint32_t in = op->inputs[j];
    if (in != GRAPH_NONE && !graph_is_constant(e->graph, in) && may_be_in_place(e, op, j) &&
        is_dense(e, in) && dies_here(e, op, j, at, storage_last)) {
      place_value(e, out, e->slots[in].storage, 0, e->slots[in].pitch);
      e->storages[e->slots[in].storage].naive_bytes += graph_bytes(e->graph, out);
      return;
    }
  }
  place_alone(e, out);
}

static void place_forwards(struct emission *e) {
  /* Every value opens one storage at most. */
  uint32_t *storage_last =
      context_take(e->context, (uint64_t)e->graph->values_count + e->storages_count + 1,
                   sizeof(storage_last[0]));
  for (uint32_t v = 0; v < e->graph->values_count; v++) {
    if (e->slots[v].placed) {
      note_reads(e, v, storage_last);
    }
  }
  for (uint32_t i = 0; i < e->graph->ops_count; i++) {
    const struct graph_op *op = &e->graph->ops[i];
    for (uint32_t j = 0; j < op->outputs_count; j++) {
      const uint32_t out = op->outputs[j];
      if (out != GRAPH_NONE && !e->slots[out].placed) {
        place_output(e, op, i, out, storage_last);
        note_reads(e, out, storage_last);
      }
    }
  }
}

static void find_last_uses(struct emission *e) {
  for (uint32_t i = 0; i < e->graph->ops_count; i++) {
    const struct graph_op *op = &e->graph->ops[i];
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      if (op->inputs[j] != GRAPH_NONE) {
        e->last_use[op->inputs[j]] = i;
      }
    }
  }
  /* A view is read when what views it is. */
  for (uint32_t i = e->graph->ops_count; i-- > 0;) {
    const struct graph_op *op = &e->graph->ops[i];
    if ((uint32_t)op->plan.kind == GRAPH_VIEW &&
        e->last_use[op->outputs[0]] > e->last_use[op->inputs[0]]) {
      e->last_use[op->inputs[0]] = e->last_use[op->outputs[0]];
    }
  }
}

/* A CONCAT whose inputs all lie in their slices does nothing; one with some that don't copies those
 * by POINTWISE copies, so that no operation reads what it writes. */
static bool lies_in_slice(const struct emission *e, const struct graph_op *op, uint32_t input,
                          uint64_t channel) {
  const struct slot *in = &e->slots[op->inputs[input]];
  const struct slot *out = &e->slots[op->outputs[0]];
  const uint64_t element = plan_type_bytes(graph_value(e->graph, op->outputs[0])->type);
  return !graph_is_constant(e->graph, op->inputs[input]) && in->storage == out->storage &&
         in->offset_bytes == out->offset_bytes + channel * element && in->pitch == out->pitch;
}

static bool has_slices(const struct emission *e, const struct graph_op *op) {
  uint64_t channel = 0;
  for (uint32_t j = 0; j < op->inputs_count; j++) {
    if (lies_in_slice(e, op, j, channel)) {
      return true;
    }
    channel += graph_value(e->graph, op->inputs[j])->dims[1];
  }
  return false;
}

struct writer {
  struct emission *emission;
  struct weight_table *weights;
  struct plan_tensor *tensors;
  uint32_t tensors_count;
  struct plan_op *ops;
  uint32_t ops_count;
};

static uint32_t tensor_at(struct writer *w, const struct graph_value *value, uint32_t storage,
                          uint64_t offset_bytes, uint32_t pitch) {
  w->tensors[w->tensors_count] = (struct plan_tensor){
      .type = value->type,
      .layout = value->layout,
      .rank = value->rank,
      .pitch = pitch,
      .buffer = storage, /* becomes the buffer's index at the end */
      .offset_bytes = offset_bytes,
  };
  memcpy(w->tensors[w->tensors_count].dims, value->dims, sizeof(value->dims));
  return w->tensors_count++;
}

/* A constant lies in the weights in the layout that its reader wants. */
static const void *constant_bytes(struct emission *e, const struct graph_value *value) {
  if (value->layout != PLAN_CHANNELS_LAST) {
    return value->data;
  }
  const uint64_t element = plan_type_bytes(value->type);
  const uint64_t pixels = (uint64_t)value->dims[2] * value->dims[3];
  const uint64_t channels = value->dims[1];
  if (pixels == 1 || channels == 1) {
    return value->data;
  }
  unsigned char *copy = context_take(e->context, value->dims[0] * pixels * channels, element);
  const unsigned char *data = value->data;
  for (uint64_t n = 0; n < value->dims[0]; n++) {
    for (uint64_t p = 0; p < pixels; p++) {
      for (uint64_t c = 0; c < channels; c++) {
        memcpy(copy + ((n * pixels + p) * channels + c) * element,
               data + ((n * channels + c) * pixels + p) * element, element);
      }
    }
  }
  return copy;
}

static uint32_t tensor_of(struct writer *w, uint32_t value) {
  struct emission *e = w->emission;
  if (value == GRAPH_NONE) {
    return PLAN_NONE;
  }
  struct slot *slot = &e->slots[value];
  const struct graph_value *v = graph_value(e->graph, value);
  if (!slot->placed) {
    const uint64_t bytes = graph_bytes(e->graph, value);
    const uint64_t offset = weights_add(w->weights, constant_bytes(e, v), bytes);
    place_value(e, value, add_storage(e, PLAN_WEIGHTS, bytes, offset), 0, own_pitch(v));
  }
  if (slot->tensor == PLAN_NONE) {
    slot->tensor = tensor_at(w, v, slot->storage, slot->offset_bytes, slot->pitch);
  }
  return slot->tensor;
}

static void touch(struct writer *w, uint32_t tensor) {
  if (tensor == PLAN_NONE) {
    return;
  }
  struct storage *storage = &w->emission->storages[w->tensors[tensor].buffer];
  if (storage->first_op > w->ops_count) {
    storage->first_op = w->ops_count;
  }
  storage->last_op = w->ops_count;
}

static void write_op(struct writer *w, const struct plan_op *attributes, uint32_t inputs_count,
                     const uint32_t *inputs, uint32_t outputs_count, const uint32_t *outputs) {
  struct context *context = w->emission->context;
  struct plan_op *op = &w->ops[w->ops_count];
  *op = *attributes;
  uint32_t *lists = context_keep(context, inputs_count + outputs_count, sizeof(lists[0]));
  for (uint32_t i = 0; i < inputs_count; i++) {
    lists[i] = inputs[i];
    touch(w, inputs[i]);
  }
  for (uint32_t i = 0; i < outputs_count; i++) {
    lists[inputs_count + i] = outputs[i];
    touch(w, outputs[i]);
  }
  op->inputs_count = inputs_count;
  op->outputs_count = outputs_count;
  op->inputs = lists;
  op->outputs = lists + inputs_count;
  if (op->kind == PLAN_OP_POINTWISE) {
    const uint32_t count = op->pointwise.steps_count;
    struct plan_step *steps = context_keep(context, count, sizeof(steps[0]));
    memcpy(steps, op->pointwise.steps, count * sizeof(steps[0]));
    op->pointwise.steps = steps;
  }
  w->ops_count++;
}

static void write_slices(struct writer *w, const struct graph_op *op) {
  struct emission *e = w->emission;
  const struct slot out = e->slots[op->outputs[0]];
  uint64_t channel = 0;
  for (uint32_t j = 0; j < op->inputs_count; j++) {
    const struct graph_value in = *graph_value(e->graph, op->inputs[j]);
    if (!lies_in_slice(e, op, j, channel)) {
      const struct plan_step copy = {
          .scalar = PLAN_S_COPY, .type = in.type, .a = graph_operand_input(0)};
      struct plan_op plan = {.kind = PLAN_OP_POINTWISE,
                             .pointwise = {.steps_count = 1, .steps = &copy}};
      memcpy(plan.name, op->plan.name, sizeof(plan.name));
      const uint32_t from = tensor_of(w, op->inputs[j]);
      const uint32_t to = tensor_at(
          w, &in, out.storage, out.offset_bytes + channel * plan_type_bytes(in.type), out.pitch);
      write_op(w, &plan, 1, &from, 1, &to);
    }
    channel += in.dims[1];
  }
}

static void write_ops(struct writer *w) {
  struct emission *e = w->emission;
  for (uint32_t i = 0; i < e->graph->ops_count; i++) {
    const struct graph_op *op = &e->graph->ops[i];
    if ((uint32_t)op->plan.kind == GRAPH_VIEW) {
      continue;
    }
    if (op->plan.kind == PLAN_OP_CONCAT && has_slices(e, op)) {
      write_slices(w, op);
      continue;
    }
    uint32_t *lists =
        context_take(e->context, op->inputs_count + op->outputs_count, sizeof(lists[0]));
    for (uint32_t j = 0; j < op->inputs_count + op->outputs_count; j++) {
      lists[j] = tensor_of(w, op->inputs[j]);
    }
    write_op(w, &op->plan, op->inputs_count, lists, op->outputs_count, lists + op->inputs_count);
  }
}

/* Storages that the program touches become buffers; the workspace is laid out by lifetimes. */
static void write_buffers(struct writer *w, struct plan_batch *batch) {
  struct emission *e = w->emission;
  struct plan_buffer *buffers = context_keep(e->context, e->storages_count, sizeof(buffers[0]));
  struct memory_plan_buffer *spans = context_take(e->context, e->storages_count, sizeof(spans[0]));
  uint32_t *span_of = context_take(e->context, e->storages_count, sizeof(span_of[0]));
  uint32_t count = 0;
  uint32_t spans_count = 0;
  for (uint32_t i = 0; i < w->tensors_count; i++) {
    struct storage *storage = &e->storages[w->tensors[i].buffer];
    if (storage->buffer == PLAN_NONE) {
      storage->buffer = count;
      const bool shares = storage->place == PLAN_WORKSPACE;
      buffers[count] = (struct plan_buffer){.place = storage->place,
                                            .offset_bytes = storage->offset_bytes,
                                            .bytes = storage->bytes,
                                            .first_op = shares ? storage->first_op : 0,
                                            .last_op = shares ? storage->last_op : 0};
      if (shares) {
        span_of[count] = spans_count;
        spans[spans_count++] = (struct memory_plan_buffer){
            .bytes = storage->bytes, .first_op = storage->first_op, .last_op = storage->last_op};
        batch->naive_bytes += align_up(storage->naive_bytes);
      }
      count++;
    }
    w->tensors[i].buffer = storage->buffer;
  }
  void *scratch = context_take(e->context, memory_plan_scratch_bytes(spans_count) + 1, 1);
  batch->workspace_bytes =
      align_up(memory_plan_assign(spans, spans_count, PLAN_ALIGN_BYTES, scratch));
  for (uint32_t i = 0; i < count; i++) {
    if (buffers[i].place == PLAN_WORKSPACE) {
      buffers[i].offset_bytes = spans[span_of[i]].offset_bytes;
    }
  }
  batch->buffers = buffers;
  batch->buffers_count = count;
}

/* An output of its own for each port: what is an input, a constant, another port's value, or a view
 * of those, is copied. */
static void separate_outputs(struct graph *graph) {
  graph_link(graph);
  uint8_t *taken = context_take(graph->context, graph->values_count, 1);
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    const uint32_t out = graph->outputs[i];
    uint32_t root = out;
    while (graph_producer(graph, root) != NULL &&
           (uint32_t)graph_producer(graph, root)->plan.kind == GRAPH_VIEW) {
      root = graph_producer(graph, root)->inputs[0];
    }
    if (graph_producer(graph, root) != NULL && taken[root] == 0) {
      taken[root] = 1;
      continue;
    }
    const struct graph_value value = *graph_value(graph, out);
    const uint32_t copy = graph_add_value(graph, value.type, value.rank, value.dims);
    const struct plan_step step = {
        .scalar = PLAN_S_COPY, .type = value.type, .a = graph_operand_input(0)};
    struct plan_step *steps = context_take(graph->context, 1, sizeof(steps[0]));
    *steps = step;
    struct graph_op *op = graph_add_op(graph, PLAN_OP_POINTWISE, 1, &out, 1, &copy);
    op->plan.pointwise = (struct plan_pointwise){.steps_count = 1, .steps = steps};
    graph->outputs[i] = copy;
  }
  graph_link(graph);
}

void emit_batch(struct graph *graph, struct weight_table *weights, uint32_t batch_size,
                struct plan_batch *ret_batch) {
  struct context *context = graph->context;
  separate_outputs(graph);
  struct emission e = {.graph = graph, .context = context};
  e.slots = context_take(context, graph->values_count, sizeof(e.slots[0]));
  e.last_use = context_take(context, graph->values_count, sizeof(e.last_use[0]));
  uint32_t tensors_max = graph->inputs_count + graph->outputs_count;
  uint32_t ops_max = 1;
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    const uint32_t inputs = graph->ops[i].inputs_count;
    tensors_max += 2 * inputs + graph->ops[i].outputs_count;
    ops_max += graph->ops[i].plan.kind == PLAN_OP_CONCAT ? inputs : 1;
  }
  if (tensors_max > PLAN_TENSORS_MAX || ops_max > PLAN_OPS_MAX) {
    context_fail(context, ERR_TOO_LARGE, "the graph has too many operations");
  }
  find_last_uses(&e);
  struct plan_batch batch = {.batch_size = batch_size};
  place_ports(&e, &batch.input_bytes, &batch.output_bytes);
  place_backwards(&e);
  place_forwards(&e);
  struct writer w = {.emission = &e, .weights = weights};
  w.tensors = context_keep(context, tensors_max, sizeof(w.tensors[0]));
  w.ops = context_keep(context, ops_max, sizeof(w.ops[0]));
  uint32_t *ports =
      context_keep(context, graph->inputs_count + graph->outputs_count, sizeof(ports[0]));
  for (uint32_t i = 0; i < graph->inputs_count; i++) {
    ports[i] = tensor_of(&w, graph->inputs[i]);
  }
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    ports[graph->inputs_count + i] = tensor_of(&w, graph->outputs[i]);
  }
  batch.inputs = ports;
  batch.outputs = ports + graph->inputs_count;
  write_ops(&w);
  write_buffers(&w, &batch);
  batch.tensors = w.tensors;
  batch.tensors_count = w.tensors_count;
  batch.ops = w.ops;
  batch.ops_count = w.ops_count;
  *ret_batch = batch;
}
