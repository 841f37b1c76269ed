/* Long short-term memory: for each step of a sequence two products with packed weights, and the
 * gates eight numbers at a time.
 *
 * oneDNN 2.6 computes it for its own order of gates only and with weights that it packs at every
 * execution. Compiled for AVX2 and FMA. Pure; several threads may run parts of one at once.
 */
#ifndef CLOCKWORK_BACKEND_CPU_LSTM_H
#define CLOCKWORK_BACKEND_CPU_LSTM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Gates as ONNX orders them: input, output, forget, cell; sigmoid and tanh, no peepholes. */
struct lstm {
  uint32_t steps;
  uint32_t batch;
  uint32_t width;
  uint32_t hidden;
  uint32_t directions;  /* 1 or 2 */
  bool first_is_turned; /* the first direction goes from the last step to the first; the second
                           always does */
};

/* x: (steps, batch, width). w, r: per direction, 4 x hidden columns packed as packed_product.h
 * says, of depth `width` and `hidden`. bias: (directions, 2, 4 x hidden) of w and r, or NULL.
 * first_h and first_c: (directions, batch, hidden), or NULL: zeros. y: (steps, directions, batch,
 * hidden) or NULL; last_h and last_c likewise, as first_h. */
struct lstm_operands {
  const float *x;
  const float *w;
  const float *r;
  const float *bias;
  const float *first_h;
  const float *first_c;
  float *y;
  float *last_h;
  float *last_c;
  float *scratch; /* lstm_scratch_floats() */
};

size_t lstm_scratch_floats(const struct lstm *lstm);

/* A part does whole sequences: at most `batch` parts have something to do. */
void lstm_run(const struct lstm *lstm, const struct lstm_operands *operands, uint32_t part,
              uint32_t parts);

#endif
