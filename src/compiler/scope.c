/* Names to values: a hash table per graph, inner graphs look outward. */
#include <string.h>

#include "compiler/lowering.h"

struct scope_slot {
  const char *name; /* NULL: free */
  uint32_t value;
};

struct scope {
  const struct scope *parent;
  struct scope_slot *slots;
  uint32_t capacity; /* a power of two, at most half full */
  uint32_t count;
};

enum { SCOPE_SLOTS_FIRST = 64 };

static uint64_t hash(const char *name) {
  /* FNV-1a with a last mix: names differ in their last characters. */
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (; *name != '\0'; name++) {
    h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
  }
  return h ^ h >> 29;
}

static struct scope_slot *slot_of(const struct scope *scope, const char *name) {
  uint64_t at = hash(name);
  for (;; at++) {
    struct scope_slot *slot = &scope->slots[at & (scope->capacity - 1)];
    if (slot->name == NULL || strcmp(slot->name, name) == 0) {
      return slot;
    }
  }
}

struct scope *scope_create(struct context *context, const struct scope *parent) {
  struct scope *scope = context_take(context, 1, sizeof(*scope));
  scope->parent = parent;
  scope->capacity = SCOPE_SLOTS_FIRST;
  scope->slots = context_take(context, scope->capacity, sizeof(scope->slots[0]));
  return scope;
}

void scope_put(struct context *context, struct scope *scope, const char *name, uint32_t value) {
  if (2 * (scope->count + 1) > scope->capacity) {
    struct scope_slot *old = scope->slots;
    const uint32_t old_capacity = scope->capacity;
    scope->capacity *= 2;
    scope->slots = context_take(context, scope->capacity, sizeof(scope->slots[0]));
    for (uint32_t i = 0; i < old_capacity; i++) {
      if (old[i].name != NULL) {
        *slot_of(scope, old[i].name) = old[i];
      }
    }
  }
  struct scope_slot *slot = slot_of(scope, name);
  if (slot->name != NULL) {
    context_fail(context, ERR_MALFORMED, "tensor '%s' is made twice", name);
  }
  *slot = (struct scope_slot){.name = name, .value = value};
  scope->count++;
}

bool scope_get(const struct scope *scope, const char *name, uint32_t *ret_value) {
  for (; scope != NULL; scope = scope->parent) {
    const struct scope_slot *slot = slot_of(scope, name);
    if (slot->name != NULL) {
      *ret_value = slot->value;
      return true;
    }
  }
  return false;
}
