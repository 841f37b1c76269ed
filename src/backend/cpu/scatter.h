/* The second half of a transposed convolution: what each pixel of the input gives to each place of
 * the kernel, a product of packed_product.h, is added up at the pixels of the output.
 *
 * Compiled for AVX2 and FMA. Pure; several threads may run parts of one at once.
 */
#ifndef CLOCKWORK_BACKEND_CPU_SCATTER_H
#define CLOCKWORK_BACKEND_CPU_SCATTER_H

#include <stdbool.h>
#include <stdint.h>

#include "package/plan.h"

enum { SCATTER_KERNEL_MAX = 64 };

/* Heights and widths, in this order. */
struct scatter {
  uint32_t images;
  uint32_t channels;
  uint32_t pitch; /* from one place of the kernel to the next, a multiple of PACKED_PANEL */
  uint32_t from[2];
  uint32_t to[2];
  uint32_t kernel[2]; /* at most SCATTER_KERNEL_MAX */
  uint32_t strides[2];
  uint32_t dilations[2];
  uint32_t pads[2]; /* in front */
  struct plan_activation activation;
};

/* Whether every pixel of the output gets something from one pixel alone: scatter_blocks() then does
 * both halves. */
bool scatter_is_blocks(const struct scatter *scatter);

/* y = act(product + bias) as below; x: (images, height, width, depth) in rows. w: a matrix for each
 * row of the kernel, packed as packed_product.h says, whose columns are (kernel width, channels).
 * bias_row: kernel width times the bias, or NULL. */
void scatter_blocks(const struct scatter *scatter, uint32_t depth, const float *x, const float *w,
                    const float *bias_row, float *y, uint32_t part, uint32_t parts);

/* y = act(sum + bias), (images, height, width, channels) in rows. given: (images, height, width,
 * kernel height, kernel width, pitch). bias: NULL if there is none. The activation is one of
 * packed_product_has_activation(). Parts as in packed_product_run(). */
void scatter_run(const struct scatter *scatter, const float *given, const float *bias, float *y,
                 uint32_t part, uint32_t parts);

#endif
