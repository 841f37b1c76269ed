#include "backend/cpu/packed_product.h"

#include <string.h>

#include "backend/cpu/vectors.h"

enum {
  LANES = 8,
  ROWS_MAX = 6, /* of one tile: 6 x 16 sums take twelve of the sixteen registers */
  /* A panel's part of so many rows takes 20 KiB of the first cache's 32. */
  DEPTH_MAX = 320,
  /* So many rows of x, in parts so deep, stay in the second cache while panels pass. */
  ROWS_BLOCK = 192,
  /* Fewer panels for each thread than this: they share the rows instead. */
  PANELS_MIN = 4,
};

/* Where a tile lies, and what of the product. */
struct place {
  const struct packed_product *product;
  const struct packed_operands *operands;
  uint32_t row;
  uint32_t column;
  uint32_t depth_begin;
  uint32_t depth_end;
};

bool packed_product_has_activation(const struct plan_activation *activation) {
  switch (activation->kind) {
  case PLAN_ACT_NONE:
  case PLAN_ACT_RELU:
  case PLAN_ACT_CLIP:
  case PLAN_ACT_LEAKY_RELU:
  case PLAN_ACT_SIGMOID:
  case PLAN_ACT_SWISH:
  case PLAN_ACT_HARD_SIGMOID:
  case PLAN_ACT_HARD_SWISH:
  case PLAN_ACT_TANH:
  case PLAN_ACT_GELU_ERF:
  case PLAN_ACT_GELU_TANH:
    return true;
  default:
    return false;
  }
}

/* What is done with the sums of a tile. Those of the first part of the depth take bias and residual
 * along, those of later ones what is in y already; after the last comes the function. */
struct finish {
  __m256 alpha;
  __m256 bias[2];
  const float *addend; /* NULL: none */
  float *y;
  size_t pitch;
  __m256i masks[2];
  bool is_whole; /* all sixteen columns exist */
  bool is_half;  /* at most eight do */
  bool has_function;
  const struct plan_activation *activation;
};

static struct finish finish_of(const struct place *place) {
  const struct packed_product *product = place->product;
  const struct packed_operands *operands = place->operands;
  const size_t at = (size_t)place->row * product->columns + place->column;
  const uint32_t left = product->columns - place->column;
  struct finish finish = {
      .alpha = _mm256_set1_ps(product->alpha),
      .bias = {_mm256_setzero_ps(), _mm256_setzero_ps()},
      .y = operands->y + at,
      .pitch = product->columns,
      .masks = {vectors_mask(left), vectors_mask(left < LANES ? 0 : left - LANES)},
      .is_whole = left >= PACKED_PANEL,
      .is_half = left <= LANES,
      .has_function =
          place->depth_end == product->depth && product->activation.kind != PLAN_ACT_NONE,
      .activation = &product->activation};
  if (place->depth_begin > 0) {
    finish.addend = finish.y;
    return finish;
  }
  finish.addend = operands->residual == NULL ? NULL : operands->residual + at;
  if (operands->bias != NULL) {
    finish.bias[0] = _mm256_maskload_ps(operands->bias + place->column, finish.masks[0]);
    finish.bias[1] =
        left <= LANES ? finish.bias[1]
                      : _mm256_maskload_ps(operands->bias + place->column + LANES, finish.masks[1]);
  }
  return finish;
}

static inline __attribute__((always_inline)) void store_whole(const struct finish *finish, size_t r,
                                                              __m256 left, __m256 right) {
  float *y = finish->y + r * finish->pitch;
  left = _mm256_fmadd_ps(left, finish->alpha, finish->bias[0]);
  right = _mm256_fmadd_ps(right, finish->alpha, finish->bias[1]);
  if (finish->addend != NULL) {
    left = _mm256_add_ps(left, _mm256_loadu_ps(finish->addend + r * finish->pitch));
    right = _mm256_add_ps(right, _mm256_loadu_ps(finish->addend + r * finish->pitch + LANES));
  }
  if (finish->has_function) {
    left = vectors_activate(finish->activation, left);
    right = vectors_activate(finish->activation, right);
  }
  _mm256_storeu_ps(y, left);
  _mm256_storeu_ps(y + LANES, right);
}

static void store_part(const struct finish *finish, size_t r, int half, __m256 sum) {
  const size_t at = r * finish->pitch + (size_t)half * LANES;
  __m256 value = _mm256_fmadd_ps(sum, finish->alpha, finish->bias[half]);
  if (finish->addend != NULL) {
    value = _mm256_add_ps(value, _mm256_maskload_ps(finish->addend + at, finish->masks[half]));
  }
  if (finish->has_function) {
    value = vectors_activate(finish->activation, value);
  }
  _mm256_maskstore_ps(finish->y + at, finish->masks[half], value);
}

static inline __attribute__((always_inline)) void store_row(const struct finish *finish, size_t r,
                                                            __m256 left, __m256 right) {
  if (finish->is_whole) {
    store_whole(finish, r, left, right);
  } else {
    store_part(finish, r, 0, left);
    if (!finish->is_half) {
      store_part(finish, r, 1, right);
    }
  }
}

