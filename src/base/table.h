/* A hash table from 64-bit keys to 32-bit values, in memory of fixed size: open addressing with
 * linear probing, at most half full, deletion by shifting back, so it never degrades with age.
 * Never walked: its order depends on the hash. Cost O(1) expected.
 */
#ifndef CLOCKWORK_BASE_TABLE_H
#define CLOCKWORK_BASE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

#define TABLE_NONE UINT32_MAX

struct table_slot {
  uint64_t key;
  uint32_t value_plus_one; /* 0: the slot is free, so that zeroed memory is an empty table */
};

struct table {
  struct table_slot *slots;
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
