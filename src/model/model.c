#include "model/model.h"

#include <string.h>

uint32_t model_pages_of(uint64_t weights_bytes) {
  const uint64_t pages = weights_bytes / MODEL_PAGE_BYTES + (weights_bytes % MODEL_PAGE_BYTES != 0);
  return pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
}

bool model_spec_is_valid(const struct model_spec *spec) {
  /* One hour: longer than any action, short enough that sums of thousands can't overflow. */
  const int64_t longest_ns = 3600 * NS_PER_S;
  if (memchr(spec->name, '\0', sizeof(spec->name)) == NULL || spec->clock_mhz == 0 ||
      spec->clock_mhz > MODEL_CLOCK_MAX_MHZ) {
    return false;
  }
  if (spec->batch_kinds == 0 || spec->batch_kinds > MODEL_BATCH_KINDS ||
      spec->batch_sizes[0] != 1 || spec->weights_pages != model_pages_of(spec->weights_bytes)) {
    return false;
  }
  /* Whatever is resident holds a page, so pages bound the number of residents. */
  if (spec->weights_bytes == 0 || spec->load.ns <= 0 || spec->load.ns > longest_ns) {
    return false;
  }
  for (uint32_t i = 0; i < spec->batch_kinds; i++) {
    if (spec->execute[i].ns <= 0 || spec->execute[i].ns > longest_ns ||
        spec->batch_sizes[i] > MODEL_BATCH_MAX) {
      return false;
    }
    if (i > 0 && spec->batch_sizes[i] <= spec->batch_sizes[i - 1]) {
      return false;
    }
  }
  return spec->input_bytes <= UINT32_MAX && spec->output_bytes <= UINT32_MAX;
}

uint32_t model_batch_kind(const struct model_spec *spec, uint32_t batch_size) {
  for (uint32_t i = 0; i < spec->batch_kinds; i++) {
    if (spec->batch_sizes[i] == batch_size) {
      return i;
    }
  }
  return MODEL_BATCH_KINDS;
}
