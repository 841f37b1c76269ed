#include "simulator/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"

enum { BAR_CELLS = 30, BAR_PERIOD_MS = 200, LINE_PERIOD_MS = 10000 };

void progress_init(struct progress *progress, bool is_quiet) {
  const struct instant now = os_now();
  *progress = (struct progress){
      .started = now, .last = now, .is_terminal = isatty(STDERR_FILENO) == 1, .is_quiet = is_quiet};
}

struct clock_text {
  char text[40];
};

/* 1:02:03 */
static struct clock_text clock_text(double seconds) {
  struct clock_text text;
  const uint32_t whole = seconds > 0 && seconds < 4e9 ? (uint32_t)seconds : 0;
  snprintf(text.text, sizeof(text.text), "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

static void write_progress(const struct progress *progress, double done, double simulated_s,
                           double total_s, double real_s, uint64_t requests) {
  const double left_s = done > 0 ? real_s / done - real_s : 0;
  char line[256];
  snprintf(line, sizeof(line),
           "%3.0f %%  %s of %s simulated in %s, %s left; %.2f M requests, %.0f k/s", done * 100,
           clock_text(simulated_s).text, clock_text(total_s).text, clock_text(real_s).text,
           clock_text(left_s).text, (double)requests / 1e6, (double)requests / real_s / 1e3);
  if (progress->is_terminal) {
    char bar[BAR_CELLS + 1];
    const int full = (int)(done * BAR_CELLS);
    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(BAR_CELLS - full));
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r[%s] %s\033[K", bar, line);
  } else {
    fprintf(stderr, "simulate: %s\n", line);
  }
}

void progress_update(struct progress *progress, struct duration simulated, struct duration total,
                     uint64_t requests) {
  const struct instant now = os_now();
  const int64_t period_ms = progress->is_terminal ? BAR_PERIOD_MS : LINE_PERIOD_MS;
  if (progress->is_quiet || instant_since(now, progress->last).ns < period_ms * NS_PER_MS) {
    return;
  }
  progress->last = now;
  const double simulated_s = (double)(simulated.ns < total.ns ? simulated.ns : total.ns) / 1e9;
  const double total_s = (double)total.ns / 1e9;
  const double done = simulated_s > 0 ? simulated_s / total_s : 0;
  write_progress(progress, done, simulated_s > 0 ? simulated_s : 0, total_s,
                 (double)instant_since(now, progress->started).ns / 1e9, requests);
}

struct duration progress_finish(struct progress *progress) {
  if (progress->is_terminal && !progress->is_quiet) {
    fprintf(stderr, "\r\033[K");
  }
  return instant_since(os_now(), progress->started);
}
