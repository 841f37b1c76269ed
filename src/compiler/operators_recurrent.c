/* LSTM, GRU, RNN over sequences of one length. */
#include <string.h>

#include "compiler/lowering.h"

static bool activation_by_name(const char *name, float alpha, float beta,
                               struct plan_activation *ret) {
  static const struct {
    const char *name;
    enum plan_activation_kind kind;
  } NAMES[] = {
      {"relu", PLAN_ACT_RELU}, {"sigmoid", PLAN_ACT_SIGMOID},
      {"tanh", PLAN_ACT_TANH}, {"leakyrelu", PLAN_ACT_LEAKY_RELU},
      {"elu", PLAN_ACT_ELU},   {"hardsigmoid", PLAN_ACT_HARD_SIGMOID},
  };
  for (uint32_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
    uint32_t at = 0;
    while (NAMES[i].name[at] != '\0' && (name[at] | 32) == NAMES[i].name[at]) {
      at++;
    }
    if (NAMES[i].name[at] == '\0' && name[at] == '\0') {
      *ret = (struct plan_activation){.kind = NAMES[i].kind, .alpha = alpha, .beta = beta};
      return true;
    }
  }
  return false;
}

static void read_activations(struct node *node, uint32_t per_direction, uint32_t directions,
                             struct plan_activation *ret) {
  static const char *const LSTM[3] = {"Sigmoid", "Tanh", "Tanh"};
  static const char *const RNN[1] = {"Tanh"};
  const char *const *otherwise = per_direction == 1 ? RNN : LSTM;
  const Onnx__AttributeProto *names = node_attribute(node, "activations");
  const Onnx__AttributeProto *alphas = node_attribute(node, "activation_alpha");
  const Onnx__AttributeProto *betas = node_attribute(node, "activation_beta");
  const uint32_t count = per_direction * directions;
  if (names != NULL && names->n_strings != count) {
    node_malformed(node, "activations has %zu names; %u are needed", names->n_strings, count);
  }
  for (uint32_t i = 0; i < count; i++) {
    const char *name = otherwise[i % per_direction];
    if (names != NULL) {
      const ProtobufCBinaryData *text = &names->strings[i];
      name = context_text(node->context, "%.*s", (int)(text->len > 32 ? 32 : text->len),
                          (const char *)text->data);
    }
    const bool leaky = (name[0] | 32) == 'l';
    const bool hard = (name[0] | 32) == 'h';
    const float alpha = alphas != NULL && i < alphas->n_floats ? alphas->floats[i]
                        : leaky                                ? 0.01F
                        : hard                                 ? 0.2F
                                                               : 1.0F;
    const float beta = betas != NULL && i < betas->n_floats ? betas->floats[i] : 0.5F;
    if (!activation_by_name(name, alpha, beta, &ret[i])) {
      node_unsupported(node, "activation '%s' is not supported", name);
    }
  }
}

static void check_dims(const struct node *node, uint32_t value, const char *what, uint32_t rank,
                       const uint32_t *dims) {
  if (value == GRAPH_NONE) {
    return;
  }
  const struct graph_value *v = graph_value(node->graph, value);
  if (v->rank != rank || memcmp(v->dims, dims, rank * sizeof(dims[0])) != 0) {
    node_malformed(node, "its %s doesn't have the shape that its input and hidden_size say", what);
  }
}

/* Sequences that end early would need lengths at run time; lengths that are all the whole are none.
 */
static void check_lengths(struct node *node, uint32_t steps) {
  if (!node_has_input(node, 4)) {
    return;
  }
  const uint32_t lengths = node_constant(node, 4, "sequence_lens");
  for (uint64_t i = 0; i < graph_elements(node->graph, lengths); i++) {
    if (graph_int_at(node->graph, lengths, i) != (int64_t)steps) {
      node_unsupported(node, "sequences shorter than the input's first dimension (sequence_lens) "
                             "are not supported");
    }
  }
}

struct shape { /* of the sequences */
  uint32_t steps;
  uint32_t batch;
  uint32_t width;
  uint32_t hidden;
  uint32_t directions;
  uint32_t gates;
};

