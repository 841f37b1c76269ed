/* DenseNets concatenate all features anew for every layer. Where a concatenation begins with all
 * the inputs of an earlier one, it takes that one's result instead: each feature then has one
 * place, and nothing is copied twice.
 */
#include <string.h>

#include "compiler/passes.h"

struct list { /* a concatenation's inputs as they were */
  uint32_t count;
  uint32_t axis;
  uint32_t out;
  const uint32_t *values;
};

static bool begins_with(const struct list *longer, const struct list *shorter) {
  return shorter->count > 1 && shorter->count < longer->count && shorter->axis == longer->axis &&
         memcmp(longer->values, shorter->values, shorter->count * sizeof(shorter->values[0])) == 0;
}

void pass_concat_prefix(struct graph *graph) {
  /* The latest concatenation that begins with this value. */
  struct list *latest = context_take(graph->context, graph->values_count, sizeof(latest[0]));
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    if (op->plan.kind != PLAN_OP_CONCAT) {
      continue;
    }
    uint32_t *values = context_take(graph->context, op->inputs_count, sizeof(values[0]));
    memcpy(values, op->inputs, op->inputs_count * sizeof(values[0]));
    const struct list own = {
        .count = op->inputs_count, .axis = op->plan.axis, .out = op->outputs[0], .values = values};
    struct list *before = &latest[values[0]];
    if (begins_with(&own, before)) {
      const uint32_t rest = own.count - before->count;
      op->inputs[0] = before->out;
      memmove(op->inputs + 1, values + before->count, rest * sizeof(values[0]));
      op->inputs_count = 1 + rest;
    }
    *before = own;
  }
}
