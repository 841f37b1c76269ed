#include "backend/cpu/lstm.h"

#include <string.h>

#include "backend/cpu/packed_product.h"
#include "backend/cpu/vectors.h"

enum { LANES = 8, GATES = 4 };

/* The sequences that one part does, in one direction. */
struct share {
  const struct lstm *lstm;
  const struct lstm_operands *operands;
  uint32_t direction;
  uint32_t first; /* sequence */
  uint32_t count;
  float *gates; /* (steps, batch, 4 x hidden): W x + bias */
  float *h;     /* (batch, hidden) */
  float *c;
};

static size_t gates_floats(const struct lstm *lstm) {
  return (size_t)lstm->steps * lstm->batch * GATES * lstm->hidden;
}

size_t lstm_scratch_floats(const struct lstm *lstm) {
  return gates_floats(lstm) + 2 * (size_t)lstm->batch * lstm->hidden;
}

static size_t packed_floats(const struct lstm *lstm, uint32_t depth) {
  const size_t columns = (size_t)GATES * lstm->hidden;
  return (columns + PACKED_PANEL - 1) / PACKED_PANEL * PACKED_PANEL * depth;
}

/* W x + bias of all steps: in one product if all sequences are here, as their steps then lie
 * behind each other. */
static void multiply_inputs(const struct share *share) {
  const struct lstm *lstm = share->lstm;
  const struct lstm_operands *operands = share->operands;
  const uint32_t columns = GATES * lstm->hidden;
  const bool are_all = share->count == lstm->batch;
  const struct packed_product product = {.rows = are_all ? lstm->steps * lstm->batch : share->count,
                                         .depth = lstm->width,
                                         .columns = columns,
                                         .alpha = 1.0F};
  for (uint32_t step = 0; step < (are_all ? 1 : lstm->steps); step++) {
    const size_t row = (size_t)step * lstm->batch + share->first;
    const struct packed_operands part = {
        .x = operands->x + row * lstm->width,
        .w = operands->w + share->direction * packed_floats(lstm, lstm->width),
        .bias =
            operands->bias == NULL ? NULL : operands->bias + 2 * (size_t)share->direction * columns,
        .y = share->gates + row * columns};
    packed_product_run(&product, &part, 0, 1);
  }
}

static void add_state(const struct share *share, float *gates) {
  const struct lstm *lstm = share->lstm;
  const struct lstm_operands *operands = share->operands;
  const uint32_t columns = GATES * lstm->hidden;
  const struct packed_product product = {
      .rows = share->count, .depth = lstm->hidden, .columns = columns, .alpha = 1.0F};
  const struct packed_operands part = {
      .x = share->h,
      .w = operands->r + share->direction * packed_floats(lstm, lstm->hidden),
      .bias = operands->bias == NULL
                  ? NULL
                  : operands->bias + (2 * (size_t)share->direction + 1) * columns,
      .residual = gates,
      .y = gates};
  packed_product_run(&product, &part, 0, 1);
}

static void apply_gates(uint32_t hidden, const float *gates, float *c, float *h) {
  for (uint32_t j = 0; j < hidden; j += LANES) {
    const __m256i mask = vectors_mask(hidden - j);
    const __m256 in = vectors_sigmoid(_mm256_maskload_ps(gates + j, mask));
    const __m256 out = vectors_sigmoid(_mm256_maskload_ps(gates + hidden + j, mask));
    const __m256 forget = vectors_sigmoid(_mm256_maskload_ps(gates + 2 * (size_t)hidden + j, mask));
    const __m256 cell = vectors_tanh(_mm256_maskload_ps(gates + 3 * (size_t)hidden + j, mask));
    const __m256 kept = _mm256_mul_ps(forget, _mm256_maskload_ps(c + j, mask));
    const __m256 sum = _mm256_fmadd_ps(in, cell, kept);
    _mm256_maskstore_ps(c + j, mask, sum);
    _mm256_maskstore_ps(h + j, mask, _mm256_mul_ps(out, vectors_tanh(sum)));
  }
}

static void set_state(const struct share *share, const float *from, float *state) {
  const size_t hidden = share->lstm->hidden;
  const size_t at = ((size_t)share->direction * share->lstm->batch + share->first) * hidden;
  if (from == NULL) {
    memset(state, 0, share->count * hidden * sizeof(*state));
  } else {
    memcpy(state, from + at, share->count * hidden * sizeof(*state));
  }
}

static void get_state(const struct share *share, const float *state, float *to) {
  const size_t hidden = share->lstm->hidden;
  const size_t at = ((size_t)share->direction * share->lstm->batch + share->first) * hidden;
  if (to != NULL) {
    memcpy(to + at, state, share->count * hidden * sizeof(*state));
  }
}

static void run_share(const struct share *share) {
  const struct lstm *lstm = share->lstm;
  const size_t hidden = lstm->hidden;
  const bool is_turned = share->direction == 1 || lstm->first_is_turned;
  multiply_inputs(share);
  set_state(share, share->operands->first_h, share->h);
  set_state(share, share->operands->first_c, share->c);
  for (uint32_t i = 0; i < lstm->steps; i++) {
    const uint32_t step = is_turned ? lstm->steps - 1 - i : i;
    float *gates = share->gates + ((size_t)step * lstm->batch + share->first) * GATES * hidden;
    add_state(share, gates);
    for (uint32_t j = 0; j < share->count; j++) {
      apply_gates(lstm->hidden, gates + j * GATES * hidden, share->c + j * hidden,
                  share->h + j * hidden);
    }
    if (share->operands->y != NULL) {
      const size_t place = (size_t)step * lstm->directions + share->direction;
      memcpy(share->operands->y + (place * lstm->batch + share->first) * hidden, share->h,
             share->count * hidden * sizeof(float));
    }
  }
  get_state(share, share->h, share->operands->last_h);
  get_state(share, share->c, share->operands->last_c);
}

void lstm_run(const struct lstm *lstm, const struct lstm_operands *operands, uint32_t part,
              uint32_t parts) {
  struct share share = {.lstm = lstm, .operands = operands, .gates = operands->scratch};
  share.first = (uint32_t)((uint64_t)lstm->batch * part / parts);
  share.count = (uint32_t)((uint64_t)lstm->batch * (part + 1) / parts) - share.first;
  if (share.count == 0) {
    return;
  }
  const size_t states = (size_t)lstm->batch * lstm->hidden;
  share.h = operands->scratch + gates_floats(lstm) + (size_t)share.first * lstm->hidden;
  share.c = share.h + states;
  for (share.direction = 0; share.direction < lstm->directions; share.direction++) {
    run_share(&share);
  }
}
