#include "backend/cpu/along_axis.h"

#include <math.h>
#include <stddef.h>

#include "backend/cpu/vectors.h"

enum {
  LANES = 8,
  WIDE = 4,    /* vectors at once: enough sums to keep the adders busy */
  GROUP = 128, /* numbers that are summed before they join the sum of all */
};

bool along_axis_has_kind(enum plan_reduce_kind kind) {
  return kind == PLAN_REDUCE_SUM || kind == PLAN_REDUCE_MEAN || kind == PLAN_REDUCE_MAX ||
         kind == PLAN_REDUCE_MIN || kind == PLAN_REDUCE_SUM_SQUARE;
}

static inline __m256 start_of(enum plan_reduce_kind kind) {
  return kind == PLAN_REDUCE_MAX   ? _mm256_set1_ps(-INFINITY)
         : kind == PLAN_REDUCE_MIN ? _mm256_set1_ps(INFINITY)
                                   : _mm256_setzero_ps();
}

/* What is no number stays none. */
static inline __attribute__((always_inline)) __m256 take(enum plan_reduce_kind kind, __m256 sum,
                                                         __m256 x) {
  switch (kind) {
  case PLAN_REDUCE_MAX:
    return _mm256_blendv_ps(_mm256_max_ps(sum, x), sum, _mm256_cmp_ps(sum, sum, _CMP_UNORD_Q));
  case PLAN_REDUCE_MIN:
    return _mm256_blendv_ps(_mm256_min_ps(sum, x), sum, _mm256_cmp_ps(sum, sum, _CMP_UNORD_Q));
  case PLAN_REDUCE_SUM_SQUARE:
    return _mm256_fmadd_ps(x, x, sum);
  default:
    return _mm256_add_ps(sum, x);
  }
}

/* Two sums of disjoint numbers. */
static inline __m256 join(enum plan_reduce_kind kind, __m256 a, __m256 b) {
  return take(kind == PLAN_REDUCE_SUM_SQUARE ? PLAN_REDUCE_SUM : kind, a, b);
}

/* ---- along the last axis --------------------------------------------------------------------- */

static float join_lanes(enum plan_reduce_kind kind, __m256 sum) {
  sum = join(kind, sum, _mm256_permute2f128_ps(sum, sum, 1));
  sum = join(kind, sum, _mm256_permute_ps(sum, 0x4E));
  sum = join(kind, sum, _mm256_permute_ps(sum, 0xB1));
  return _mm256_cvtss_f32(sum);
}

static float reduce_row(enum plan_reduce_kind kind, const float *x, uint64_t count) {
  __m256 all = start_of(kind);
  uint64_t i = 0;
  while (i + LANES <= count) {
    __m256 sums[WIDE] = {start_of(kind), start_of(kind), start_of(kind), start_of(kind)};
    const uint64_t left = (count - i) / LANES * LANES;
    const uint64_t end = i + (left < GROUP * LANES ? left : GROUP * LANES);
    for (; i + WIDE * LANES <= end; i += WIDE * LANES) {
#pragma GCC unroll 4
      for (size_t j = 0; j < WIDE; j++) {
        sums[j] = take(kind, sums[j], _mm256_loadu_ps(x + i + j * LANES));
      }
    }
    for (; i < end; i += LANES) {
      sums[0] = take(kind, sums[0], _mm256_loadu_ps(x + i));
    }
    all = join(kind, all, join(kind, join(kind, sums[0], sums[1]), join(kind, sums[2], sums[3])));
  }
  if (i < count) {
    const __m256i mask = vectors_mask((uint32_t)(count - i));
    const __m256 rest = _mm256_blendv_ps(start_of(kind), _mm256_maskload_ps(x + i, mask),
                                         _mm256_castsi256_ps(mask));
    all = take(kind, all, rest);
  }
  return join_lanes(kind, all);
}

static void reduce_rows(enum plan_reduce_kind kind, const struct along_axis *axis, const float *x,
                        float *y, uint64_t begin, uint64_t end) {
  for (uint64_t row = begin; row < end; row++) {
    const float sum = reduce_row(kind, x + row * axis->count, axis->count);
    y[row] = axis->kind == PLAN_REDUCE_MEAN ? sum / (float)axis->count : sum;
  }
}

/* ---- along another axis ---------------------------------------------------------------------- */

