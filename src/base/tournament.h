/* The smallest of a fixed number of keys that change all the time: which of many sources is next.
 *
 * A tournament tree in groups of eight. Entrants are numbers below the capacity; of equal keys the
 * lowest number wins, so a run repeats exactly. INT64_MAX takes no part. Against a heap: an entrant
 * has a place of its own, so a change writes to one path and to no other entrant, the addresses it
 * reads are known beforehand instead of one after another, and a group of keys is a cache line. A
 * heap is better where few of many take part.
 * Cost: a change and who is first O(log8 capacity), the first key O(1). Memory: 9.3 bytes an
 * entrant, all of it touched at init.
 */
#ifndef CLOCKWORK_BASE_TOURNAMENT_H
#define CLOCKWORK_BASE_TOURNAMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

enum {
  TOURNAMENT_GROUP_BITS = 3,
  TOURNAMENT_GROUP = 1 << TOURNAMENT_GROUP_BITS,
  TOURNAMENT_LEVELS_ABOVE_MAX = 7,
  TOURNAMENT_CAPACITY_MAX = 1 << (TOURNAMENT_GROUP_BITS * (TOURNAMENT_LEVELS_ABOVE_MAX + 1)),
};

/* A cache line. Levels lie behind one another, each as long as whole groups. */
struct tournament {
  int64_t *keys;    /* of the entrants, then of each group's leader, level by level */
  uint8_t *leaders; /* by group of all levels: which of the eight it is */
  int64_t first_key;
  uint32_t capacity;
  uint32_t levels_above;                        /* the entrants */
  uint32_t starts[TOURNAMENT_LEVELS_ABOVE_MAX]; /* of those levels, in places */
};

/* No entrant takes part. `capacity` <= TOURNAMENT_CAPACITY_MAX (CHECK). */
void tournament_init(struct tournament *tournament, struct arena *arena, uint32_t capacity);

/* `entrant` < capacity (CHECK). */
void tournament_set(struct tournament *tournament, uint32_t entrant, int64_t key);

/* `entrant` < capacity. INT64_MAX: it takes no part. */
static inline int64_t tournament_key(const struct tournament *tournament, uint32_t entrant) {
  return tournament->keys[entrant];
}

/* Bring in what a change of this entrant touches (base/prefetch.h). */
void tournament_expect(const struct tournament *tournament, uint32_t entrant);

/* INT64_MAX when nobody takes part. */
static inline int64_t tournament_first_key(const struct tournament *tournament) {
  return tournament->first_key;
}

/* Whose key that is; of no meaning when nobody takes part. */
uint32_t tournament_first(const struct tournament *tournament);

#endif
