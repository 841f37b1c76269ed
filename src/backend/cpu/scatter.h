/* The second half of a transposed convolution: what each pixel of the input gives to each place of
 * the kernel, a product of packed_product.h, is added up at the pixels of the output.
 *
 * Compiled for AVX2 and FMA. Pure; several threads may run parts of one at once.
 */
#ifndef CLOCKWORK_BACKEND_CPU_SCATTER_H
#define CLOCKWORK_BACKEND_CPU_SCATTER_H

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

/* y = act(sum + bias), (images, height, width, channels) in rows. given: (images, height, width,
 * kernel height, kernel width, pitch). bias: NULL if there is none. The activation is one of
 * packed_product_has_activation(). Parts as in packed_product_run(). */
void scatter_run(const struct scatter *scatter, const float *given, const float *bias, float *y,
                 uint32_t part, uint32_t parts);

#endif
