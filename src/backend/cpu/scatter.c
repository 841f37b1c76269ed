#include "backend/cpu/scatter.h"

#include <stddef.h>

#include "backend/cpu/packed_product.h"
#include "backend/cpu/vectors.h"

enum { LANES = 8 };

/* The places of the kernel and pixels of the input that meet at one row or column of the output:
 * out = in * stride + place * dilation - pad. */
struct terms {
  uint32_t count;
  uint32_t in[SCATTER_KERNEL_MAX];
  uint32_t place[SCATTER_KERNEL_MAX];
};

static void find_terms(const struct scatter *scatter, int axis, uint32_t out,
                       struct terms *ret_terms) {
  ret_terms->count = 0;
  for (uint32_t place = 0; place < scatter->kernel[axis]; place++) {
    const int64_t at =
        (int64_t)out + scatter->pads[axis] - (int64_t)place * scatter->dilations[axis];
    if (at < 0 || at % scatter->strides[axis] != 0 ||
        at / scatter->strides[axis] >= scatter->from[axis]) {
      continue;
    }
    ret_terms->in[ret_terms->count] = (uint32_t)(at / scatter->strides[axis]);
    ret_terms->place[ret_terms->count++] = place;
  }
}

static void add_up(const struct scatter *scatter, const float *image, const struct terms *rows,
                   const struct terms *columns, const float *bias, float *y) {
  const size_t place_step = scatter->pitch;
  const size_t pixel_step = place_step * scatter->kernel[0] * scatter->kernel[1];
  for (uint32_t channel = 0; channel < scatter->channels; channel += LANES) {
    const __m256i mask = vectors_mask(scatter->channels - channel);
    __m256 sum = bias == NULL ? _mm256_setzero_ps() : _mm256_maskload_ps(bias + channel, mask);
    for (uint32_t i = 0; i < rows->count; i++) {
      for (uint32_t j = 0; j < columns->count; j++) {
        const size_t pixel = (size_t)rows->in[i] * scatter->from[1] + columns->in[j];
        const size_t place = (size_t)rows->place[i] * scatter->kernel[1] + columns->place[j];
        const float *given = image + pixel * pixel_step + place * place_step + channel;
        sum = _mm256_add_ps(sum, _mm256_loadu_ps(given));
      }
    }
    _mm256_maskstore_ps(y + channel, mask, vectors_activate(&scatter->activation, sum));
  }
}

void scatter_run(const struct scatter *scatter, const float *given, const float *bias, float *y,
                 uint32_t part, uint32_t parts) {
  const uint64_t all_rows = (uint64_t)scatter->images * scatter->to[0];
  const size_t image_step = (size_t)scatter->from[0] * scatter->from[1] * scatter->kernel[0] *
                            scatter->kernel[1] * scatter->pitch;
  struct terms rows;
  struct terms columns;
  for (uint64_t row = all_rows * part / parts; row < all_rows * (part + 1) / parts; row++) {
    const float *image = given + row / scatter->to[0] * image_step;
    find_terms(scatter, 0, (uint32_t)(row % scatter->to[0]), &rows);
    for (uint32_t column = 0; column < scatter->to[1]; column++) {
      find_terms(scatter, 1, column, &columns);
      add_up(scatter, image, &rows, &columns, bias,
             y + (row * scatter->to[1] + column) * scatter->channels);
    }
  }
}

bool scatter_is_blocks(const struct scatter *scatter) {
  for (int axis = 0; axis < 2; axis++) {
    if (scatter->kernel[axis] != scatter->strides[axis] || scatter->pads[axis] != 0 ||
        scatter->dilations[axis] != 1 ||
        scatter->to[axis] != scatter->from[axis] * scatter->strides[axis]) {
      return false;
    }
  }
  return true;
}

static void activate(const struct plan_activation *activation, float *y, size_t count) {
  for (size_t i = 0; activation->kind != PLAN_ACT_NONE && i < count; i += LANES) {
    const __m256i mask = vectors_mask(count - i < LANES ? (uint32_t)(count - i) : LANES);
    const __m256 value = _mm256_maskload_ps(y + i, mask);
    _mm256_maskstore_ps(y + i, mask, vectors_activate(activation, value));
  }
}

/* A row of pixels against one row of the kernel gives one row of the output, as it lies. The
 * function comes afterwards: of few columns, most of a product's registers would be idle. */
void scatter_blocks(const struct scatter *scatter, uint32_t depth, const float *x, const float *w,
                    const float *bias_row, float *y, uint32_t part, uint32_t parts) {
  const struct packed_product product = {.rows = scatter->from[1],
                                         .depth = depth,
                                         .columns = scatter->kernel[1] * scatter->channels,
                                         .alpha = 1.0F};
  const size_t row_floats = (size_t)scatter->to[1] * scatter->channels;
  const size_t matrix_floats =
      (size_t)(product.columns + PACKED_PANEL - 1) / PACKED_PANEL * PACKED_PANEL * depth;
  const uint64_t rows = (uint64_t)scatter->images * scatter->from[0];
  for (uint64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
    for (uint32_t place = 0; place < scatter->kernel[0]; place++) {
      const struct packed_operands operands = {.x = x + row * scatter->from[1] * depth,
                                               .w = w + place * matrix_floats,
                                               .bias = bias_row,
                                               .y = y + (row * scatter->kernel[0] + place) *
                                                            row_floats};
      packed_product_run(&product, &operands, 0, 1);
      activate(&scatter->activation, operands.y, row_floats);
    }
  }
}
