#include "model/estimate.h"

#include "base/check.h"

/* The prior is marked by count 0: it fills slot 0, and the first measurement overwrites it. */
void estimate_init(struct estimate *estimate, struct estimate_window *window, struct duration prior,
                   uint32_t clock_mhz) {
  CHECK_GT(clock_mhz, 0);
  const int64_t work = (prior.ns < 1 ? 1 : prior.ns) * (int64_t)clock_mhz;
  *window = (struct estimate_window){.work = {work}};
  *estimate = (struct estimate){.largest = work};
}

void estimate_on_measured(struct estimate *estimate, struct estimate_window *window,
                          struct duration measured, uint32_t clock_mhz) {
  CHECK_GT(clock_mhz, 0);
  window->work[window->next] = (measured.ns < 1 ? 1 : measured.ns) * (int64_t)clock_mhz;
  window->next = (uint8_t)((window->next + 1) % ESTIMATE_WINDOW);
  if (window->count < ESTIMATE_WINDOW) {
    window->count++;
  }
  estimate->largest = window->work[0];
  for (int i = 1; i < window->count; i++) {
    if (window->work[i] > estimate->largest) {
      estimate->largest = window->work[i];
    }
  }
}

struct duration estimate_at(const struct estimate *estimate, uint32_t clock_mhz) {
  return (struct duration){(estimate->largest + clock_mhz - 1) / clock_mhz};
}
