#include <string.h>

#include "package/checker.h"

const struct plan_tensor *checker_in(const struct checker *checker, uint32_t i) {
  const struct plan_op *op = checker->op;
  const bool is_there = i < op->inputs_count && op->inputs[i] != PLAN_NONE;
  return is_there ? &checker->batch->tensors[op->inputs[i]] : NULL;
}

const struct plan_tensor *checker_out(const struct checker *checker, uint32_t i) {
  const struct plan_op *op = checker->op;
  const bool is_there = i < op->outputs_count && op->outputs[i] != PLAN_NONE;
  return is_there ? &checker->batch->tensors[op->outputs[i]] : NULL;
}

bool checker_same_dims(const struct plan_tensor *a, const struct plan_tensor *b) {
  return a->rank == b->rank && memcmp(a->dims, b->dims, sizeof(a->dims)) == 0;
}

bool checker_is_name(const char *text, size_t bytes) {
  const char *end = memchr(text, '\0', bytes);
  if (end == NULL) {
    return false;
  }
  for (const char *at = text; at < end; at++) {
    const unsigned char letter = (unsigned char)*at;
    if (letter < ' ' || letter == 0x7f) {
      return false;
    }
  }
  return true;
}

/* dims and pitch as bytes, within CHECK_BYTES_MAX. */
static bool tensor_bytes_fit(const struct plan_tensor *tensor) {
  uint64_t bytes = plan_type_bytes(tensor->type);
  for (uint32_t i = 0; i < tensor->rank; i++) {
    const bool is_pixel = tensor->layout == PLAN_CHANNELS_LAST && i == 1;
    const uint64_t factor = is_pixel ? tensor->pitch : tensor->dims[i];
    if (factor > CHECK_BYTES_MAX / bytes) {
      return false;
    }
    bytes *= factor;
  }
  return bytes <= CHECK_BYTES_MAX;
}

static bool check_tensor(struct checker *checker, uint32_t index) {
  const struct plan_tensor *tensor = &checker->batch->tensors[index];
  if (plan_type_bytes(tensor->type) == 0) {
    return CHECKER_FAIL(checker, "tensor %u has the unknown type %u", index, tensor->type);
  }
  if (tensor->rank > PLAN_RANK_MAX) {
    return CHECKER_FAIL(checker, "tensor %u has rank %u; at most %u", index, tensor->rank,
                        (unsigned)PLAN_RANK_MAX);
  }
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    if (i < tensor->rank ? tensor->dims[i] == 0 : tensor->dims[i] != 1) {
      return CHECKER_FAIL(checker, "tensor %u of rank %u has %u as dim %u", index, tensor->rank,
                          tensor->dims[i], i);
    }
  }
  const bool is_image = tensor->layout == PLAN_CHANNELS_LAST;
  if ((!is_image && tensor->layout != PLAN_ROW_MAJOR) || (is_image && tensor->rank != 4)) {
    return CHECKER_FAIL(checker, "tensor %u of rank %u has the layout %u", index, tensor->rank,
                        tensor->layout);
  }
  if (is_image ? tensor->pitch < tensor->dims[1] : tensor->pitch != 0) {
    return CHECKER_FAIL(checker, "tensor %u has a pitch of %u", index, tensor->pitch);
  }
  if (tensor->buffer >= checker->batch->buffers_count) {
    return CHECKER_FAIL(checker, "tensor %u lies in buffer %u of %u", index, tensor->buffer,
                        checker->batch->buffers_count);
  }
  const uint64_t bytes = checker->batch->buffers[tensor->buffer].bytes;
  if (!tensor_bytes_fit(tensor) || tensor->offset_bytes > bytes ||
      plan_tensor_span_bytes(tensor) > bytes - tensor->offset_bytes) {
    return CHECKER_FAIL(checker, "tensor %u does not lie within its buffer of %llu bytes", index,
                        (unsigned long long)bytes);
  }
  if (tensor->offset_bytes % plan_type_bytes(tensor->type) != 0) {
    return CHECKER_FAIL(checker, "tensor %u of %s begins at byte %llu", index,
                        plan_type_text(tensor->type), (unsigned long long)tensor->offset_bytes);
  }
  return true;
}

