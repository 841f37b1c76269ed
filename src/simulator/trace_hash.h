/* A fingerprint of a run: every action and every answer, in order, goes in. */
#ifndef CLOCKWORK_SIMULATOR_TRACE_HASH_H
#define CLOCKWORK_SIMULATOR_TRACE_HASH_H

#include <stdint.h>

#include "base/prng.h"

struct trace_hash {
  uint64_t state;
};

/* A rotation, so that order counts, and a multiplication by an odd number (2^64 / golden ratio):
 * two cycles a word, and no word is forgotten. */
static inline void trace_hash_add(struct trace_hash *hash, uint64_t word) {
  const uint64_t rotated = hash->state << 5 | hash->state >> 59;
  hash->state = (rotated ^ word) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint64_t trace_hash_value(const struct trace_hash *hash) {
  return prng_mix(hash->state);
}

#endif
