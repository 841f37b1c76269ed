#include "model/estimate.h"

#include "base/check.h"

/* The prior is marked by count 0: it fills slot 0, and the first measurement overwrites it. */
void estimate_init(struct estimate *estimate, struct duration prior, uint32_t clock_mhz) {
  CHECK_GT(clock_mhz, 0);
  const int64_t work = (prior.ns < 1 ? 1 : prior.ns) * (int64_t)clock_mhz;
  *estimate = (struct estimate){.work = {work}, .largest = work};
}

void estimate_on_measured(struct estimate *estimate, struct duration measured, uint32_t clock_mhz) {
  CHECK_GT(clock_mhz, 0);
  estimate->work[estimate->next] = (measured.ns < 1 ? 1 : measured.ns) * (int64_t)clock_mhz;
  estimate->next = (uint8_t)((estimate->next + 1) % ESTIMATE_WINDOW);
  if (estimate->count < ESTIMATE_WINDOW) {
    estimate->count++;
  }
  estimate->largest = estimate->work[0];
  for (int i = 1; i < estimate->count; i++) {
    if (estimate->work[i] > estimate->largest) {
      estimate->largest = estimate->work[i];
    }
  }
}

struct duration estimate_at(const struct estimate *estimate, uint32_t clock_mhz) {
  return (struct duration){(estimate->largest + clock_mhz - 1) / clock_mhz};
}
