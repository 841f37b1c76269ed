/* Pointwise programs eight numbers at a time: the kernels' programs of floats (and comparisons of
 * 32-bit integers that end as floats) over whatever operands lie so that eight neighbours of the
 * output are eight neighbours, or one, of each input.
 *
 * A step works on 64 elements, whose values stay in the first cache; so a long program costs little
 * more than a short one. Compiled for AVX2 and FMA. Pure; several threads may run parts of one at
 * once. The output may be an input of the same dims and layout.
 */
#ifndef CLOCKWORK_BACKEND_CPU_VECTOR_PROGRAM_H
#define CLOCKWORK_BACKEND_CPU_VECTOR_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "package/plan.h"

/* How an input goes along with the output's innermost run. */
enum vector_mode {
  VECTOR_ALONG,    /* element by element */
  VECTOR_SAME,     /* one element */
  VECTOR_LANES,    /* the same eight elements beside every eight of the output */
  VECTOR_PER_EIGHT /* one element beside every eight of the output */
};

struct vector_axis {
  uint64_t count;
  uint64_t out; /* distances in elements */
  uint64_t in[PLAN_POINTWISE_INPUTS];
};

struct vector_program {
  uint32_t inputs_count;
  uint32_t steps_count;
  struct plan_step steps[PLAN_POINTWISE_STEPS];
  struct vector_axis axes[PLAN_RANK_MAX]; /* outer ones */
  uint32_t rank;
  uint64_t run; /* elements of the innermost run, which lie without gaps in the output */
  enum vector_mode modes[PLAN_POINTWISE_INPUTS];
  uint64_t distances[PLAN_POINTWISE_INPUTS]; /* PER_EIGHT: from one to the next */
};

/* False: not such a program. tensors: the inputs, then the output; op counts in them. */
bool vector_program_init(struct vector_program *program, const struct plan_op *op,
                         const struct plan_tensor *tensors);

uint64_t vector_program_elements(const struct vector_program *program);

/* data: of each input, then of the output. Parts as in packed_product_run(). */
void vector_program_run(const struct vector_program *program, unsigned char *const *data,
                        uint32_t part, uint32_t parts);

#endif