/* Eight columns: x is the first one's first number. */
static inline __attribute__((always_inline)) __m256 reduce_columns(enum plan_reduce_kind kind,
                                                                   const float *x, uint64_t count,
                                                                   uint64_t step, __m256i mask) {
  __m256 all = start_of(kind);
  for (uint64_t i = 0; i < count;) {
    __m256 sum = start_of(kind);
    const uint64_t end = count - i < GROUP ? count : i + GROUP;
    for (; i < end; i++) {
      sum = take(kind, sum, _mm256_maskload_ps(x + i * step, mask));
    }
    all = join(kind, all, sum);
  }
  return all;
}

static void reduce_blocks(enum plan_reduce_kind kind, const struct along_axis *axis, const float *x,
                          float *y, uint64_t begin, uint64_t end) {
  const uint64_t blocks = (axis->inner + LANES - 1) / LANES;
  const __m256 scale =
      _mm256_set1_ps(axis->kind == PLAN_REDUCE_MEAN ? 1.0F / (float)axis->count : 1.0F);
  for (uint64_t block = begin; block < end; block++) {
    const uint64_t column = block % blocks * LANES;
    const uint64_t outer = block / blocks;
    const uint64_t left = axis->inner - column;
    const __m256i mask = vectors_mask(left < LANES ? (uint32_t)left : LANES);
    const __m256 sum = reduce_columns(kind, x + outer * axis->count * axis->inner + column,
                                      axis->count, axis->inner, mask);
    _mm256_maskstore_ps(y + outer * axis->inner + column, mask, _mm256_mul_ps(sum, scale));
  }
}

static inline __attribute__((always_inline)) void reduce_kind(enum plan_reduce_kind kind,
                                                              const struct along_axis *axis,
                                                              const float *x, float *y,
                                                              uint32_t part, uint32_t parts) {
  const bool are_rows = axis->inner == 1;
  const uint64_t units = axis->outer * ((axis->inner + LANES - 1) / LANES);
  const uint64_t begin = units * part / parts;
  const uint64_t end = units * (part + 1) / parts;
  if (are_rows) {
    reduce_rows(kind, axis, x, y, begin, end);
  } else {
    reduce_blocks(kind, axis, x, y, begin, end);
  }
}

void reduce_along(const struct along_axis *axis, const float *x, float *y, uint32_t part,
                  uint32_t parts) {
  switch (axis->kind) {
  case PLAN_REDUCE_MAX:
    reduce_kind(PLAN_REDUCE_MAX, axis, x, y, part, parts);
    break;
  case PLAN_REDUCE_MIN:
    reduce_kind(PLAN_REDUCE_MIN, axis, x, y, part, parts);
    break;
  case PLAN_REDUCE_SUM_SQUARE:
    reduce_kind(PLAN_REDUCE_SUM_SQUARE, axis, x, y, part, parts);
    break;
  default:
    reduce_kind(PLAN_REDUCE_SUM, axis, x, y, part, parts);
    break;
  }
}

/* ---- softmax --------------------------------------------------------------------------------- */

static void softmax_columns(const float *x, float *y, uint64_t count, uint64_t step, __m256i mask) {
  const __m256 most = reduce_columns(PLAN_REDUCE_MAX, x, count, step, mask);
  __m256 sum = _mm256_setzero_ps();
  for (uint64_t i = 0; i < count; i++) {
    const __m256 value = _mm256_sub_ps(_mm256_maskload_ps(x + i * step, mask), most);
    const __m256 power = vectors_exponential(value);
    sum = _mm256_add_ps(sum, power);
    _mm256_maskstore_ps(y + i * step, mask, power);
  }
  const __m256 scale = _mm256_div_ps(_mm256_set1_ps(1.0F), sum);
  for (uint64_t i = 0; i < count; i++) {
    const __m256 power = _mm256_maskload_ps(y + i * step, mask);
    _mm256_maskstore_ps(y + i * step, mask, _mm256_mul_ps(power, scale));
  }
}

void softmax_along(const struct along_axis *axis, const float *x, float *y, uint32_t part,
                   uint32_t parts) {
  const uint64_t blocks = (axis->inner + LANES - 1) / LANES;
  const uint64_t units = axis->outer * blocks;
  const uint64_t end = units * (part + 1) / parts;
  for (uint64_t block = units * part / parts; block < end; block++) {
    const uint64_t column = block % blocks * LANES;
    const uint64_t left = axis->inner - column;
    const uint64_t at = block / blocks * axis->count * axis->inner + column;
    softmax_columns(x + at, y + at, axis->count, axis->inner,
                    vectors_mask(left < LANES ? (uint32_t)left : LANES));
  }
}
