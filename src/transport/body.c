#include "transport/body.h"

#include <stdlib.h>

#include "base/check.h"

enum {
  BODY_BLOCK_BYTES_MIN = 1024,
  BODY_ALIGNMENT_BYTES = 64,
  /* Kept for reuse at most: enough that steady traffic asks the system for nothing, little enough
   * that a burst doesn't stay resident. */
  BODY_KEPT_BYTES_MAX = 64 * 1024 * 1024,
};

/* Class 0 is the smallest block; class 4 d + q + 1 is BODY_BLOCK_BYTES_MIN * 2^d * (5 + q) / 4. */
static size_t body_class_bytes(uint32_t class_index) {
  if (class_index == 0) {
    return BODY_BLOCK_BYTES_MIN;
  }
  const uint32_t doublings = (class_index - 1) / 4;
  const uint32_t quarter = (class_index - 1) % 4;
  return ((size_t)BODY_BLOCK_BYTES_MIN << doublings) / 4 * (5 + quarter);
}

/* The smallest class whose block holds a header and `bytes`. */
static uint32_t body_class_of(uint32_t bytes) {
  const size_t wanted = sizeof(struct body) + bytes;
  uint32_t class_index = 0;
  if (wanted > BODY_BLOCK_BYTES_MIN) {
    const uint32_t doublings = 63 - (uint32_t)__builtin_clzll((wanted - 1) / BODY_BLOCK_BYTES_MIN);
    class_index = 4 * doublings + 1;
  }
  while (body_class_bytes(class_index) < wanted) {
    class_index++;
  }
  CHECK_LT(class_index, BODY_CLASSES);
  return class_index;
}

void body_budget_init(struct body_budget *budget, size_t max_bytes) {
  *budget = (struct body_budget){.max_bytes = max_bytes};
  list_init(&budget->waiting);
}

/* Free kept blocks, largest first, until live and kept ones use at most `allowed_bytes`. */
static void body_budget_trim(struct body_budget *budget, size_t allowed_bytes) {
  for (uint32_t i = BODY_CLASSES; i > 0; i--) {
    struct body **kept = &budget->kept[i - 1];
    while (*kept != NULL && budget->live_bytes + budget->kept_bytes > allowed_bytes) {
      struct body *body = *kept;
      *kept = body->next_kept;
      budget->kept_bytes -= body_class_bytes(i - 1);
      free(body);
    }
  }
}

void body_budget_finish(struct body_budget *budget) {
  if (budget == NULL || budget->waiting.next == NULL) {
    return;
  }
  CHECK_EQ(budget->live_count, 0);
  CHECK(list_is_empty(&budget->waiting));
  body_budget_trim(budget, 0);
  *budget = (struct body_budget){.max_bytes = 0};
}

bool body_budget_can_hold(const struct body_budget *budget, uint32_t bytes) {
  return body_class_bytes(body_class_of(bytes)) <= budget->max_bytes;
}

bool body_budget_has_room(const struct body_budget *budget, uint32_t bytes) {
  return body_class_bytes(body_class_of(bytes)) <= budget->max_bytes - budget->live_bytes;
}

struct body *body_create(struct body_budget *budget, uint32_t bytes) {
  if (!body_budget_has_room(budget, bytes)) {
    return NULL;
  }
  const uint32_t class_index = body_class_of(bytes);
  const size_t block_bytes = body_class_bytes(class_index);
  struct body *body = budget->kept[class_index];
  if (body != NULL) {
    budget->kept[class_index] = body->next_kept;
    budget->kept_bytes -= block_bytes;
  } else {
    body_budget_trim(budget, budget->max_bytes - block_bytes);
    body = aligned_alloc(BODY_ALIGNMENT_BYTES, block_bytes);
    if (body == NULL) {
      return NULL;
    }
  }
  budget->live_bytes += block_bytes;
  budget->live_count++;
  body->budget = budget;
  body->next_kept = NULL;
  body->refs = 1;
  body->bytes = bytes;
  body->class_index = class_index;
  return body;
}

struct body *body_retain(struct body *body) {
  CHECK_GT(body->refs, 0);
  body->refs++;
  return body;
}

void body_release(struct body *body) {
  if (body == NULL) {
    return;
  }
  CHECK_GT(body->refs, 0);
  body->refs--;
  if (body->refs > 0) {
    return;
  }
  struct body_budget *budget = body->budget;
  const size_t block_bytes = body_class_bytes(body->class_index);
  budget->live_bytes -= block_bytes;
  budget->live_count--;
  if (budget->kept_bytes + block_bytes > BODY_KEPT_BYTES_MAX) {
    free(body);
    return;
  }
  budget->kept_bytes += block_bytes;
  body->next_kept = budget->kept[body->class_index];
  budget->kept[body->class_index] = body;
}
