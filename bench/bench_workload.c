/* What a request costs the client to make: nanoseconds each, and the first look at a day.
 *
 *   cc -std=c17 -O2 -D_GNU_SOURCE -Isrc bench/bench_workload.c src/workload/[a-z]*.c \
 *     src/base/[a-z]*.c -lm -o bench_workload && ./bench_workload
 *
 * Budget: 300 ns a request with the full synthetic day, 46,000 functions on 4,026 models. The same
 * loop with one Poisson source stands beside it: what the drawing alone costs on this machine.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "workload/synthetic_day.h"
#include "workload/workload.h"

enum { BATCH = 256, REQUESTS = 10 * 1000 * 1000 };

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *take_memory(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  void *memory = aligned_alloc(64, rounded);
  CHECK(memory != NULL);
  return memset(memory, 0, rounded);
}

/* As the client does: asks each millisecond for what is due. */
static void bench(const char *name, const char *const *arguments, uint32_t count,
                  const struct trace *trace) {
  struct workload_fault fault;
  const struct workload_kind *kind = workload_find(name, &fault);
  CHECK(kind != NULL);
  struct workload_config config;
  CHECK_EQ(workload_parse(kind, arguments, count, &config, &fault), ERR_OK);
  config.trace = trace;
  const size_t bytes = workload_bytes(&config);
  const double before_init = seconds_now();
  void *memory = take_memory(bytes);
  struct workload *workload = workload_init(memory, &config);
  const double begin = seconds_now();

  struct workload_request requests[BATCH];
  struct instant now = INSTANT_ZERO;
  uint64_t total = 0;
  uint32_t most = 0;
  while (total < REQUESTS) {
    now = instant_add(now, duration_ms(1));
    uint32_t due = 0;
    uint32_t got = 0;
    do {
      got = workload_next_requests(workload, now, requests, BATCH);
      due += got;
    } while (got == BATCH);
    total += due;
    most = due > most ? due : most;
  }
  const double spent = seconds_now() - begin;
  printf("%s", name);
  for (uint32_t i = 0; i < count; i++) {
    printf(" %s", arguments[i]);
  }
  printf(": %.0f ns a request; %.0f requests/s over %.0f s, at most %" PRIu32
         " in a millisecond; %.1f MB, init %.0f ms\n",
         spent * 1e9 / (double)total, (double)total * 1e9 / (double)now.ns, (double)now.ns / 1e9,
         most, (double)bytes / 1e6, (begin - before_init) * 1e3);
  free(memory);
}

int main(void) {
  const struct synthetic_day_config day = synthetic_day_default(1);
  const double before = seconds_now();
  const size_t bytes = synthetic_day_bytes(&day);
  void *memory = take_memory(bytes);
  const struct trace *trace = synthetic_day_init(memory, &day);
  printf("synthetic day: %" PRIu32 " functions, %" PRIu64 " calls, %.1f MB, made in %.2f s\n",
         trace->function_count, trace->calls_count, (double)bytes / 1e6, seconds_now() - before);
  static const char *const FULL[] = {"8", "1", "1.0", "4"};
  bench("azure", FULL, 4, trace);
  static const char *const RANDOMISED[] = {"8", "1", "1.0", "4", "60", "1", "true"};
  bench("azure", RANDOMISED, 7, trace);
  static const char *const LIGHT[] = {"1", "1", "0.1", "4"};
  bench("azure", LIGHT, 4, trace);
  static const char *const ONE[] = {"1", "10000"};
  bench("poisson-open-loop", ONE, 2, NULL);
  static const char *const MANY[] = {"4000", "10000"};
  bench("poisson-open-loop", MANY, 2, NULL);
  free(memory);
  return 0;
}
