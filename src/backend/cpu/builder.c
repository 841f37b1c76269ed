#include "backend/cpu/builder.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/packed_product.h"
#include "base/check.h"
#include "kernels/kernels.h"
#include "package/memory_plan.h"

enum {
  ALIGN_BYTES = 256, /* of storages and weights: as the plan's buffers */
  /* Below so many elements a kernel is not worth the team's few us. */
  KERNEL_ELEMENTS_PER_PART = 4096,
};

/* Room for one more behind `count` items, zeroed; NULL: no memory. Grows at powers of two. */
static void *push(struct builder *builder, void *items_pointer, uint32_t count, size_t item_bytes) {
  void *items = NULL;
  memcpy(&items, items_pointer, sizeof(items));
  if ((count & (count - 1)) == 0) {
    items = realloc(items, (count == 0 ? 1 : (size_t)count * 2) * item_bytes);
    if (items == NULL) {
      builder->error = ERR_NO_MEMORY;
      return NULL;
    }
    memcpy(items_pointer, &items, sizeof(items));
  }
  unsigned char *item = (unsigned char *)items + count * item_bytes;
  memset(item, 0, item_bytes);
  return item;
}

const struct plan_tensor *builder_tensor(const struct builder *builder, uint32_t tensor) {
  CHECK_LT(tensor, builder->batch->tensors_count);
  return &builder->batch->tensors[tensor];
}

bool builder_is_weights(const struct builder *builder, uint32_t tensor) {
  const uint32_t buffer = builder_tensor(builder, tensor)->buffer;
  return builder->batch->buffers[buffer].place == PLAN_WEIGHTS;
}

/* ---- memories and homes ---------------------------------------------------------------------- */

uint32_t builder_memory(struct builder *builder, const struct program_area *area,
                        const dnnl_memory_desc_t *desc) {
  struct program *program = builder->program;
  struct program_memory *memory =
      push(builder, &program->memories, program->memories_count, sizeof(*memory));
  if (memory == NULL) {
    return PLAN_NONE;
  }
  *memory = (struct program_memory){.area = *area, .desc = *desc};
  return program->memories_count++;
}

static uint32_t add_storage(struct builder *builder, uint64_t bytes) {
  struct storage *storage =
      push(builder, &builder->storages, builder->storages_count, sizeof(*storage));
  if (storage == NULL) {
    return PLAN_NONE;
  }
  storage->bytes = bytes;
  return builder->storages_count++;
}

uint32_t builder_temporary(struct builder *builder, const dnnl_memory_desc_t *desc) {
  const struct program_area area = {
      .place = PROGRAM_WORKSPACE, .storage = add_storage(builder, dnnl_memory_desc_get_size(desc))};
  return area.storage == PLAN_NONE ? PLAN_NONE : builder_memory(builder, &area, desc);
}

bool builder_home_is_blocked(const struct builder *builder, uint32_t tensor) {
  return builder->homes[builder_tensor(builder, tensor)->buffer].is_blocked;
}

static enum program_place place_of(enum plan_place place) {
  return place == PLAN_INPUT    ? PROGRAM_INPUT
         : place == PLAN_OUTPUT ? PROGRAM_OUTPUT
                                : PROGRAM_WORKSPACE;
}

/* A slice of the channels of a blocked image: an image of its own if it is alone in the batch, else
 * one with a wider distance from image to image. */
static void blocked_home(const struct plan_tensor *tensor, struct program_area *area,
                         dnnl_memory_desc_t *ret_desc) {
  dnnl_dims_t dims;
  desc_dims(tensor, dims);
  const uint64_t first_channel = tensor->offset_bytes / sizeof(float);
  const uint64_t pixels = (uint64_t)dims[2] * (uint64_t)dims[3];
  area->offset_bytes = first_channel * pixels * sizeof(float);
  *ret_desc = desc_blocked(dims);
  const uint64_t pitch = tensor->layout == PLAN_CHANNELS_LAST ? tensor->pitch : (uint64_t)dims[1];
  if (dims[0] > 1) {
    ret_desc->format_desc.blocking.strides[0] =
        (dnnl_dim_t)((pitch + BLOCK - 1) / BLOCK * BLOCK * pixels);
  }
}

