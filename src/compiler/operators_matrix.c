/* Matrix products. */
#include <string.h>

#include "compiler/lowering.h"

/* A vector counts as a matrix of one row (left) or one column (right). */
static uint32_t as_matrix(struct node *node, uint32_t value, bool left) {
  const struct graph_value from = *graph_value(node->graph, value);
  if (from.rank == 0) {
    node_malformed(node, "an input is a scalar");
  }
  if (from.rank > 1) {
    return value;
  }
  const uint32_t dims[2] = {left ? 1 : from.dims[0], left ? from.dims[0] : 1};
  return graph_view(node->graph, value, 2, dims);
}

static uint32_t product(struct node *node, uint32_t a, uint32_t b, uint32_t bias, uint32_t residual,
                        bool transpose_a, bool transpose_b, float alpha) {
  struct graph *graph = node->graph;
  const struct graph_value x = *graph_value(graph, a);
  const struct graph_value y = *graph_value(graph, b);
  node_check_types(node, a, b);
  node_check_float(node, a);
  const uint32_t rows = x.dims[x.rank - (transpose_a ? 1 : 2)];
  const uint32_t inner = x.dims[x.rank - (transpose_a ? 2 : 1)];
  const uint32_t columns = y.dims[y.rank - (transpose_b ? 2 : 1)];
  const uint32_t inner_b = y.dims[y.rank - (transpose_b ? 1 : 2)];
  if (inner != inner_b) {
    node_malformed(node, "multiplies rows of %u with columns of %u", inner, inner_b);
  }
  uint32_t rank = 0;
  uint32_t dims[PLAN_RANK_MAX];
  if (!graph_broadcast(x.rank - 2, x.dims, y.rank - 2, y.dims, &rank, dims)) {
    node_malformed(node, "its leading dimensions don't broadcast");
  }
  dims[rank] = rows;
  dims[rank + 1] = columns;
  const uint32_t out = graph_add_value(graph, x.type, rank + 2, dims);
  const uint32_t inputs[4] = {a, b, bias, residual};
  struct graph_op *op = graph_add_op(graph, PLAN_OP_MATMUL, 4, inputs, 1, &out);
  op->plan.matmul =
      (struct plan_matmul){.transpose_a = transpose_a, .transpose_b = transpose_b, .alpha = alpha};
  graph_finish_op(graph, op);
  return out;
}

static void lower_matmul(struct node *node) {
  struct graph *graph = node->graph;
  const bool left_vector = graph_value(graph, node_input(node, 0))->rank == 1;
  const bool right_vector = graph_value(graph, node_input(node, 1))->rank == 1;
  const uint32_t a = as_matrix(node, node_input(node, 0), true);
  const uint32_t b = as_matrix(node, node_input(node, 1), false);
  uint32_t out = product(node, a, b, GRAPH_NONE, GRAPH_NONE, false, false, 1.0F);
  if (left_vector || right_vector) {
    const struct graph_value value = *graph_value(graph, out);
    uint32_t dims[PLAN_RANK_MAX];
    uint32_t rank = 0;
    for (uint32_t axis = 0; axis < value.rank; axis++) {
      if (!(left_vector && axis + 2 == value.rank) && !(right_vector && axis + 1 == value.rank)) {
        dims[rank++] = value.dims[axis];
      }
    }
    out = graph_view(graph, out, rank, dims);
  }
  node->outputs[0] = out;
}

static uint32_t scaled(struct node *node, uint32_t value, float factor) {
  if (!(factor < 1) && !(factor > 1)) {
    return value;
  }
  return graph_binary(
      node->graph, PLAN_S_MUL, value,
      graph_add_number(node->graph, graph_value(node->graph, value)->type, (double)factor));
}

static void lower_gemm(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t a = node_input(node, 0);
  const uint32_t b = node_input(node, 1);
  const uint32_t c = node_optional_input(node, 2);
  const bool transpose_a = node_flag(node, "transA", false);
  const bool transpose_b = node_flag(node, "transB", false);
  const float beta = node_float(node, "beta", 1.0F);
  node_check_rank(node, a, 2, 2);
  node_check_rank(node, b, 2, 2);
  const uint32_t columns = graph_value(graph, b)->dims[transpose_b ? 0 : 1];
  uint32_t bias = GRAPH_NONE;
  if (c != GRAPH_NONE && graph_elements(graph, c) == columns && graph_value(graph, c)->rank >= 1 &&
      graph_value(graph, c)->dims[graph_value(graph, c)->rank - 1] == columns) {
    bias = scaled(node, graph_view(graph, c, 1, &columns), beta);
  }
  const uint32_t out = product(node, a, b, bias, GRAPH_NONE, transpose_a, transpose_b,
                               node_float(node, "alpha", 1.0F));
  node->outputs[0] = c == GRAPH_NONE || bias != GRAPH_NONE
                         ? out
                         : graph_binary(graph, PLAN_S_ADD, out, scaled(node, c, beta));
  if (!graph_same_dims(graph, out, node->outputs[0])) {
    node_malformed(node, "its third input doesn't broadcast to the product");
  }
}

/* Einsum of two operands whose every letter stands once an operand: batch, rows, columns, inner. */
struct subscripts {
  char letters[2][PLAN_RANK_MAX + 1];
  char result[PLAN_RANK_MAX + 1];
  uint32_t counts[2];
  uint32_t result_count;
};

static bool add_letter(char *letters, uint32_t *count, char letter) {
  if (letter < 'A' || letter > 'z' || *count == PLAN_RANK_MAX ||
      memchr(letters, letter, *count) != NULL) {
    return false;
  }
  letters[(*count)++] = letter;
  return true;
}

