#include "simulator/busy_window.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "os/memory.h"
#include "simulator/memory.h"

enum {
  AT_ONCE = 256,
  /* A stretch ends up to one length after the next one has begun: copies of the workload as it was
   * at the last two beginnings, and at that of the busiest so far. */
  COPIES = 3,
};

struct load {
  uint64_t requests;
  int64_t work_ns;
};

struct search {
  const struct busy_window_config *config;
  struct busy_window *window;
  void *copies[COPIES];
  uint32_t best; /* which of them is the busiest's */
  struct load best_load;
  int64_t best_number;
};

/* All requests due before `end`, added up. */
static struct load take_until(struct workload *workload, const int64_t *best_ns,
                              struct instant end) {
  struct workload_request requests[AT_ONCE];
  struct load load = {.requests = 0};
  uint32_t count = 0;
  do {
    count = workload_next_requests(workload, (struct instant){end.ns - 1}, requests, AT_ONCE);
    load.requests += count;
    for (uint32_t i = 0; i < count && best_ns != NULL; i++) {
      load.work_ns += best_ns[requests[i].model_index];
    }
  } while (count == AT_ONCE);
  return load;
}

static void note(struct search *search, int64_t number, uint32_t copy, const struct load *load) {
  if (load->work_ns > search->best_load.work_ns) {
    search->best_load = *load;
    search->best_number = number;
    search->best = copy;
  }
}

/* A copy that is neither the busiest's nor `taken`. */
static uint32_t free_copy(const struct search *search, uint32_t taken) {
  uint32_t copy = 0;
  while (copy == search->best || copy == taken) {
    copy++;
  }
  return copy;
}

/* Stretch `number` lasts from leadin after number x length for one length; until its lead-in ends,
 * requests belong to the one before. */
static void walk(struct search *search) {
  const struct busy_window_config *config = search->config;
  const struct busy_window *window = search->window;
  const int64_t whole = (config->horizon.ns - config->leadin.ns) / config->length.ns;
  struct load before = {.requests = 0};
  uint32_t copy_before = COPIES;
  for (int64_t number = 0; number < whole; number++) {
    const struct instant begin = {number * config->length.ns};
    const struct instant counted = instant_add(begin, config->leadin);
    const struct instant next = instant_add(begin, config->length);
    const uint32_t copy = free_copy(search, copy_before);
    memcpy(search->copies[copy], window->memory, window->memory_bytes);
    const struct load first = take_until(window->workload, config->best_ns, counted);
    if (number > 0) {
      before.requests += first.requests;
      before.work_ns += first.work_ns;
      note(search, number - 1, copy_before, &before);
    }
    before = take_until(window->workload, config->best_ns, next);
    copy_before = copy;
  }
  const struct instant end = {whole * config->length.ns + config->leadin.ns};
  const struct load last = take_until(window->workload, config->best_ns, end);
  before.requests += last.requests;
  before.work_ns += last.work_ns;
  note(search, whole - 1, copy_before, &before);
}

static enum err find(struct search *search) {
  const struct busy_window_config *config = search->config;
  struct busy_window *window = search->window;
  window->memory_bytes = workload_bytes(config->workload);
  window->memory = simulator_memory_take(window->memory_bytes);
  for (int i = 0; i < COPIES; i++) {
    search->copies[i] = malloc(window->memory_bytes);
    if (search->copies[i] == NULL) {
      return ERR_NO_MEMORY;
    }
  }
  if (window->memory == NULL) {
    return ERR_NO_MEMORY;
  }
  window->workload = workload_init(window->memory, config->workload);
  walk(search);
  if (workload_waiting_count(window->workload) > 0) {
    return ERR_UNSUPPORTED;
  }
  if (search->best_load.requests == 0) {
    return ERR_NOT_FOUND;
  }
  window->begin = (struct instant){search->best_number * config->length.ns};
  window->requests = search->best_load.requests;
  window->gpus = (double)search->best_load.work_ns / (double)config->length.ns;
  window->begun = search->copies[search->best];
  search->copies[search->best] = NULL;
  busy_window_rewind(window);
  return ERR_OK;
}

enum err busy_window_find(const struct busy_window_config *config, struct busy_window *ret_window) {
  CHECK_LE(config->leadin.ns, config->length.ns);
  CHECK_LE(config->leadin.ns + config->length.ns, config->horizon.ns);
  struct search search = {.config = config, .window = ret_window, .best = COPIES};
  *ret_window = (struct busy_window){.memory_bytes = 0};
  const enum err error = find(&search);
  for (int i = 0; i < COPIES; i++) {
    free(search.copies[i]);
  }
  if (error != ERR_OK) {
    busy_window_finish(ret_window);
  }
  return error;
}

void busy_window_rewind(const struct busy_window *window) {
  memcpy(window->memory, window->begun, window->memory_bytes);
}

uint64_t busy_window_count(const struct busy_window *window, struct duration leadin,
                           struct duration length) {
  const struct instant counted = instant_add(window->begin, leadin);
  busy_window_rewind(window);
  take_until(window->workload, NULL, counted);
  return take_until(window->workload, NULL, instant_add(counted, length)).requests;
}

void busy_window_finish(struct busy_window *window) {
  if (window == NULL) {
    return;
  }
  os_memory_give(window->memory, window->memory_bytes);
  free(window->begun);
  *window = (struct busy_window){.memory_bytes = 0};
}