static bool check_buffer(struct checker *checker, uint32_t index) {
  const struct plan_batch *batch = checker->batch;
  const struct plan_buffer *buffer = &batch->buffers[index];
  uint64_t place_bytes = 0;
  switch (buffer->place) {
  case PLAN_INPUT:
    place_bytes = batch->input_bytes;
    break;
  case PLAN_OUTPUT:
    place_bytes = batch->output_bytes;
    break;
  case PLAN_WEIGHTS:
    place_bytes = checker->plan->weights_bytes;
    break;
  case PLAN_WORKSPACE:
    place_bytes = batch->workspace_bytes;
    if (buffer->first_op > buffer->last_op || buffer->last_op >= batch->ops_count) {
      return CHECKER_FAIL(checker, "buffer %u lives from operation %u to %u of %u", index,
                          buffer->first_op, buffer->last_op, batch->ops_count);
    }
    break;
  default:
    return CHECKER_FAIL(checker, "buffer %u lies in the unknown place %u", index, buffer->place);
  }
  if (buffer->offset_bytes % PLAN_ALIGN_BYTES != 0) {
    return CHECKER_FAIL(checker, "buffer %u begins at byte %llu, not at a multiple of %u", index,
                        (unsigned long long)buffer->offset_bytes, (unsigned)PLAN_ALIGN_BYTES);
  }
  if (buffer->bytes == 0 || buffer->offset_bytes > place_bytes ||
      buffer->bytes > place_bytes - buffer->offset_bytes) {
    return CHECKER_FAIL(checker, "buffer %u of %llu bytes does not lie within its place of %llu",
                        index, (unsigned long long)buffer->bytes, (unsigned long long)place_bytes);
  }
  return true;
}

/* `tensors`: of each port. One port, one buffer. */
static bool check_batch_ports(struct checker *checker, const struct plan_port *ports,
                              uint32_t count, const uint32_t *tensors, enum plan_place place) {
  const struct plan_batch *batch = checker->batch;
  for (uint32_t i = 0; i < count; i++) {
    if (tensors[i] >= batch->tensors_count) {
      return CHECKER_FAIL(checker, "port %s is tensor %u of %u", ports[i].name, tensors[i],
                          batch->tensors_count);
    }
    const struct plan_tensor *tensor = &batch->tensors[tensors[i]];
    struct plan_tensor wanted = {.rank = ports[i].rank, .dims = {1, 1, 1, 1, 1, 1, 1, 1}};
    memcpy(wanted.dims, ports[i].dims, ports[i].rank * sizeof(wanted.dims[0]));
    if (ports[i].batched) {
      memmove(&wanted.dims[1], wanted.dims, ports[i].rank * sizeof(wanted.dims[0]));
      wanted.dims[0] = batch->batch_size;
      wanted.rank++;
    }
    if (tensor->type != ports[i].type || tensor->layout != PLAN_ROW_MAJOR ||
        !checker_same_dims(tensor, &wanted) || batch->buffers[tensor->buffer].place != place) {
      return CHECKER_FAIL(checker, "tensor %u is not what port %s says: type, dims and place",
                          tensors[i], ports[i].name);
    }
    for (uint32_t j = 0; j < i; j++) {
      if (batch->tensors[tensors[j]].buffer == tensor->buffer) {
        return CHECKER_FAIL(checker, "ports %s and %s share a buffer", ports[j].name,
                            ports[i].name);
      }
    }
  }
  return true;
}

static bool check_operations(struct checker *checker) {
  bool is_good = true;
  for (uint32_t i = 0; is_good && i < checker->batch->ops_count; i++) {
    checker->op_index = i;
    checker->op = &checker->batch->ops[i];
    is_good = check_operation(checker);
  }
  checker->op_index = is_good ? PLAN_NONE : checker->op_index;
  return is_good;
}

static bool check_batch(struct checker *checker, void *scratch) {
  const struct plan *plan = checker->plan;
  const struct plan_batch *batch = checker->batch;
  if (batch->ops_count == 0 || batch->ops_count > PLAN_OPS_MAX) {
    return CHECKER_FAIL(checker, "%u operations; from 1 to %u", batch->ops_count,
                        (unsigned)PLAN_OPS_MAX);
  }
  if (batch->tensors_count > PLAN_TENSORS_MAX || batch->buffers_count > PLAN_TENSORS_MAX) {
    return CHECKER_FAIL(checker, "%u tensors in %u buffers; at most %u of each",
                        batch->tensors_count, batch->buffers_count, (unsigned)PLAN_TENSORS_MAX);
  }
  if (batch->input_bytes > CHECK_BYTES_MAX || batch->output_bytes > CHECK_BYTES_MAX ||
      batch->workspace_bytes > CHECK_BYTES_MAX) {
    return CHECKER_FAIL(checker, "input, output or workspace larger than %llu bytes",
                        (unsigned long long)CHECK_BYTES_MAX);
  }
  for (uint32_t i = 0; i < batch->buffers_count; i++) {
    if (!check_buffer(checker, i)) {
      return false;
    }
  }
  for (uint32_t i = 0; i < batch->tensors_count; i++) {
    if (!check_tensor(checker, i)) {
      return false;
    }
  }
  return check_batch_ports(checker, plan->inputs, plan->inputs_count, batch->inputs, PLAN_INPUT) &&
         check_batch_ports(checker, plan->outputs, plan->outputs_count, batch->outputs,
                           PLAN_OUTPUT) &&
         check_operations(checker) && check_memory(checker, scratch);
}

