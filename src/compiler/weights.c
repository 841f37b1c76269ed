#include "compiler/weights.h"

#include <stdbool.h>
#include <string.h>

#include "package/format.h"

struct weight_table {
  struct context *context;
  size_t lasting_bytes;
  struct compile_weight *weights;
  uint64_t *hashes;
  uint32_t count;
  uint32_t capacity;
  uint32_t *slots; /* index + 1 by hash; twice the capacity, a power of two */
  uint64_t bytes;
};

enum { WEIGHTS_FIRST = 256 };

struct weight_table *weights_create(struct context *context, size_t lasting_bytes) {
  struct weight_table *table = context_keep(context, 1, sizeof(*table));
  table->context = context;
  table->lasting_bytes = lasting_bytes;
  return table;
}

static void put_slot(struct weight_table *table, uint32_t index) {
  const uint64_t mask = 2 * (uint64_t)table->capacity - 1;
  uint64_t at = table->hashes[index];
  while (table->slots[at & mask] != 0) {
    at++;
  }
  table->slots[at & mask] = index + 1;
}

static void grow(struct weight_table *table) {
  const uint32_t bigger = table->capacity == 0 ? WEIGHTS_FIRST : 2 * table->capacity;
  struct compile_weight *weights = context_keep(table->context, bigger, sizeof(table->weights[0]));
  uint64_t *hashes = context_keep(table->context, bigger, sizeof(table->hashes[0]));
  if (table->count > 0) {
    memcpy(weights, table->weights, table->count * sizeof(weights[0]));
    memcpy(hashes, table->hashes, table->count * sizeof(hashes[0]));
  }
  table->weights = weights;
  table->hashes = hashes;
  table->slots = context_keep(table->context, 2 * (uint64_t)bigger, sizeof(table->slots[0]));
  table->capacity = bigger;
  for (uint32_t i = 0; i < table->count; i++) {
    put_slot(table, i);
  }
}

/* Whether the bytes stay where they are after context_release(). */
static bool lasts(const struct weight_table *table, const unsigned char *data) {
  const struct arena *arena = table->context->arena;
  return data < arena->memory + table->lasting_bytes ||
         data >= arena->memory + arena->capacity_bytes;
}

uint64_t weights_add(struct weight_table *table, const void *data, uint64_t bytes) {
  const uint64_t checksum = format_checksum(0, data, bytes);
  const uint64_t hash = checksum ^ checksum >> 32;
  if (table->capacity > 0) {
    const uint64_t mask = 2 * (uint64_t)table->capacity - 1;
    for (uint64_t at = hash; table->slots[at & mask] != 0; at++) {
      const uint32_t index = table->slots[at & mask] - 1;
      const struct compile_weight *weight = &table->weights[index];
      if (table->hashes[index] == hash && weight->bytes == bytes &&
          (weight->data == data || memcmp(weight->data, data, bytes) == 0)) {
        return weight->offset_bytes;
      }
    }
  }
  if (table->count == table->capacity) {
    grow(table);
  }
  const void *kept = data;
  if (!lasts(table, data)) {
    void *copy = context_keep(table->context, bytes, 1);
    memcpy(copy, data, bytes);
    kept = copy;
  }
  const uint64_t offset = table->bytes;
  table->weights[table->count] =
      (struct compile_weight){.offset_bytes = offset, .bytes = bytes, .data = kept};
  table->hashes[table->count] = hash;
  put_slot(table, table->count++);
  table->bytes = offset + (bytes + PLAN_ALIGN_BYTES - 1) / PLAN_ALIGN_BYTES * PLAN_ALIGN_BYTES;
  return offset;
}

const struct compile_weight *weights_list(const struct weight_table *table, uint32_t *ret_count,
                                          uint64_t *ret_bytes) {
  *ret_count = table->count;
  *ret_bytes = table->bytes;
  return table->weights;
}
