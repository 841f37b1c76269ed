/* Products of rows with weights that were packed when their model was loaded: what dense layers and
 * transformers spend their time in.
 *
 * oneDNN 2.6 packs both factors anew at every execution where a processor has AVX2 alone, which
 * costs as much again as the product where rows are few, and several times that where rows of the
 * weights lie 4 KiB apart. Here the columns lie in panels of sixteen, each column's panel in one
 * stretch, and bias, residual and activation are applied while the sums are in registers.
 *
 * Compiled for AVX2 and FMA. Pure; several threads may run parts of one product at once.
 */
#ifndef CLOCKWORK_BACKEND_CPU_PACKED_PRODUCT_H
#define CLOCKWORK_BACKEND_CPU_PACKED_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "package/plan.h"

enum { PACKED_PANEL = 16 }; /* columns: two AVX2 registers */

/* y = act(alpha x w + bias + residual); x is rows x depth, y and residual rows x columns without
 * gaps; bias has `columns` elements. */
struct packed_product {
  uint32_t rows;
  uint32_t depth;
  uint32_t columns;
  uint32_t pitch; /* from one row of x to the next; 0: depth. Rows may overlap */
  float alpha;
  struct plan_activation activation;
};

/* w: panel after panel, each `depth` times PACKED_PANEL floats; columns behind the last are zeros.
 * bias and residual: NULL if there are none. y may be the residual, and nothing else. */
struct packed_operands {
  const float *x;
  const float *w;
  const float *bias;
  const float *residual;
  float *y;
};

/* Whether packed_product_run() knows this function. */
bool packed_product_has_activation(const struct plan_activation *activation);

/* Part `part` of `parts`; all parts together, in any order or at once, do the whole. */
void packed_product_run(const struct packed_product *product,
                        const struct packed_operands *operands, uint32_t part, uint32_t parts);

#endif