void builder_home(const struct builder *builder, uint32_t tensor, struct program_area *ret_area,
                  dnnl_memory_desc_t *ret_desc) {
  const struct plan_tensor *at = builder_tensor(builder, tensor);
  const struct plan_buffer *buffer = &builder->batch->buffers[at->buffer];
  const struct buffer_home *home = &builder->homes[at->buffer];
  CHECK_NE(buffer->place, PLAN_WEIGHTS);
  *ret_area = (struct program_area){.place = place_of(buffer->place), .storage = home->storage};
  if (home->is_blocked) {
    blocked_home(at, ret_area, ret_desc);
    return;
  }
  ret_area->offset_bytes =
      at->offset_bytes + (buffer->place == PLAN_WORKSPACE ? 0 : buffer->offset_bytes);
  if (desc_has_type(at->type)) {
    *ret_desc = desc_plain(at);
  }
}

/* ---- weights --------------------------------------------------------------------------------- */

static uint64_t weights_source_bytes(const struct builder *builder, uint32_t tensor) {
  const struct plan_tensor *at = builder_tensor(builder, tensor);
  return builder->batch->buffers[at->buffer].offset_bytes + at->offset_bytes;
}

static struct program_area add_weights(struct builder *builder,
                                       const struct weights_entry *wanted) {
  struct weights_layout *layout = builder->weights;
  for (uint32_t i = 0; i < layout->count; i++) {
    const struct weights_entry *entry = &layout->entries[i];
    const bool is_the_same =
        entry->source_bytes == wanted->source_bytes && entry->bytes == wanted->bytes &&
        entry->is_verbatim == wanted->is_verbatim && entry->merge == wanted->merge &&
        entry->are_kernel_rows == wanted->are_kernel_rows &&
        entry->is_bias_row == wanted->is_bias_row &&
        (wanted->merge == 0 || (dnnl_memory_desc_equal(&entry->to, &wanted->to) &&
                                dnnl_memory_desc_equal(&entry->from, &wanted->from)));
    if (is_the_same) {
      return (struct program_area){.place = PROGRAM_WEIGHTS, .offset_bytes = entry->offset_bytes};
    }
  }
  struct program_area area = {.place = PROGRAM_WEIGHTS, .offset_bytes = layout->bytes};
  struct weights_entry *entry = push(builder, &layout->entries, layout->count, sizeof(*entry));
  if (entry != NULL) {
    *entry = *wanted;
    entry->offset_bytes = layout->bytes;
    layout->bytes += (wanted->bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    layout->count++;
  }
  return area;
}

uint32_t builder_weights(struct builder *builder, uint32_t tensor, const dnnl_memory_desc_t *from,
                         const dnnl_memory_desc_t *to, uint32_t merge) {
  const struct weights_entry wanted = {.source_bytes = weights_source_bytes(builder, tensor),
                                       .source = *builder_tensor(builder, tensor),
                                       .from = *from,
                                       .to = *to,
                                       .merge = merge,
                                       .bytes = dnnl_memory_desc_get_size(to)};
  const struct program_area area = add_weights(builder, &wanted);
  return builder_memory(builder, &area, to);
}

struct program_area builder_weights_area(struct builder *builder, uint32_t tensor,
                                         const dnnl_memory_desc_t *from,
                                         const dnnl_memory_desc_t *to) {
  const struct weights_entry wanted = {.source_bytes = weights_source_bytes(builder, tensor),
                                       .source = *builder_tensor(builder, tensor),
                                       .from = *from,
                                       .to = *to,
                                       .merge = 1,
                                       .bytes = dnnl_memory_desc_get_size(to)};
  return add_weights(builder, &wanted);
}

struct program_area builder_weights_kernel_rows(struct builder *builder, uint32_t tensor) {
  const struct plan_tensor *w = builder_tensor(builder, tensor);
  const uint64_t columns = (uint64_t)w->dims[1] * w->dims[3];
  const uint64_t padded = (columns + PACKED_PANEL - 1) / PACKED_PANEL * PACKED_PANEL;
  const struct weights_entry wanted = {.source_bytes = weights_source_bytes(builder, tensor),
                                       .are_kernel_rows = true,
                                       .source = *w,
                                       .bytes = padded * w->dims[0] * w->dims[2] * sizeof(float)};
  return add_weights(builder, &wanted);
}

struct program_area builder_weights_bias_row(struct builder *builder, uint32_t tensor,
                                             uint32_t times) {
  const struct plan_tensor *bias = builder_tensor(builder, tensor);
  const struct weights_entry wanted = {.source_bytes = weights_source_bytes(builder, tensor),
                                       .is_bias_row = true,
                                       .source = *bias,
                                       .bytes = plan_tensor_elements(bias) * times * sizeof(float)};
  return add_weights(builder, &wanted);
}

struct program_area builder_weights_verbatim(struct builder *builder, uint32_t tensor) {
  const struct weights_entry wanted = {.source_bytes = weights_source_bytes(builder, tensor),
                                       .is_verbatim = true,
                                       .bytes =
                                           plan_tensor_span_bytes(builder_tensor(builder, tensor))};
  return add_weights(builder, &wanted);
}

/* ---- layouts on demand ----------------------------------------------------------------------- */

static void emit_reorder(struct builder *builder, uint32_t from, uint32_t to) {
  if (builder->error != ERR_OK || from == PLAN_NONE || to == PLAN_NONE) {
    return;
  }
  struct post post;
  post_open(&post);
  dnnl_primitive_desc_t primitive = NULL;
  const struct program_memory *memories = builder->program->memories;
  if (dnnl_reorder_primitive_desc_create(&primitive, &memories[from].desc, builder->engine,
                                         &memories[to].desc, builder->engine,
                                         post_close(&post)) != dnnl_success) {
    builder->error = ERR_UNSUPPORTED;
  } else {
    struct arguments arguments = {.count = 0};
    arguments_add(&arguments, DNNL_ARG_FROM, from);
    arguments_add(&arguments, DNNL_ARG_TO, to);
    builder_emit(builder, primitive, &arguments);
  }
  post_finish(&post);
}

uint32_t builder_source(struct builder *builder, uint32_t tensor,
                        const dnnl_memory_desc_t *wanted) {
  if (builder_is_weights(builder, tensor)) {
    const dnnl_memory_desc_t from = desc_plain(builder_tensor(builder, tensor));
    if (desc_is_same_layout(&from, wanted)) {
      const struct program_area area = builder_weights_verbatim(builder, tensor);
      return builder_memory(builder, &area, wanted);
    }
    return builder_weights(builder, tensor, &from, wanted, 1);
  }
  struct program_area area;
  dnnl_memory_desc_t desc;
  builder_home(builder, tensor, &area, &desc);
  if (desc_is_same_layout(&desc, wanted)) {
    return builder_memory(builder, &area, wanted);
  }
  for (uint32_t i = 0; i < builder->shadows_count; i++) {
    const struct shadow *shadow = &builder->shadows[i];
    if (shadow->tensor == tensor &&
        dnnl_memory_desc_equal(&builder->program->memories[shadow->memory].desc, wanted)) {
      return shadow->memory;
    }
  }
  const uint32_t copy = builder_temporary(builder, wanted);
  emit_reorder(builder, builder_memory(builder, &area, &desc), copy);
  struct shadow *shadow = push(builder, &builder->shadows, builder->shadows_count, sizeof(*shadow));
  if (shadow != NULL && copy != PLAN_NONE) {
    *shadow = (struct shadow){.tensor = tensor, .memory = copy};
    builder->shadows_count++;
  }
  return copy;
}

struct target builder_target(struct builder *builder, uint32_t tensor,
                             const dnnl_memory_desc_t *wanted) {
  struct program_area area;
  dnnl_memory_desc_t desc;
  builder_home(builder, tensor, &area, &desc);
  if (desc_is_same_layout(&desc, wanted)) {
    return (struct target){
        .tensor = tensor, .memory = builder_memory(builder, &area, wanted), .is_home = true};
  }
  return (struct target){.tensor = tensor, .memory = builder_temporary(builder, wanted)};
}

void builder_settle(struct builder *builder, const struct target *target) {
  if (target->is_home) {
    return;
  }
  struct program_area area;
  dnnl_memory_desc_t desc;
  builder_home(builder, target->tensor, &area, &desc);
  emit_reorder(builder, target->memory, builder_memory(builder, &area, &desc));
}

/* ---- steps ----------------------------------------------------------------------------------- */

void arguments_add(struct arguments *arguments, int name, uint32_t memory) {
  CHECK_LT(arguments->count, BUILDER_ARGUMENTS_MAX);
  arguments->items[arguments->count++] = (struct program_argument){.name = name, .memory = memory};
}

static struct program_step *add_step(struct builder *builder) {
  struct program *program = builder->program;
  struct program_step *step = push(builder, &program->steps, program->steps_count, sizeof(*step));
  if (step != NULL) {
    step->kind = builder->op->kind;
    program->steps_count++;
  }
  return step;
}

/* The step that was added last uses this area. */
static void touch(struct builder *builder, const struct program_area *area) {
  if (area->place != PROGRAM_WORKSPACE) {
    return;
  }
  CHECK_LT(area->storage, builder->storages_count);
  struct storage *storage = &builder->storages[area->storage];
  const uint32_t step = builder->program->steps_count - 1;
  storage->first_step = storage->is_used ? storage->first_step : step;
  storage->last_step = step;
  storage->is_used = true;
}

static void add_argument(struct builder *builder, struct program_step *step,
                         const struct program_argument *argument) {
  struct program *program = builder->program;
  struct program_argument *place =
      push(builder, &program->arguments, program->arguments_count, sizeof(*place));
  if (place == NULL) {
    return;
  }
  *place = *argument;
  program->arguments_count++;
  step->arguments_count++;
  touch(builder, &program->memories[argument->memory].area);
}

static void note_what(struct program_step *step, const char *what) {
  const size_t length = strnlen(what, sizeof(step->what) - 1);
  memcpy(step->what, what, length);
  step->what[length] = '\0';
}

static bool has_all(const struct arguments *arguments) {
  for (uint32_t i = 0; i < arguments->count; i++) {
    if (arguments->items[i].memory == PLAN_NONE) {
      return false;
    }
  }
  return true;
}

void builder_emit(struct builder *builder, dnnl_primitive_desc_t primitive,
                  const struct arguments *arguments) {
  dnnl_primitive_t made = NULL;
  if (builder->error != ERR_OK || !has_all(arguments) ||
      dnnl_primitive_create(&made, primitive) != dnnl_success) {
    builder->error = builder->error == ERR_OK ? ERR_NO_MEMORY : builder->error;
    dnnl_primitive_desc_destroy(primitive);
    return;
  }
  const char *what = "";
  (void)dnnl_primitive_desc_query(primitive, dnnl_query_impl_info_str, 0, &what);
  const dnnl_memory_desc_t *scratch =
      dnnl_primitive_desc_query_md(primitive, dnnl_query_scratchpad_md, 0);
  uint32_t scratchpad = PLAN_NONE;
  if (scratch != NULL && dnnl_memory_desc_get_size(scratch) > 0) {
    scratchpad = builder_temporary(builder, scratch);
  }
  struct program_step *step = add_step(builder);
  if (step == NULL) {
    dnnl_primitive_destroy(made);
    dnnl_primitive_desc_destroy(primitive);
    return;
  }
  step->primitive = made;
  note_what(step, what);
  step->first_argument = builder->program->arguments_count;
  for (uint32_t i = 0; i < arguments->count; i++) {
    add_argument(builder, step, &arguments->items[i]);
  }
  if (scratchpad != PLAN_NONE) {
    add_argument(builder, step,
                 &(struct program_argument){.name = DNNL_ARG_SCRATCHPAD, .memory = scratchpad});
  }
  dnnl_primitive_desc_destroy(primitive);
}

void builder_emit_native(struct builder *builder, const struct program_native *native,
                         const char *what) {
  struct program_native *copy = calloc(1, sizeof(*copy));
  struct program_step *step = copy == NULL || builder->error != ERR_OK ? NULL : add_step(builder);
  if (step == NULL) {
    builder->error = builder->error == ERR_OK ? ERR_NO_MEMORY : builder->error;
    free(native->shape);
    free(copy);
    return;
  }
  *copy = *native;
  step->native = copy;
  note_what(step, what);
  copy->first_data = builder->program->data_count;
  builder->program->data_count += copy->areas_count;
  for (uint32_t i = 0; i < copy->areas_count; i++) {
    touch(builder, &copy->areas[i]);
  }
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* The operation's tensors, renumbered: inputs, then outputs. One block for both lists. */
static bool renumber(const struct plan_op *op, struct plan_op *ret_op) {
  uint32_t *numbers = calloc(op->inputs_count + op->outputs_count + 1, sizeof(*numbers));
  if (numbers == NULL) {
    return false;
  }
  uint32_t next = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    numbers[i] = op->inputs[i] == PLAN_NONE ? PLAN_NONE : next++;
  }
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    numbers[op->inputs_count + i] = op->outputs[i] == PLAN_NONE ? PLAN_NONE : next++;
  }
  *ret_op = *op;
  ret_op->inputs = numbers;
  ret_op->outputs = numbers + op->inputs_count;
  return true;
}

