#include "client/pacing.h"

void pacing_on_turn(struct pacing *pacing, struct instant now, uint32_t count) {
  const int64_t window_ns = instant_since(now, pacing->window_begin).ns;
  pacing->window_count += count;
  pacing->last_turn = now;
  if (window_ns >= PACING_WINDOW_MS * NS_PER_MS) {
    pacing->rate_per_s = (int64_t)((double)pacing->window_count * 1e9 / (double)window_ns);
    pacing->window_begin = now;
    pacing->window_count = 0;
  }
}

struct instant pacing_next_turn(const struct pacing *pacing) {
  int64_t rate_per_s = pacing->rate_per_s;
  if (rate_per_s <= PACING_ALONE_PER_S) {
    return pacing->last_turn;
  }
  if (rate_per_s > PACING_FULL_PER_S) {
    rate_per_s = PACING_FULL_PER_S;
  }
  return instant_add(pacing->last_turn,
                     duration_ns((rate_per_s - PACING_ALONE_PER_S) * PACING_PAUSE_MAX_US *
                                 NS_PER_US / (PACING_FULL_PER_S - PACING_ALONE_PER_S)));
}
