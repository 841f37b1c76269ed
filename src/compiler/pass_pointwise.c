/* A POINTWISE whose only reader is another POINTWISE becomes the first steps of that one's program,
 * as long as inputs and steps fit.
 */
#include <string.h>

#include "compiler/passes.h"

struct program {
  uint32_t inputs[2 * PLAN_POINTWISE_INPUTS];
  uint32_t inputs_count;
  struct plan_step steps[2 * PLAN_POINTWISE_STEPS];
  uint32_t steps_count;
};

static uint32_t input_of(struct program *program, uint32_t value) {
  for (uint32_t i = 0; i < program->inputs_count; i++) {
    if (program->inputs[i] == value) {
      return i;
    }
  }
  program->inputs[program->inputs_count] = value;
  return program->inputs_count++;
}

/* An operand of `op` as one of the joined program; reads of `inner` become its last step's value.
 */
static struct plan_operand translate(struct program *program, const struct graph_op *op,
                                     struct plan_operand operand, uint32_t first_step,
                                     uint32_t inner, uint32_t inner_step) {
  if (operand.kind == PLAN_OPERAND_STEP) {
    operand.index += first_step;
  } else if (operand.kind == PLAN_OPERAND_INPUT) {
    if (op->inputs[operand.index] == inner) {
      return graph_operand_step(inner_step);
    }
    operand.index = input_of(program, op->inputs[operand.index]);
  }
  return operand;
}

static void append(struct program *program, const struct graph_op *op, uint32_t inner,
                   uint32_t inner_step) {
  const uint32_t first = program->steps_count;
  for (uint32_t i = 0; i < op->plan.pointwise.steps_count; i++) {
    struct plan_step step = op->plan.pointwise.steps[i];
    step.a = translate(program, op, step.a, first, inner, inner_step);
    step.b = translate(program, op, step.b, first, inner, inner_step);
    step.c = translate(program, op, step.c, first, inner, inner_step);
    program->steps[program->steps_count++] = step;
  }
}

static uint32_t reads_of(const struct graph_op *op, uint32_t value) {
  uint32_t reads = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    reads += op->inputs[i] == value ? 1 : 0;
  }
  return reads;
}

static bool can_join(const struct graph *graph, const struct graph_op *op, uint32_t value) {
  const struct graph_op *inner = graph_producer(graph, value);
  return inner != NULL && inner->plan.kind == PLAN_OP_POINTWISE &&
         reads_of(op, value) == graph_value(graph, value)->uses &&
         graph_same_dims(graph, value, op->outputs[0]) &&
         inner->plan.pointwise.steps_count + op->plan.pointwise.steps_count <= PLAN_POINTWISE_STEPS;
}

static bool join(struct graph *graph, struct graph_op *op, uint32_t value) {
  struct graph_op *inner = graph_producer(graph, value);
  struct program program = {0};
  append(&program, inner, GRAPH_NONE, 0);
  const uint32_t inner_step = program.steps_count - 1;
  append(&program, op, value, inner_step);
  if (program.inputs_count > PLAN_POINTWISE_INPUTS) {
    return false;
  }
  /* Uses move with the reads; one value may have been read twice. */
  for (uint32_t i = 0; i < inner->inputs_count; i++) {
    graph_value(graph, inner->inputs[i])->uses--;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    graph_value(graph, op->inputs[i])->uses--;
  }
  uint32_t *lists = context_take(graph->context, program.inputs_count + 1, sizeof(lists[0]));
  struct plan_step *steps = context_take(graph->context, program.steps_count, sizeof(steps[0]));
  for (uint32_t i = 0; i < program.inputs_count; i++) {
    lists[i] = program.inputs[i];
    graph_value(graph, lists[i])->uses++;
    graph_value(graph, lists[i])->user = (uint32_t)(op - graph->ops);
  }
  lists[program.inputs_count] = op->outputs[0];
  memcpy(steps, program.steps, program.steps_count * sizeof(steps[0]));
  op->inputs = lists;
  op->inputs_count = program.inputs_count;
  op->outputs = lists + program.inputs_count;
  op->plan.pointwise = (struct plan_pointwise){.steps_count = program.steps_count, .steps = steps};
  inner->plan.kind = (enum plan_op_kind)GRAPH_DEAD;
  return true;
}

void pass_pointwise(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    if (op->plan.kind != PLAN_OP_POINTWISE) {
      continue;
    }
    for (uint32_t j = 0; j < op->inputs_count;) {
      if (can_join(graph, op, op->inputs[j]) && join(graph, op, op->inputs[j])) {
        j = 0; /* other inputs now */
      } else {
        j++;
      }
    }
  }
}
