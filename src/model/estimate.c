#include "model/estimate.h"

#include "base/check.h"

static int64_t largest(const int64_t *work, int count) {
  int64_t most = work[0];
  for (int i = 1; i < count; i++) {
    most = work[i] > most ? work[i] : most;
  }
  return most;
}

/* By insertion: they are few. */
static int64_t median(const int64_t *work, int count) {
  int64_t sorted[ESTIMATE_WINDOW];
  for (int i = 0; i < count; i++) {
    int at = i;
    for (; at > 0 && sorted[at - 1] > work[i]; at--) {
      sorted[at] = sorted[at - 1];
    }
    sorted[at] = work[i];
  }
  return sorted[count / 2];
}

/* The prior is marked by count 0: it fills slot 0, and the first measurement overwrites it. */
void estimate_init(struct estimate *estimate, struct estimate_window *window, struct duration prior,
                   uint32_t clock_mhz) {
  CHECK_GT(clock_mhz, 0);
  const int64_t work = (prior.ns < 1 ? 1 : prior.ns) * (int64_t)clock_mhz;
  *window = (struct estimate_window){.work = {work}};
  *estimate = (struct estimate){.work = work};
}

void estimate_on_measured(struct estimate *estimate, struct estimate_window *window,
                          enum estimate_rank rank, struct duration measured, uint32_t clock_mhz) {
  CHECK_GT(clock_mhz, 0);
  window->work[window->next] = (measured.ns < 1 ? 1 : measured.ns) * (int64_t)clock_mhz;
  window->next = (uint8_t)((window->next + 1) % ESTIMATE_WINDOW);
  if (window->count < ESTIMATE_WINDOW) {
    window->count++;
  }
  estimate->work = rank == ESTIMATE_MEDIAN ? median(window->work, window->count)
                                           : largest(window->work, window->count);
}

struct duration estimate_at(const struct estimate *estimate, uint32_t clock_mhz) {
  return (struct duration){(estimate->work + clock_mhz - 1) / clock_mhz};
}