static void check_weights(const struct node *node, const struct shape *s) {
  const uint32_t rows = s->gates * s->hidden;
  const uint32_t w[3] = {s->directions, rows, s->width};
  const uint32_t r[3] = {s->directions, rows, s->hidden};
  const uint32_t b[2] = {s->directions, 2 * rows};
  const uint32_t state[3] = {s->directions, s->batch, s->hidden};
  const uint32_t peepholes[2] = {s->directions, 3 * s->hidden};
  check_dims(node, node_input(node, 1), "W", 3, w);
  check_dims(node, node_input(node, 2), "R", 3, r);
  check_dims(node, node_optional_input(node, 3), "B", 2, b);
  check_dims(node, node_optional_input(node, 5), "initial_h", 3, state);
  if (s->gates == 4) {
    check_dims(node, node_optional_input(node, 6), "initial_c", 3, state);
    check_dims(node, node_optional_input(node, 7), "P", 2, peepholes);
  }
}

static enum plan_direction read_direction(struct node *node) {
  const char *direction = node_text(node, "direction", "forward");
  if (node_has(node, "clip")) {
    node_unsupported(node, "clip is not supported");
  }
  if (node_int(node, "layout", 0) != 0) {
    node_unsupported(node, "layout 1 (batch first) is not supported; export with layout 0");
  }
  if (node_flag(node, "input_forget", false)) {
    node_unsupported(node, "input_forget is not supported");
  }
  return strcmp(direction, "reverse") == 0         ? PLAN_REVERSE
         : strcmp(direction, "bidirectional") == 0 ? PLAN_BIDIRECTIONAL
                                                   : PLAN_FORWARD;
}

static void lower_recurrent(struct node *node) {
  struct graph *graph = node->graph;
  const enum plan_op_kind kind = (enum plan_op_kind)node->variant;
  const bool lstm = kind == PLAN_OP_LSTM;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  const struct graph_value recurrence = *graph_value(graph, node_input(node, 2));
  struct plan_recurrent plan = {.direction = read_direction(node)};
  node_check_float(node, x);
  node_check_rank(node, x, 3, 3);
  struct shape s = {.steps = in.dims[0],
                    .batch = in.dims[1],
                    .width = in.dims[2],
                    .hidden = recurrence.dims[2],
                    .directions = plan.direction == PLAN_BIDIRECTIONAL ? 2 : 1,
                    .gates = plan_op_kind_gates(kind)};
  if (node_int(node, "hidden_size", s.hidden) != (int64_t)s.hidden || s.hidden > INT16_MAX) {
    node_malformed(node, "hidden_size and R don't fit");
  }
  plan.hidden = s.hidden;
  plan.linear_before_reset = node_flag(node, "linear_before_reset", false);
  read_activations(node, lstm ? 3 : kind == PLAN_OP_GRU ? 2 : 1, s.directions, plan.activations);
  check_weights(node, &s);
  check_lengths(node, s.steps);
  const uint32_t inputs[8] = {x,
                              node_input(node, 1),
                              node_input(node, 2),
                              node_optional_input(node, 3),
                              GRAPH_NONE,
                              node_optional_input(node, 5),
                              lstm ? node_optional_input(node, 6) : GRAPH_NONE,
                              lstm ? node_optional_input(node, 7) : GRAPH_NONE};
  const uint32_t all[4] = {s.steps, s.directions, s.batch, s.hidden};
  const uint32_t last[3] = {s.directions, s.batch, s.hidden};
  uint32_t outputs[3] = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};
  for (uint32_t i = 0; i < node->outputs_count && i < (lstm ? 3u : 2u); i++) {
    if (node->wanted[i]) {
      outputs[i] = graph_add_value(graph, in.type, i == 0 ? 4 : 3, i == 0 ? all : last);
      node->outputs[i] = outputs[i];
    }
  }
  struct graph_op *op =
      graph_add_op(graph, (uint32_t)kind, lstm ? 8 : 6, inputs, lstm ? 3 : 2, outputs);
  op->plan.recurrent = plan;
  graph_finish_op(graph, op);
}

static const struct operator_line LINES[] = {
    {"", "GRU", 7, 0, lower_recurrent, PLAN_OP_GRU},
    {"", "LSTM", 7, 0, lower_recurrent, PLAN_OP_LSTM},
    {"", "RNN", 7, 0, lower_recurrent, PLAN_OP_RNN},
    {0},
};

const struct operator_family OPERATORS_RECURRENT = {"recurrent", LINES};