static uint32_t parts_of(const struct builder *builder, const struct operand *operands,
                         uint32_t operands_count) {
  uint64_t most = 0;
  for (uint32_t i = 0; i < operands_count; i++) {
    const uint64_t elements = plan_tensor_elements(&operands[i].tensor);
    most = elements > most ? elements : most;
  }
  const uint64_t parts = most / KERNEL_ELEMENTS_PER_PART;
  return parts == 0 ? 1 : parts > builder->team ? builder->team : (uint32_t)parts;
}

void builder_emit_kernel_over(struct builder *builder, const struct plan_op *op,
                              const struct operand *operands, uint32_t operands_count) {
  if (builder->error != ERR_OK || lower_operands(builder, op, operands, operands_count)) {
    return;
  }
  struct program_kernel *kernel = calloc(1, sizeof(*kernel));
  struct program_step *step = kernel == NULL ? NULL : add_step(builder);
  if (step == NULL) {
    free(kernel);
    builder->error = ERR_NO_MEMORY;
    return;
  }
  step->kernel = kernel;
  note_what(step, "kernel");
  kernel->tensors = calloc(operands_count + 1, sizeof(*kernel->tensors));
  kernel->areas = calloc(operands_count + 1, sizeof(*kernel->areas));
  if (kernel->tensors == NULL || kernel->areas == NULL || !renumber(op, &kernel->op)) {
    builder->error = ERR_NO_MEMORY;
    return;
  }
  for (uint32_t i = 0; i < operands_count; i++) {
    kernel->tensors[i] = operands[i].tensor;
    kernel->areas[i] = operands[i].area;
    touch(builder, &operands[i].area);
  }
  kernel->tensors_count = operands_count;
  kernel->parts = parts_of(builder, operands, operands_count);
  kernel->scratch_bytes = (kernels_scratch_bytes(&kernel->op, kernel->tensors) + ALIGN_BYTES - 1) /
                          ALIGN_BYTES * ALIGN_BYTES;
  kernel->first_data = builder->program->data_count;
  builder->program->data_count += operands_count;
  kernel->scratch = (struct program_area){.place = PROGRAM_WORKSPACE};
  if (kernel->scratch_bytes == 0) {
    kernel->scratch.place = PROGRAM_INPUT; /* some address; nothing is written there */
    return;
  }
  kernel->scratch.storage = add_storage(builder, kernel->scratch_bytes * kernel->parts);
  if (kernel->scratch.storage != PLAN_NONE) {
    touch(builder, &kernel->scratch);
  }
}

