#include "base/table.h"

#include "base/check.h"
#include "base/prng.h"

void table_init(struct table *table, struct arena *arena, uint32_t capacity) {
  uint64_t slots_count = 8;
  uint64_t first_count = 0;
  uint64_t all_count = 0; /* of each size from the first on */
  for (; slots_count < (uint64_t)capacity * 2; slots_count *= 2) {
    if (slots_count >= TABLE_SLOTS_FIRST) {
      first_count = first_count == 0 ? slots_count : first_count;
      all_count += slots_count;
    }
  }
  table->slots = arena_take(arena, all_count + slots_count, sizeof(struct table_slot));
  table->mask = (first_count == 0 ? slots_count : first_count) - 1;
  table->count = 0;
  table->capacity = capacity;
}

/* Where `key` is, or the free slot where it would go. */
static uint64_t table_locate(const struct table *table, uint64_t key) {
  uint64_t at = prng_mix(key) & table->mask;
  while (table->slots[at].value_plus_one != 0 && table->slots[at].key != key) {
    at = (at + 1) & table->mask;
  }
  return at;
}

/* To the next region, of twice the size. */
static void table_grow(struct table *table) {
  const struct table_slot *old = table->slots;
  const uint64_t old_count = table->mask + 1;
  table->slots += old_count;
  table->mask = old_count * 2 - 1;
  for (uint64_t i = 0; i < old_count; i++) {
    if (old[i].value_plus_one != 0) {
      table->slots[table_locate(table, old[i].key)] = old[i];
    }
  }
}

void table_put(struct table *table, uint64_t key, uint32_t value) {
  CHECK_NE(value, TABLE_NONE);
  if ((uint64_t)table->count * 2 > table->mask && table->count < table->capacity) {
    table_grow(table);
  }
  struct table_slot *slot = &table->slots[table_locate(table, key)];
  if (slot->value_plus_one == 0) {
    CHECK_LT(table->count, table->capacity);
    table->count++;
  }
  *slot = (struct table_slot){.key = key, .value_plus_one = value + 1};
}

uint32_t table_get(const struct table *table, uint64_t key) {
  return table->slots[table_locate(table, key)].value_plus_one - 1; /* 0 - 1 is TABLE_NONE */
}

uint32_t table_remove(struct table *table, uint64_t key) {
  uint64_t hole = table_locate(table, key);
  const uint32_t value = table->slots[hole].value_plus_one - 1;
  if (value == TABLE_NONE) {
    return TABLE_NONE;
  }
  table->count--;
  uint64_t at = hole;
  for (;;) {
    at = (at + 1) & table->mask;
    if (table->slots[at].value_plus_one == 0) {
      break;
    }
    /* An entry may fill the hole unless its home lies after the hole: then it would be lost. */
    const uint64_t home = prng_mix(table->slots[at].key) & table->mask;
    if (((at - home) & table->mask) >= ((at - hole) & table->mask)) {
      table->slots[hole] = table->slots[at];
      hole = at;
    }
  }
  table->slots[hole].value_plus_one = 0;
  return value;
}