/* Of one request; `total_bytes` is what the plan says of all of them. */
static bool check_ports(struct checker *checker, const struct plan_port *ports, uint32_t count,
                        uint64_t total_bytes, const char *what) {
  if (count == 0 || count > PLAN_PORTS_MAX) {
    return CHECKER_FAIL(checker, "%u %ss; from 1 to %u", count, what, (unsigned)PLAN_PORTS_MAX);
  }
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    const struct plan_port *port = &ports[i];
    if (!checker_is_name(port->name, sizeof(port->name)) || port->name[0] == '\0') {
      return CHECKER_FAIL(checker, "%s %u has no proper name", what, i);
    }
    if (port->rank + port->batched > PLAN_RANK_MAX || plan_type_bytes(port->type) == 0) {
      return CHECKER_FAIL(checker, "%s %s has rank %u and type %u", what, port->name, port->rank,
                          port->type);
    }
    if (!port->batched && checker->plan->batch_kinds > 1) {
      return CHECKER_FAIL(checker, "%s %s has no batch axis, yet there are %u batch sizes", what,
                          port->name, checker->plan->batch_kinds);
    }
    uint64_t bytes = plan_type_bytes(port->type);
    for (uint32_t axis = 0; axis < port->rank; axis++) {
      /* The wire's limit of a request (model_spec_is_valid). */
      if (port->dims[axis] == 0 || bytes > UINT32_MAX / port->dims[axis]) {
        return CHECKER_FAIL(checker, "%s %s has %u as dim %u: none, or larger than 4 GiB", what,
                            port->name, port->dims[axis], axis);
      }
      bytes *= port->dims[axis];
    }
    if (bytes != port->bytes_per_request) {
      return CHECKER_FAIL(checker, "%s %s says %llu bytes a request; its shape has %llu", what,
                          port->name, (unsigned long long)port->bytes_per_request,
                          (unsigned long long)bytes);
    }
    sum += bytes;
  }
  if (sum != total_bytes || sum > UINT32_MAX) {
    return CHECKER_FAIL(checker,
                        "%ss of a request say %llu bytes; their sum is %llu, at most 4 GiB", what,
                        (unsigned long long)total_bytes, (unsigned long long)sum);
  }
  return true;
}

static bool check_whole(struct checker *checker) {
  const struct plan *plan = checker->plan;
  if (!checker_is_name(plan->name, sizeof(plan->name)) || plan->name[0] == '\0') {
    return CHECKER_FAIL(checker, "the model has no proper name");
  }
  if (plan->precision < PLAN_FP32 || plan->precision > PLAN_FP16) {
    return CHECKER_FAIL(checker, "unknown precision %u", plan->precision);
  }
  if (plan->weights_bytes == 0 || plan->weights_bytes % PLAN_ALIGN_BYTES != 0 ||
      plan->weights_bytes > CHECK_BYTES_MAX) {
    return CHECKER_FAIL(checker, "%llu bytes of weights: not a positive multiple of %u",
                        (unsigned long long)plan->weights_bytes, (unsigned)PLAN_ALIGN_BYTES);
  }
  if (plan->batch_kinds == 0 || plan->batch_kinds > MODEL_BATCH_KINDS) {
    return CHECKER_FAIL(checker, "%u batch sizes; from 1 to %u", plan->batch_kinds,
                        (unsigned)MODEL_BATCH_KINDS);
  }
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    const uint32_t size = plan->batches[i].batch_size;
    if (size > MODEL_BATCH_MAX || (i == 0 ? size != 1 : size <= plan->batches[i - 1].batch_size)) {
      return CHECKER_FAIL(checker,
                          "batch size %u in position %u: they must rise from 1 to at most "
                          "%u",
                          size, i, (unsigned)MODEL_BATCH_MAX);
    }
  }
  return check_ports(checker, plan->inputs, plan->inputs_count, plan->input_bytes, "input") &&
         check_ports(checker, plan->outputs, plan->outputs_count, plan->output_bytes, "output");
}

size_t plan_check_bytes(const struct plan *plan) {
  size_t most = 0;
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    const size_t bytes = check_memory_bytes(&plan->batches[i]);
    most = bytes > most ? bytes : most;
  }
  return most;
}

bool plan_check(const struct plan *plan, void *scratch, struct plan_fault *ret_fault) {
  struct checker checker = {.plan = plan, .op_index = PLAN_NONE, .fault = ret_fault};
  if (!check_whole(&checker)) {
    return false;
  }
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    checker.batch = &plan->batches[i];
    checker.batch_size = checker.batch->batch_size;
    if (!check_batch(&checker, scratch)) {
      return false;
    }
  }
  return true;
}