static inline __attribute__((always_inline)) void sum_tile(const float *x, size_t pitch,
                                                           const float *w, size_t depth,
                                                           const size_t rows,
                                                           const struct finish *finish) {
  __m256 sums[ROWS_MAX][2];
#pragma GCC unroll 6
  for (size_t r = 0; r < rows; r++) {
    sums[r][0] = _mm256_setzero_ps();
    sums[r][1] = _mm256_setzero_ps();
  }
  for (size_t k = 0; k < depth; k++) {
    const __m256 left = _mm256_loadu_ps(w + k * PACKED_PANEL);
    const __m256 right = _mm256_loadu_ps(w + k * PACKED_PANEL + LANES);
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
      const __m256 a = _mm256_broadcast_ss(x + r * pitch + k);
      sums[r][0] = _mm256_fmadd_ps(a, left, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(a, right, sums[r][1]);
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < rows; r++) {
    store_row(finish, r, sums[r][0], sums[r][1]);
  }
}

/* One row has too few sums to keep the multipliers busy: four sets of them, added in the end. */
static void sum_row(const float *x, const float *w, size_t depth, const struct finish *finish) {
  __m256 sums[4][2];
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; i++) {
    sums[i][0] = _mm256_setzero_ps();
    sums[i][1] = _mm256_setzero_ps();
  }
  size_t k = 0;
  for (; k + 4 <= depth; k += 4) {
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
      const __m256 a = _mm256_broadcast_ss(x + k + i);
      const float *at = w + (k + i) * PACKED_PANEL;
      sums[i][0] = _mm256_fmadd_ps(a, _mm256_loadu_ps(at), sums[i][0]);
      sums[i][1] = _mm256_fmadd_ps(a, _mm256_loadu_ps(at + LANES), sums[i][1]);
    }
  }
  for (; k < depth; k++) {
    const __m256 a = _mm256_broadcast_ss(x + k);
    sums[0][0] = _mm256_fmadd_ps(a, _mm256_loadu_ps(w + k * PACKED_PANEL), sums[0][0]);
    sums[0][1] = _mm256_fmadd_ps(a, _mm256_loadu_ps(w + k * PACKED_PANEL + LANES), sums[0][1]);
  }
  for (int half = 0; half < 2; half++) {
    sums[0][half] = _mm256_add_ps(_mm256_add_ps(sums[0][half], sums[1][half]),
                                  _mm256_add_ps(sums[2][half], sums[3][half]));
  }
  store_row(finish, 0, sums[0][0], sums[0][1]);
}

static void run_tile(const struct place *place, uint32_t rows) {
  const struct packed_product *product = place->product;
  const size_t pitch = product->pitch == 0 ? product->depth : product->pitch;
  const float *x = place->operands->x + (size_t)place->row * pitch + place->depth_begin;
  const float *w = place->operands->w + (size_t)place->column * product->depth +
                   (size_t)place->depth_begin * PACKED_PANEL;
  const size_t depth = place->depth_end - place->depth_begin;
  const struct finish finish = finish_of(place);
  switch (rows) {
  case 1:
    sum_row(x, w, depth, &finish);
    break;
  case 2:
    sum_tile(x, pitch, w, depth, 2, &finish);
    break;
  case 3:
    sum_tile(x, pitch, w, depth, 3, &finish);
    break;
  case 4:
    sum_tile(x, pitch, w, depth, 4, &finish);
    break;
  case 5:
    sum_tile(x, pitch, w, depth, 5, &finish);
    break;
  default:
    sum_tile(x, pitch, w, depth, ROWS_MAX, &finish);
    break;
  }
}

struct range {
  uint32_t begin;
  uint32_t end;
};

/* Part `part` of `count` things. */
static struct range share_of(uint32_t count, uint32_t part, uint32_t parts) {
  return (struct range){.begin = (uint32_t)((uint64_t)count * part / parts),
                        .end = (uint32_t)((uint64_t)count * (part + 1) / parts)};
}

/* A block of rows against these panels, one part of the depth after another. */
static void run_block(struct place *place, struct range rows, struct range panels) {
  const uint32_t depth = place->product->depth;
  const uint32_t depth_parts = (depth + DEPTH_MAX - 1) / DEPTH_MAX;
  for (uint32_t i = 0; i < depth_parts; i++) {
    const struct range part = share_of(depth, i, depth_parts);
    place->depth_begin = part.begin;
    place->depth_end = part.end;
    for (uint32_t panel = panels.begin; panel < panels.end; panel++) {
      place->column = panel * PACKED_PANEL;
      for (uint32_t row = rows.begin; row < rows.end; row += ROWS_MAX) {
        place->row = row;
        run_tile(place, rows.end - row < ROWS_MAX ? rows.end - row : ROWS_MAX);
      }
    }
  }
}

void packed_product_run(const struct packed_product *product,
                        const struct packed_operands *operands, uint32_t part, uint32_t parts) {
  const uint32_t all_panels = (product->columns + PACKED_PANEL - 1) / PACKED_PANEL;
  const uint32_t all_tiles = (product->rows + ROWS_MAX - 1) / ROWS_MAX;
  const bool shares_rows = all_panels / parts < PANELS_MIN && all_tiles >= parts;
  struct range panels = {.begin = 0, .end = all_panels};
  struct range rows = {.begin = 0, .end = product->rows};
  if (shares_rows) {
    const struct range tiles = share_of(all_tiles, part, parts);
    rows.begin = tiles.begin * ROWS_MAX;
    rows.end = tiles.end * ROWS_MAX < product->rows ? tiles.end * ROWS_MAX : product->rows;
  } else {
    panels = share_of(all_panels, part, parts);
  }
  struct place place = {.product = product, .operands = operands};
  for (uint32_t row = rows.begin; row < rows.end; row += ROWS_BLOCK) {
    const uint32_t left = rows.end - row;
    const struct range block = {.begin = row,
                                .end = left < ROWS_BLOCK ? rows.end : row + ROWS_BLOCK};
    run_block(&place, block, panels);
  }
}
