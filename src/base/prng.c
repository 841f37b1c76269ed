#include "base/prng.h"

#include <math.h>

#include "base/check.h"
#include "base/real.h"

uint64_t prng_mix(uint64_t word) {
  word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
  return word ^ (word >> 31);
}

void prng_init(struct prng *prng, uint64_t seed, uint64_t stream) {
  uint64_t counter = prng_mix(seed) ^ prng_mix(stream + UINT64_C(0x9e3779b97f4a7c15));
  for (int i = 0; i < 4; i++) {
    counter += UINT64_C(0x9e3779b97f4a7c15);
    prng->state[i] = prng_mix(counter);
  }
}

static uint64_t rotate_left(uint64_t word, int by) {
  return (word << by) | (word >> (64 - by));
}

uint64_t prng_next(struct prng *prng) {
  uint64_t *s = prng->state;
  const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
  const uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = rotate_left(s[3], 45);
  return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound) {
  CHECK_NE(bound, 0);
  /* Draws below 2^64 mod bound would favour small results. */
  const uint64_t reject_below = (0 - bound) % bound;
  uint64_t draw = prng_next(prng);
  while (draw < reject_below) {
    draw = prng_next(prng);
  }
  return draw % bound;
}

double prng_unit(struct prng *prng) {
  return (double)(prng_next(prng) >> 11) * 0x1.0p-53;
}

double prng_exponential(struct prng *prng) {
  /* Half a step off the grid of prng_unit(): the logarithm never sees 0. */
  return -real_log(prng_unit(prng) + 0x1.0p-54);
}

double prng_normal(struct prng *prng) {
  const double radius = sqrt(2.0 * prng_exponential(prng));
  return radius * real_cos_turns(prng_unit(prng));
}