/* A blocked tensor as kernels can read it. */
static struct plan_tensor without_gaps(const struct plan_tensor *tensor) {
  struct plan_tensor dense = *tensor;
  dense.offset_bytes = 0;
  if (dense.layout == PLAN_CHANNELS_LAST) {
    dense.pitch = dense.dims[1];
  }
  return dense;
}

static struct operand kernel_input(struct builder *builder, uint32_t tensor) {
  struct operand operand = {.tensor = *builder_tensor(builder, tensor)};
  if (builder_is_weights(builder, tensor)) {
    operand.area = builder_weights_verbatim(builder, tensor);
  } else if (!builder_home_is_blocked(builder, tensor)) {
    dnnl_memory_desc_t desc;
    builder_home(builder, tensor, &operand.area, &desc);
  } else {
    operand.tensor = without_gaps(&operand.tensor);
    const dnnl_memory_desc_t wanted = desc_plain(&operand.tensor);
    const uint32_t memory = builder_source(builder, tensor, &wanted);
    if (memory != PLAN_NONE) {
      operand.area = builder->program->memories[memory].area;
    }
  }
  return operand;
}

static struct operand kernel_output(struct builder *builder, uint32_t tensor,
                                    struct target *ret_target) {
  struct operand operand = {.tensor = *builder_tensor(builder, tensor)};
  *ret_target = (struct target){.tensor = tensor, .is_home = true};
  if (!builder_home_is_blocked(builder, tensor)) {
    dnnl_memory_desc_t desc;
    builder_home(builder, tensor, &operand.area, &desc);
    return operand;
  }
  operand.tensor = without_gaps(&operand.tensor);
  const dnnl_memory_desc_t wanted = desc_plain(&operand.tensor);
  *ret_target = builder_target(builder, tensor, &wanted);
  if (ret_target->memory != PLAN_NONE) {
    operand.area = builder->program->memories[ret_target->memory].area;
  }
  return operand;
}

