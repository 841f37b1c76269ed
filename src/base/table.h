/* A hash table from 64-bit keys to 32-bit values, in memory of fixed size: open addressing with
 * linear probing, at most half full, deletion by shifting back, so it never degrades with age.
 * Never walked: its order depends on the hash.
 *
 * Only as much of it is in use as what was ever in it needed, because each slot is in a cache line
 * and mostly in a page of its own: a table for the most that can be would be touched all over.
 * Regions of doubling size lie one behind the other. Cost O(1) expected, but O(count) for the key
 * that fills half of a region: milliseconds, a few times in its life, from TABLE_SLOTS_FIRST / 2
 * keys on.
 */
#ifndef CLOCKWORK_BASE_TABLE_H
#define CLOCKWORK_BASE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

#define TABLE_NONE UINT32_MAX

enum { TABLE_SLOTS_FIRST = 1 << 16 };

struct table_slot {
  uint64_t key;
  uint32_t value_plus_one; /* 0: the slot is free, so that zeroed memory is an empty table */
};

struct table {
  struct table_slot *slots; /* the region in use */
  uint64_t mask;
  uint32_t count;
  uint32_t capacity;
};

void table_init(struct table *table, struct arena *arena, uint32_t capacity);

/* Insert or replace. `value` must not be TABLE_NONE; a new key needs room (CHECK). */
void table_put(struct table *table, uint64_t key, uint32_t value);

/* TABLE_NONE if absent. */
uint32_t table_get(const struct table *table, uint64_t key);

/* The value that was there, or TABLE_NONE. */
uint32_t table_remove(struct table *table, uint64_t key);

#endif
