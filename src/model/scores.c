#include "model/scores.h"

#include <math.h>
#include <string.h>

static void insert(struct scores *scores, uint64_t class_index, float value) {
  uint32_t at = scores->count;
  while (at > 0 && scores->top[at - 1].value < value) {
    at--;
  }
  if (at == SCORES_TOP) {
    return;
  }
  scores->count += scores->count < SCORES_TOP;
  memmove(&scores->top[at + 1], &scores->top[at],
          (scores->count - 1 - at) * sizeof(scores->top[0]));
  scores->top[at].class_index = class_index;
  scores->top[at].value = value;
}

void scores_read(const void *answer, uint64_t bytes, struct scores *ret_scores) {
  struct scores scores = {.count = 0};
  const uint64_t classes = bytes / sizeof(float);
  if (bytes % sizeof(float) == 0 && classes >= SCORES_CLASSES_MIN) {
    scores.classes = classes;
  }
  for (uint64_t i = 0; i < scores.classes; i++) {
    float value = 0;
    memcpy(&value, (const unsigned char *)answer + i * sizeof(value), sizeof(value));
    if (isnan(value)) {
      scores.nans_count++;
    } else {
      insert(&scores, i, value);
    }
  }
  *ret_scores = scores;
}