static bool read_equation(const char *text, struct subscripts *ret) {
  uint32_t operand = 0;
  memset(ret, 0, sizeof(*ret));
  for (; *text != '\0' && *text != '-'; text++) {
    if (*text == ',') {
      if (++operand == 2) {
        return false;
      }
    } else if (*text != ' ' && !add_letter(ret->letters[operand], &ret->counts[operand], *text)) {
      return false;
    }
  }
  if (operand != 1 || text[0] != '-' || text[1] != '>') {
    return false;
  }
  for (text += 2; *text != '\0'; text++) {
    if (*text != ' ' && !add_letter(ret->result, &ret->result_count, *text)) {
      return false;
    }
  }
  return true;
}

static bool has(const char *letters, uint32_t count, char letter) {
  return memchr(letters, letter, count) != NULL;
}

struct group { /* letters of one role, in the order of the operand that names them first */
  char letters[PLAN_RANK_MAX];
  uint32_t count;
  uint64_t size;
};

static uint32_t dim_of(const struct graph_value *value, const char *letters, char letter) {
  return value->dims[(const char *)memchr(letters, letter, value->rank) - letters];
}

static void gather_groups(struct node *node, const struct subscripts *s,
                          const struct graph_value *values, struct group groups[4]) {
  for (uint32_t operand = 0; operand < 2; operand++) {
    for (uint32_t i = 0; i < s->counts[operand]; i++) {
      const char letter = s->letters[operand][i];
      const bool both = has(s->letters[1 - operand], s->counts[1 - operand], letter);
      const bool kept = has(s->result, s->result_count, letter);
      if (both && operand == 1) {
        if (dim_of(&values[0], s->letters[0], letter) != values[1].dims[i]) {
          node_unsupported(node, "letter '%c' stands for two sizes", letter);
        }
        continue;
      }
      if (!both && !kept) {
        node_unsupported(node, "letter '%c' is summed over one operand alone", letter);
      }
      struct group *group = &groups[both ? (kept ? 0 : 3) : 1 + operand];
      group->letters[group->count++] = letter;
      group->size *= values[operand].dims[i];
    }
  }
}

/* The operand as (batch, first, second). */
static uint32_t arrange(struct node *node, uint32_t value, const char *letters,
                        const struct group *batch, const struct group *first,
                        const struct group *second) {
  const struct group *order[3] = {batch, first, second};
  uint32_t permutation[PLAN_RANK_MAX];
  uint32_t dims[3];
  uint32_t count = 0;
  for (uint32_t g = 0; g < 3; g++) {
    dims[g] = (uint32_t)order[g]->size;
    for (uint32_t i = 0; i < order[g]->count; i++) {
      permutation[count++] =
          (uint32_t)((const char *)memchr(letters, order[g]->letters[i],
                                          graph_value(node->graph, value)->rank) -
                     letters);
    }
  }
  return graph_view(node->graph, graph_transpose(node->graph, value, permutation), 3, dims);
}

static void lower_einsum(struct node *node) {
  struct graph *graph = node->graph;
  struct subscripts s;
  const char *equation = node_text(node, "equation", "");
  if (node->inputs_count != 2 || !read_equation(equation, &s)) {
    node_unsupported(node,
                     "equation '%s': two operands, each letter once an operand, and '->' are "
                     "supported",
                     equation);
  }
  const uint32_t inputs[2] = {node_input(node, 0), node_input(node, 1)};
  const struct graph_value values[2] = {*graph_value(graph, inputs[0]),
                                        *graph_value(graph, inputs[1])};
  if (values[0].rank != s.counts[0] || values[1].rank != s.counts[1]) {
    node_malformed(node, "equation '%s' doesn't fit its inputs' ranks", equation);
  }
  struct group groups[4] = {{.size = 1}, {.size = 1}, {.size = 1}, {.size = 1}};
  gather_groups(node, &s, values, groups);
  const uint32_t a = arrange(node, inputs[0], s.letters[0], &groups[0], &groups[1], &groups[3]);
  const uint32_t b = arrange(node, inputs[1], s.letters[1], &groups[0], &groups[3], &groups[2]);
  const uint32_t out = product(node, a, b, GRAPH_NONE, GRAPH_NONE, false, false, 1.0F);
  char made[PLAN_RANK_MAX + 1];
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t count = 0;
  for (uint32_t g = 0; g < 3; g++) {
    for (uint32_t i = 0; i < groups[g].count; i++) {
      if (count == PLAN_RANK_MAX) {
        node_unsupported(node, "its result has more than %d dimensions", PLAN_RANK_MAX);
      }
      const uint32_t from = g == 2 ? 1 : 0;
      made[count] = groups[g].letters[i];
      dims[count++] = dim_of(&values[from], s.letters[from], groups[g].letters[i]);
    }
  }
  uint32_t permutation[PLAN_RANK_MAX];
  for (uint32_t i = 0; i < s.result_count; i++) {
    const char *at = memchr(made, s.result[i], count);
    if (at == NULL || s.result_count != count) {
      node_malformed(node, "equation '%s' names a letter that no operand has", equation);
    }
    permutation[i] = (uint32_t)(at - made);
  }
  node->outputs[0] = graph_transpose(graph, graph_view(graph, out, count, dims), permutation);
}

static const struct operator_line LINES[] = {
    {"", "Einsum", 12, 0, lower_einsum, 0},
    {"", "Gemm", 7, 0, lower_gemm, 0},
    {"", "MatMul", 1, 0, lower_matmul, 0},
    {0},
};

const struct operator_family OPERATORS_MATRIX = {"matrix products", LINES};
