/* What is known of model ids, kept by range: copies of a package have ids in a row and share all of
 * it. A table by id would be 4 bytes for each of a hundred thousand models on every worker, and a
 * cache miss for each look at it; ranges of a few dozen packages stay in the cache.
 *
 * Cost: get O(log ranges); add O(ranges), for models are loaded rarely. Memory: 12 bytes for each
 * of `capacity`, touched as they come.
 */
#ifndef CLOCKWORK_MODEL_RANGES_H
#define CLOCKWORK_MODEL_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

#define MODEL_RANGES_NONE UINT32_MAX

struct model_range {
  uint32_t first; /* id */
  uint32_t count;
  uint32_t value;
};

struct model_ranges {
  struct model_range *ranges; /* rising, none touches another */
  uint32_t count;
  uint32_t capacity;
};

/* Room for `capacity` ids, however they come. */
void model_ranges_init(struct model_ranges *ranges, struct arena *arena, uint32_t capacity);

/* The value of `id`; MODEL_RANGES_NONE if it has none. */
uint32_t model_ranges_get(const struct model_ranges *ranges, uint32_t id);

/* Whether one of `count` ids from `first` on has a value. The last is at most UINT32_MAX. */
bool model_ranges_have(const struct model_ranges *ranges, uint32_t first, uint32_t count);

/* Give these ids, which have none, a value other than MODEL_RANGES_NONE; `count` > 0 (CHECK). */
void model_ranges_add(struct model_ranges *ranges, uint32_t first, uint32_t count, uint32_t value);

#endif