void builder_emit_kernel(struct builder *builder) {
  const struct plan_op *op = builder->op;
  const uint32_t most = op->inputs_count + op->outputs_count;
  struct operand *operands = calloc(most + 1, sizeof(*operands));
  struct target *targets = calloc(op->outputs_count + 1, sizeof(*targets));
  if (operands == NULL || targets == NULL) {
    builder->error = ERR_NO_MEMORY;
    free(operands);
    free(targets);
    return;
  }
  uint32_t count = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != PLAN_NONE) {
      operands[count++] = kernel_input(builder, op->inputs[i]);
    }
  }
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    targets[i].is_home = true;
    if (op->outputs[i] != PLAN_NONE) {
      operands[count++] = kernel_output(builder, op->outputs[i], &targets[i]);
    }
  }
  builder_emit_kernel_over(builder, op, operands, count);
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    builder_settle(builder, &targets[i]);
  }
  free(operands);
  free(targets);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void place_storages(struct builder *builder, struct memory_plan_buffer *buffers,
                           void *scratch) {
  struct program *program = builder->program;
  for (uint32_t i = 0; i < builder->storages_count; i++) {
    const struct storage *storage = &builder->storages[i];
    buffers[i] = (struct memory_plan_buffer){.bytes = storage->is_used ? storage->bytes : 1,
                                             .first_op = storage->first_step,
                                             .last_op = storage->last_step};
  }
  program->workspace_bytes =
      memory_plan_assign(buffers, builder->storages_count, ALIGN_BYTES, scratch);
  for (uint32_t i = 0; i < program->memories_count; i++) {
    struct program_area *area = &program->memories[i].area;
    area->offset_bytes +=
        area->place == PROGRAM_WORKSPACE ? buffers[area->storage].offset_bytes : 0;
  }
  for (uint32_t i = 0; i < program->steps_count; i++) {
    struct program_native *native = program->steps[i].native;
    for (uint32_t j = 0; native != NULL && j < native->areas_count; j++) {
      struct program_area *area = &native->areas[j];
      area->offset_bytes +=
          area->place == PROGRAM_WORKSPACE ? buffers[area->storage].offset_bytes : 0;
    }
    struct program_kernel *kernel = program->steps[i].kernel;
    if (kernel == NULL) {
      continue;
    }
    for (uint32_t j = 0; j < kernel->tensors_count; j++) {
      struct program_area *area = &kernel->areas[j];
      area->offset_bytes +=
          area->place == PROGRAM_WORKSPACE ? buffers[area->storage].offset_bytes : 0;
    }
    if (kernel->scratch.place == PROGRAM_WORKSPACE) {
      kernel->scratch.offset_bytes = buffers[kernel->scratch.storage].offset_bytes;
    }
  }
}

enum err builder_finish(struct builder *builder, struct program **ret_program) {
  if (builder->error == ERR_OK) {
    struct memory_plan_buffer *buffers = calloc(builder->storages_count + 1, sizeof(*buffers));
    void *scratch = calloc(1, memory_plan_scratch_bytes(builder->storages_count) + 1);
    if (buffers == NULL || scratch == NULL) {
      builder->error = ERR_NO_MEMORY;
    } else {
      place_storages(builder, buffers, scratch);
    }
    free(buffers);
    free(scratch);
  }
  if (builder->error != ERR_OK) {
    program_destroy(builder->program);
  } else {
    *ret_program = builder->program;
  }
  free(builder->storages);
  free(builder->homes);
  free(builder->shadows);
  return builder->error;
}
