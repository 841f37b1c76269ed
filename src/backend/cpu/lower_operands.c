/* Operations over operands as the kernels see them, for which this backend has code of its own. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/along_axis.h"
#include "backend/cpu/builder.h"
#include "backend/cpu/vector_program.h"

enum { ELEMENTS_PER_PART = 8192 }; /* that are worth the team's few us */

static uint32_t parts_of(const struct builder *builder, uint64_t elements, uint64_t units) {
  uint64_t parts = elements / ELEMENTS_PER_PART;
  parts = parts < units ? parts : units;
  return parts >= builder->team ? builder->team : parts == 0 ? 1 : (uint32_t)parts;
}

/* Takes `shape`. All operands are areas, in their order. */
static void emit(struct builder *builder, struct program_native *native,
                 const struct operand *operands, uint32_t operands_count, const char *what) {
  native->areas_count = operands_count;
  for (uint32_t i = 0; i < operands_count; i++) {
    native->areas[i] = operands[i].area;
  }
  builder_emit_native(builder, native, what);
}

static void run_program(const void *shape, unsigned char *const *data, uint32_t part,
                        uint32_t parts) {
  vector_program_run(shape, data, part, parts);
}

static bool lower_program(struct builder *builder, const struct plan_op *op,
                          const struct operand *operands, uint32_t operands_count) {
  uint32_t numbers[PROGRAM_NATIVE_AREAS];
  struct plan_tensor tensors[PROGRAM_NATIVE_AREAS];
  struct plan_op own = *op;
  if (operands_count != op->inputs_count + 1) {
    return false; /* an input is missing */
  }
  for (uint32_t i = 0; i < operands_count; i++) {
    numbers[i] = i;
    tensors[i] = operands[i].tensor;
  }
  own.inputs = numbers;
  own.outputs = numbers + op->inputs_count;
  struct vector_program *program = calloc(1, sizeof(*program));
  if (program == NULL || !vector_program_init(program, &own, tensors)) {
    free(program);
    return false;
  }
  const uint64_t elements = vector_program_elements(program);
  struct program_native native = {
      .run = run_program, .shape = program, .parts = parts_of(builder, elements, elements)};
  emit(builder, &native, operands, operands_count, "vectors");
  return true;
}

/* ---- along axes ------------------------------------------------------------------------------ */

static bool are_plain_floats(const struct operand *operands, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (operands[i].tensor.type != PLAN_F32 || operands[i].tensor.layout != PLAN_ROW_MAJOR) {
      return false;
    }
  }
  return true;
}

/* Axes from `first` to `end` - 1 as the one in the middle. */
static struct along_axis axis_of(const struct plan_tensor *x, uint32_t first, uint32_t end) {
  struct along_axis axis = {.outer = 1, .count = 1, .inner = 1};
  for (uint32_t i = 0; i < x->rank; i++) {
    uint64_t *part = i < first ? &axis.outer : i < end ? &axis.count : &axis.inner;
    *part *= x->dims[i];
  }
  return axis;
}

static void run_reduce(const void *shape, unsigned char *const *data, uint32_t part,
                       uint32_t parts) {
  reduce_along(shape, (const void *)data[0], (void *)data[1], part, parts);
}

static void run_softmax(const void *shape, unsigned char *const *data, uint32_t part,
                        uint32_t parts) {
  softmax_along(shape, (const void *)data[0], (void *)data[1], part, parts);
}

static bool emit_along(struct builder *builder, const struct along_axis *axis,
                       const struct operand *operands,
                       void (*run)(const void *shape, unsigned char *const *data, uint32_t part,
                                   uint32_t parts),
                       const char *what) {
  enum { LANES = 8 };
  struct along_axis *shape = calloc(1, sizeof(*shape));
  if (shape == NULL) {
    return false;
  }
  *shape = *axis;
  struct program_native native = {.run = run,
                                  .shape = shape,
                                  .parts =
                                      parts_of(builder, axis->outer * axis->count * axis->inner,
                                               axis->outer * ((axis->inner + LANES - 1) / LANES))};
  emit(builder, &native, operands, 2, what);
  return true;
}

static bool lower_reduction(struct builder *builder, const struct plan_op *op,
                            const struct operand *operands, uint32_t operands_count) {
  const uint32_t axes = op->reduce.axes;
  if (axes == 0 || operands_count != 2 || op->reduce.activation.kind != PLAN_ACT_NONE ||
      !along_axis_has_kind(op->reduce.kind) || !are_plain_floats(operands, operands_count)) {
    return false;
  }
  const uint32_t first = (uint32_t)__builtin_ctz(axes);
  const uint32_t end = first + (uint32_t)__builtin_ctz(~(axes >> first));
  if (axes >> first != (1U << (end - first)) - 1U) {
    return false; /* another axis between */
  }
  struct along_axis axis = axis_of(&operands[0].tensor, first, end);
  axis.kind = op->reduce.kind;
  return emit_along(builder, &axis, operands, run_reduce, "along axis");
}

static bool lower_softmax_along(struct builder *builder, const struct plan_op *op,
                                const struct operand *operands, uint32_t operands_count) {
  if (op->softmax.hard || op->softmax.logarithm || operands_count != 2 ||
      !are_plain_floats(operands, operands_count)) {
    return false;
  }
  const struct along_axis axis =
      axis_of(&operands[0].tensor, op->softmax.axis, op->softmax.axis + 1);
  return axis.inner > 1 && emit_along(builder, &axis, operands, run_softmax, "along axis");
}

bool lower_operands(struct builder *builder, const struct plan_op *op,
                    const struct operand *operands, uint32_t operands_count) {
  switch (op->kind) {
  case PLAN_OP_POINTWISE:
    return lower_program(builder, op, operands, operands_count);
  case PLAN_OP_REDUCE:
    return lower_reduction(builder, op, operands, operands_count);
  case PLAN_OP_SOFTMAX:
    return lower_softmax_along(builder, op, operands, operands_count);
  default:
    return false;
  }
}
