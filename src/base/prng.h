/* Seeded random numbers: xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64.
 *
 * One stream per purpose: give each consumer its own `prng_init(seed, stream)`, so that a draw
 * added in one place shifts no other. Same seed and stream, same numbers, on every machine.
 */
#ifndef CLOCKWORK_BASE_PRNG_H
#define CLOCKWORK_BASE_PRNG_H

#include <stdint.h>

struct prng {
  uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed, uint64_t stream);

uint64_t prng_next(struct prng *prng);

/* Uniform in [0, bound), bound > 0, without modulo bias. */
uint64_t prng_below(struct prng *prng, uint64_t bound);

/* Uniform in [0, 1), 53 bits. */
double prng_unit(struct prng *prng);

/* Exponential with mean 1, >= 0, finite. */
double prng_exponential(struct prng *prng);

/* Standard normal. Uses two draws each time, so streams stay aligned. */
double prng_normal(struct prng *prng);

/* A well mixed 64-bit hash of one word (the splitmix64 finaliser). */
uint64_t prng_mix(uint64_t word);

#endif
