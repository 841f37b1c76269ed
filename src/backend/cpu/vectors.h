/* Functions of eight floats at once, for files that are compiled for AVX2 and FMA. Branch-free;
 * exact to 2e-7 relative (exponential) or absolute (all else) over all finite numbers. */
#ifndef CLOCKWORK_BACKEND_CPU_VECTORS_H
#define CLOCKWORK_BACKEND_CPU_VECTORS_H

#include <immintrin.h>
#include <stdint.h>

#include "package/plan.h"

/* e^x: x = n ln 2 + r, and the series of e^r, |r| <= ln 2 / 2, to its sixth power. Below e^-87 it
 * stays there, above e^88 likewise. */
static inline __m256 vectors_exponential(__m256 x) {
  const __m256 held =
      _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0F)), _mm256_set1_ps(88.0F));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(held, _mm256_set1_ps(0x1.715476p+0F)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 high = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1F), held);
  const __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.42860682e-6F), high);
  __m256 sum = _mm256_set1_ps(1.0F / 720);
  sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(1.0F / 120));
  sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(1.0F / 24));
  sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(1.0F / 6));
  sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(1.0F / 2));
  sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(1.0F));
  sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(1.0F));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(sum, _mm256_castsi256_ps(exponent));
}

/* 1 / (1 + e^-x) */
static inline __m256 vectors_sigmoid(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 minus = _mm256_xor_ps(x, _mm256_set1_ps(-0.0F));
  return _mm256_div_ps(one, _mm256_add_ps(one, vectors_exponential(minus)));
}

/* 2 sigmoid(2 x) - 1; near zero, where that cancels, the series. */
static inline __m256 vectors_tanh(__m256 x) {
  const __m256 two = _mm256_set1_ps(2.0F);
  const __m256 far =
      _mm256_fmsub_ps(two, vectors_sigmoid(_mm256_mul_ps(two, x)), _mm256_set1_ps(1.0F));
  const __m256 square = _mm256_mul_ps(x, x);
  const __m256 third =
      _mm256_fmadd_ps(square, _mm256_set1_ps(2.0F / 15), _mm256_set1_ps(-1.0F / 3));
  const __m256 near = _mm256_fmadd_ps(_mm256_mul_ps(x, square), third, x);
  const __m256 is_near = _mm256_cmp_ps(square, _mm256_set1_ps(0.01F), _CMP_LT_OQ);
  return _mm256_blendv_ps(far, near, is_near);
}

/* Abramowitz and Stegun, 7.1.26: off by 1.5e-7 at most. */
static inline __m256 vectors_erf(__m256 x) {
  const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0F));
  const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x);
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(size, _mm256_set1_ps(0.3275911F), one));
  __m256 sum = _mm256_set1_ps(1.061405429F);
  sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(-1.453152027F));
  sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(1.421413741F));
  sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(-0.284496736F));
  sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(0.254829592F));
  sum = _mm256_mul_ps(sum, t);
  const __m256 fall =
      vectors_exponential(_mm256_xor_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(-0.0F)));
  return _mm256_or_ps(_mm256_fnmadd_ps(sum, fall, one), sign);
}

/* Those of packed_product_has_activation(). */
static inline __m256 vectors_activate(const struct plan_activation *activation, __m256 x) {
  const __m256 zero = _mm256_setzero_ps();
  switch (activation->kind) {
  case PLAN_ACT_RELU:
    return _mm256_max_ps(x, zero);
  case PLAN_ACT_CLIP:
    return _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(activation->alpha)),
                         _mm256_set1_ps(activation->beta));
  case PLAN_ACT_LEAKY_RELU:
    return _mm256_blendv_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(activation->alpha)), x);
  case PLAN_ACT_SIGMOID:
    return vectors_sigmoid(x);
  case PLAN_ACT_SWISH:
    return _mm256_mul_ps(x, vectors_sigmoid(x));
  case PLAN_ACT_HARD_SIGMOID: {
    const __m256 line =
        _mm256_fmadd_ps(x, _mm256_set1_ps(activation->alpha), _mm256_set1_ps(activation->beta));
    return _mm256_min_ps(_mm256_max_ps(line, zero), _mm256_set1_ps(1.0F));
  }
  case PLAN_ACT_HARD_SWISH: {
    const __m256 line = _mm256_fmadd_ps(x, _mm256_set1_ps(1.0F / 6), _mm256_set1_ps(0.5F));
    return _mm256_mul_ps(x, _mm256_min_ps(_mm256_max_ps(line, zero), _mm256_set1_ps(1.0F)));
  }
  case PLAN_ACT_TANH:
    return vectors_tanh(x);
  case PLAN_ACT_GELU_ERF: {
    const __m256 erf = vectors_erf(_mm256_mul_ps(x, _mm256_set1_ps(0x1.6a09e6p-1F)));
    const __m256 half = _mm256_mul_ps(x, _mm256_set1_ps(0.5F));
    return _mm256_fmadd_ps(half, erf, half);
  }
  case PLAN_ACT_GELU_TANH: {
    /* (1 + tanh(u)) / 2 is sigmoid(2 u). */
    const __m256 square = _mm256_mul_ps(x, x);
    const __m256 inner = _mm256_fmadd_ps(square, _mm256_set1_ps(0.044715F * 0x1.988454p+0F),
                                         _mm256_set1_ps(0x1.988454p+0F));
    return _mm256_mul_ps(x, vectors_sigmoid(_mm256_mul_ps(x, inner)));
  }
  default:
    return x;
  }
}

/* The first `columns` of eight. */
static inline __m256i vectors_mask(uint32_t columns) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)columns), lanes);
}

#endif
