/* LSTM, GRU and RNN, step by step in double; ONNX's gate orders (iofc, zrh). A part does whole
 * directions of whole sequences.
 */
#include <string.h>

#include "kernels/private.h"

struct cell {
  const struct kernel *k;
  enum plan_type type;
  uint32_t direction;
  uint32_t sequence;
  uint32_t steps;
  uint32_t batch;
  uint32_t width;
  uint32_t hidden;
  uint32_t directions;
  uint32_t gates;
  double *h;
  double *c;
  double *gate;  /* gates x hidden: W x + bias */
  double *recur; /* gates x hidden: R h + bias */
  double *fresh_h;
};

size_t kernel_recurrent_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors) {
  (void)tensors;
  return (3 + 2 * (size_t)plan_op_kind_gates(op->kind)) * op->recurrent.hidden * sizeof(double);
}

static double load(const struct cell *cell, uint32_t input, uint64_t at) {
  return element_load(cell->type, kernel_in_data(cell->k, input), at);
}

static double activate(const struct cell *cell, uint32_t index, double x) {
  const uint32_t per_direction = cell->gates == 4 ? 3 : cell->gates == 3 ? 2 : 1;
  return element_activate(
      &cell->k->op->recurrent.activations[cell->direction * per_direction + index], x);
}

/* gate = W x + Wb, recur = R h + Rb. */
static void multiply(const struct cell *cell, uint32_t step) {
  const uint32_t rows = cell->gates * cell->hidden;
  const uint64_t x = ((uint64_t)step * cell->batch + cell->sequence) * cell->width;
  const uint64_t w = (uint64_t)cell->direction * rows;
  const bool biased = kernel_has_input(cell->k, 3);
  for (uint32_t row = 0; row < rows; row++) {
    double sum = biased ? load(cell, 3, 2 * w + row) : 0;
    for (uint32_t i = 0; i < cell->width; i++) {
      sum += load(cell, 1, (w + row) * cell->width + i) * load(cell, 0, x + i);
    }
    cell->gate[row] = sum;
    sum = biased ? load(cell, 3, 2 * w + rows + row) : 0;
    for (uint32_t i = 0; i < cell->hidden; i++) {
      sum += load(cell, 2, (w + row) * cell->hidden + i) * cell->h[i];
    }
    cell->recur[row] = sum;
  }
}

static void step_lstm(const struct cell *cell) {
  const uint32_t n = cell->hidden;
  const bool peeps = kernel_has_input(cell->k, 7);
  const uint64_t p = (uint64_t)cell->direction * 3 * n;
  for (uint32_t j = 0; j < n; j++) {
    const double i_peep = peeps ? load(cell, 7, p + j) * cell->c[j] : 0;
    const double f_peep = peeps ? load(cell, 7, p + 2 * n + j) * cell->c[j] : 0;
    const double i = activate(cell, 0, cell->gate[j] + cell->recur[j] + i_peep);
    const double f = activate(cell, 0, cell->gate[2 * n + j] + cell->recur[2 * n + j] + f_peep);
    const double g = activate(cell, 1, cell->gate[3 * n + j] + cell->recur[3 * n + j]);
    cell->c[j] = f * cell->c[j] + i * g;
    const double o_peep = peeps ? load(cell, 7, p + n + j) * cell->c[j] : 0;
    const double o = activate(cell, 0, cell->gate[n + j] + cell->recur[n + j] + o_peep);
    cell->h[j] = o * activate(cell, 2, cell->c[j]);
  }
}

static void step_gru(const struct cell *cell) {
  const uint32_t n = cell->hidden;
  const uint64_t rows = 3 * (uint64_t)n;
  const uint64_t w = cell->direction * rows;
  const bool before = cell->k->op->recurrent.linear_before_reset;
  for (uint32_t j = 0; j < n; j++) {
    const double z = activate(cell, 0, cell->gate[j] + cell->recur[j]);
    double candidate = cell->gate[2 * n + j];
    if (before) {
      candidate +=
          activate(cell, 0, cell->gate[n + j] + cell->recur[n + j]) * cell->recur[2 * n + j];
    } else {
      candidate += kernel_has_input(cell->k, 3) ? load(cell, 3, 2 * w + rows + 2 * n + j) : 0;
      for (uint32_t i = 0; i < n; i++) {
        const double r = activate(cell, 0, cell->gate[n + i] + cell->recur[n + i]);
        candidate += load(cell, 2, (w + 2 * n + j) * n + i) * (r * cell->h[i]);
      }
    }
    cell->fresh_h[j] = (1 - z) * activate(cell, 1, candidate) + z * cell->h[j];
  }
  memcpy(cell->h, cell->fresh_h, n * sizeof(double));
}

static void step_rnn(const struct cell *cell) {
  for (uint32_t j = 0; j < cell->hidden; j++) {
    cell->h[j] = activate(cell, 0, cell->gate[j] + cell->recur[j]);
  }
}

static void store_state(const struct cell *cell, uint32_t output, uint64_t at, const double *from) {
  if (output >= cell->k->op->outputs_count || cell->k->op->outputs[output] == PLAN_NONE) {
    return;
  }
  for (uint32_t j = 0; j < cell->hidden; j++) {
    element_store(cell->type, kernel_out_data(cell->k, output), at + j, from[j]);
  }
}

static void run_sequence(const struct cell *cell) {
  const uint32_t n = cell->hidden;
  const uint64_t state = ((uint64_t)cell->direction * cell->batch + cell->sequence) * n;
  const enum plan_direction direction = cell->k->op->recurrent.direction;
  const bool backwards = direction == PLAN_REVERSE || cell->direction == 1;
  for (uint32_t j = 0; j < n; j++) {
    cell->h[j] = kernel_has_input(cell->k, 5) ? load(cell, 5, state + j) : 0;
    cell->c[j] = kernel_has_input(cell->k, 6) ? load(cell, 6, state + j) : 0;
  }
  for (uint32_t t = 0; t < cell->steps; t++) {
    const uint32_t step = backwards ? cell->steps - 1 - t : t;
    multiply(cell, step);
    if (cell->gates == 4) {
      step_lstm(cell);
    } else if (cell->gates == 3) {
      step_gru(cell);
    } else {
      step_rnn(cell);
    }
    store_state(
        cell, 0,
        (((uint64_t)step * cell->directions + cell->direction) * cell->batch + cell->sequence) * n,
        cell->h);
  }
  store_state(cell, 1, state, cell->h);
  store_state(cell, 2, state, cell->c);
}

void kernel_recurrent(const struct kernel *k) {
  const struct plan_tensor *x = kernel_in(k, 0);
  const uint32_t hidden = k->op->recurrent.hidden;
  struct cell cell = {
      .k = k,
      .type = x->type,
      .steps = x->dims[0],
      .batch = x->dims[1],
      .width = x->dims[2],
      .hidden = hidden,
      .directions = k->op->recurrent.direction == PLAN_BIDIRECTIONAL ? 2 : 1,
      .gates = plan_op_kind_gates(k->op->kind),
      .h = k->scratch,
  };
  cell.c = cell.h + hidden;
  cell.fresh_h = cell.c + hidden;
  cell.gate = cell.fresh_h + hidden;
  cell.recur = cell.gate + (size_t)cell.gates * hidden;
  const struct element_range range =
      element_part((uint64_t)cell.directions * cell.batch, k->part, k->parts);
  for (uint64_t i = range.begin; i < range.end; i++) {
    cell.direction = (uint32_t)(i / cell.batch);
    cell.sequence = (uint32_t)(i % cell.batch);
    run_sequence(&cell);
  }
}
