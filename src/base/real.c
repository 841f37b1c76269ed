#include "base/real.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"

#define LN2_HIGH 0x1.62e42fee00000p-1 /* 33 bits: times an exponent it is exact */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define HALF_PI 0x1.921fb54442d18p+0

/* Coefficients of the series, highest power first; the compiler rounds each quotient once. */
static const double EXP[] = {1.0 / 1307674368000.0,
                             1.0 / 87178291200.0,
                             1.0 / 6227020800.0,
                             1.0 / 479001600.0,
                             1.0 / 39916800.0,
                             1.0 / 3628800.0,
                             1.0 / 362880.0,
                             1.0 / 40320.0,
                             1.0 / 5040.0,
                             1.0 / 720.0,
                             1.0 / 120.0,
                             1.0 / 24.0,
                             1.0 / 6.0,
                             1.0 / 2.0,
                             1.0 / 1.0,
                             1.0 / 1.0};
static const double SINE[] = {1.0 / 51090942171709440000.0,
                              -1.0 / 121645100408832000.0,
                              1.0 / 355687428096000.0,
                              -1.0 / 1307674368000.0,
                              1.0 / 6227020800.0,
                              -1.0 / 39916800.0,
                              1.0 / 362880.0,
                              -1.0 / 5040.0,
                              1.0 / 120.0,
                              -1.0 / 6.0};

#define TERMS_OF(series) ((int)(sizeof(series) / sizeof((series)[0])))

static uint64_t bits_of(double x) {
  uint64_t bits = 0;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

static double of_bits(uint64_t bits) {
  double x = 0;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

/* log(1 + i/16) */
static const double LOGS[] = {0x0.0p+0,
                              0x1.f0a30c01162a6p-5,
                              0x1.e27076e2af2e6p-4,
                              0x1.5ff3070a793d4p-3,
                              0x1.c8ff7c79a9a22p-3,
                              0x1.1675cababa60ep-2,
                              0x1.4618bc21c5ec2p-2,
                              0x1.739d7f6bbd007p-2,
                              0x1.9f323ecbf984cp-2,
                              0x1.c8ff7c79a9a22p-2,
                              0x1.f128f5faf06edp-2,
                              0x1.0be72e4252a83p-1,
                              0x1.1e85f5e7040d0p-1,
                              0x1.307d7334f10bep-1,
                              0x1.41d8fe84672aep-1,
                              0x1.52a2d265bc5abp-1};

double real_log(double x) {
  enum { EXPONENT_BITS = 52, BIAS = 1023 };
  const uint64_t bits = bits_of(x);
  int64_t exponent = (int64_t)(bits >> EXPONENT_BITS) - BIAS;
  CHECK_GT(exponent, -BIAS); /* neither 0 nor subnormal, ... */
  CHECK_LE(exponent, BIAS);  /* nor infinite, nor negative: its sign counts as 2048 here */
  /* x = m * 2^exponent with m in [31/32, 63/32), and c = 1 + i/16 is the nearest such to m. */
  const uint64_t fraction = bits & ((UINT64_C(1) << EXPONENT_BITS) - 1);
  double m = of_bits(fraction | (uint64_t)BIAS << EXPONENT_BITS);
  uint64_t i = (fraction + (UINT64_C(1) << 47)) >> 48;
  if (i == 16) { /* near 1 from below: with c = 1 a small logarithm stays exact */
    m /= 2;
    exponent++;
    i = 0;
  }
  /* log(m / c) = 2 atanh s, |s| <= 1/62: the first term left out is below 1e-18. */
  const double c = 1 + (double)i / 16;
  const double s = (m - c) / (m + c);
  const double z = s * s;
  const double log_ratio =
      2 * s + 2 * s * z * (((1.0 / 9 * z + 1.0 / 7) * z + 1.0 / 5) * z + 1.0 / 3);
  return (double)exponent * LN2_HIGH + (LOGS[i] + ((double)exponent * LN2_LOW + log_ratio));
}

double real_exp(double x) {
  CHECK(x <= 700);
  if (x < -700) {
    return 0;
  }
  const double scaled = x / (LN2_HIGH + LN2_LOW);
  const int64_t exponent = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  const double r = (x - (double)exponent * LN2_HIGH) - (double)exponent * LN2_LOW;
  /* |r| < 0.35: the first term left out is below 1e-18. */
  double sum = 0;
  for (int i = 0; i < TERMS_OF(EXP); i++) {
    sum = sum * r + EXP[i];
  }
  return sum * of_bits((uint64_t)(exponent + 1023) << 52);
}

double real_pow(double x, double y) {
  return x == 0 ? 0 : real_exp(y * real_log(x));
}

/* Of x in [-pi/2, pi/2]: Taylor's series, the first term left out is below 1e-17. Odd and even
 * terms are added up apart, because each addition waits for the one before. */
static double sine(double x) {
  const double z = x * x;
  const double z2 = z * z;
  double odd = 0;
  double even = 0;
  for (int i = 0; i < TERMS_OF(SINE); i += 2) {
    odd = odd * z2 + SINE[i];
    even = even * z2 + SINE[i + 1];
  }
  return x + x * z * (odd * z + even);
}

double real_sin_turns(double turns) {
  CHECK(turns >= 0 && turns < 0x1.0p52);
  double part = turns - (double)(int64_t)turns; /* exact */
  /* Fold [0, 1) into [-1/4, 1/4]: exact, too. */
  if (part > 0.75) {
    part -= 1;
  } else if (part > 0.25) {
    part = 0.5 - part;
  }
  return sine(part * 4 * HALF_PI);
}

double real_cos_turns(double turns) {
  CHECK(turns >= 0 && turns < 0x1.0p52);
  const double part = turns - (double)(int64_t)turns;
  return real_sin_turns(part < 0.75 ? part + 0.25 : part - 0.75);
}
