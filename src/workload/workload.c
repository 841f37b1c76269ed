#include "workload/workload.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/prefetch.h"
#include "base/tournament.h"
#include "workload/kinds.h"
#include "workload/plan.h"

struct workload {
  struct workload_config config;
  struct workload_model *models;
  struct source *sources;
  struct plan_client *clients;
  struct tournament arrivals; /* every source whose next time is known, by that time */
  struct source_environment environment;
  struct ladder rate;
  struct ladder slo;
  struct instant end; /* no request at or after it */
  struct instant now;
  uint32_t model_count;
  uint32_t source_count;
  uint32_t waiting_count; /* closed sources with a request outstanding */
};

/* The parts of a workload in memory, in one order for counting and for real. */
struct layout {
  struct workload *self;
  struct plan plan;
};

static void workload_count(const struct workload_config *config, struct plan *plan) {
  CHECK(config->kind != NULL);
  CHECK(!config->kind->needs_trace || config->trace != NULL);
  *plan = (struct plan){.config = config};
  config->kind->plan(config, plan);
  CHECK_GT(plan->model_count, 0);
  CHECK_GT(plan->source_count, 0);
}

static void workload_carve(struct arena *arena, const struct plan *counted,
                           struct layout *ret_layout) {
  struct workload *self = arena_take(arena, 1, sizeof(*self));
  struct ladder rate = {.values = NULL};
  struct ladder slo = {.values = NULL};
  if (counted->has_rate) {
    ladder_init(&rate, arena, &counted->rate);
  }
  if (counted->has_slo) {
    ladder_init(&slo, arena, &counted->slo);
  }
  struct tournament arrivals;
  tournament_init(&arrivals, arena, counted->source_count);
  *ret_layout = (struct layout){.self = self};
  struct plan *plan = &ret_layout->plan;
  plan->config = counted->config;
  plan->models = arena_take(arena, counted->model_count, sizeof(struct workload_model));
  plan->sources = arena_take(arena, counted->source_count, sizeof(struct source));
  plan->clients = arena_take(arena, counted->client_count, sizeof(struct plan_client));
  plan->instances = arena_take(arena, counted->instance_count, sizeof(uint32_t));
  plan->ranks = arena_take(arena, counted->function_count, sizeof(uint64_t));
  if (self != NULL) {
    self->rate = rate;
    self->slo = slo;
    self->arrivals = arrivals;
  }
}

size_t workload_bytes(const struct workload_config *config) {
  struct plan counted;
  workload_count(config, &counted);
  struct arena arena;
  arena_init_counting(&arena);
  struct layout layout;
  workload_carve(&arena, &counted, &layout);
  return arena.used_bytes;
}

/* Let `source` ask at `at`, unless the workload is over by then. */
static void workload_schedule(struct workload *self, const struct source *source,
                              struct instant at) {
  tournament_set(&self->arrivals, (uint32_t)(source - self->sources),
                 instant_before(at, self->end) ? at.ns : INT64_MAX);
}

struct workload *workload_init(void *memory, const struct workload_config *config) {
  struct plan counted;
  workload_count(config, &counted);
  struct arena arena;
  arena_init(&arena, memory, workload_bytes(config));
  struct layout layout;
  workload_carve(&arena, &counted, &layout);
  struct workload *self = layout.self;
  struct plan *plan = &layout.plan;
  config->kind->plan(config, plan);
  CHECK_EQ(plan->source_count, counted.source_count);
  CHECK_EQ(plan->model_count, counted.model_count);

  self->config = *config;
  self->models = plan->models;
  self->model_count = plan->model_count;
  self->sources = plan->sources;
  self->source_count = plan->source_count;
  self->clients = plan->clients;
  self->environment = (struct source_environment){.trace = config->trace,
                                                  .interval = plan->interval,
                                                  .trace_scale = plan->trace_scale,
                                                  .rate = plan->has_rate ? &self->rate : NULL};
  self->end = INSTANT_NEVER;
  if (plan->has_rate) {
    self->end = instant_min(self->end, ladder_end(&self->rate));
  }
  if (plan->has_slo) {
    self->end = instant_min(self->end, ladder_end(&self->slo));
  }
  for (uint32_t i = 0; i < self->source_count; i++) {
    struct source *source = &self->sources[i];
    workload_schedule(self, source,
                      source->type == SOURCE_CLOSED ? INSTANT_ZERO
                                                    : source_first(source, &self->environment));
  }
  return self;
}

const struct workload_model *workload_models(const struct workload *self, uint32_t *ret_count) {
  *ret_count = self->model_count;
  return self->models;
}

static float workload_slo_factor(const struct workload *self, const struct source *source,
                                 struct instant at) {
  if (!source->has_slo_ladder) {
    return source->slo_factor;
  }
  const uint32_t step = ladder_step_at(&self->slo, at);
  CHECK_LT(step, self->slo.step_count);
  return (float)self->slo.values[step];
}

static struct workload_request workload_request_of(const struct workload *self,
                                                   const struct source *source, struct instant at) {
  return (struct workload_request){.at = at,
                                   .user_id = source->user_id,
                                   .model_index = source->model_first,
                                   .slo_factor = workload_slo_factor(self, source, at),
                                   .tag = (uint32_t)(source - self->sources)};
}

static struct workload_request workload_take_open(struct workload *self, struct source *source,
                                                  struct instant at) {
  struct workload_request request = workload_request_of(self, source, at);
  const uint32_t model = source_pick_model(source, at);
  request.model_index += model;
  request.user_id += model;
  workload_schedule(self, source, source_next(source, &self->environment, at));
  return request;
}

/* False if the client has sent all it was to send. */
static bool workload_take_closed(struct workload *self, struct source *source, struct instant at,
                                 struct workload_request *ret_request) {
  workload_schedule(self, source, INSTANT_NEVER);
  struct plan_client *client = &self->clients[source->client];
  if (client->limit != 0 && client->sent_count == client->limit) {
    return false;
  }
  *ret_request = workload_request_of(self, source, at);
  ret_request->model_index +=
      (uint32_t)(((uint64_t)source->user_id + client->sent_count) % source->model_count);
  client->sent_count++;
  source->is_waiting = true;
  self->waiting_count++;
  return true;
}

uint32_t workload_next_requests(struct workload *self, struct instant now,
                                struct workload_request *ret_requests, uint32_t capacity) {
  CHECK_GE(now.ns, self->now.ns);
  self->now = now;
  uint32_t count = 0;
  while (count < capacity) {
    const struct instant at = {tournament_first_key(&self->arrivals)};
    if (instant_after(at, now) || at.ns == INT64_MAX) {
      break;
    }
    struct source *source = &self->sources[tournament_first(&self->arrivals)];
    if (source->type != SOURCE_CLOSED) {
      ret_requests[count++] = workload_take_open(self, source, at);
    } else if (workload_take_closed(self, source, at, &ret_requests[count])) {
      count++;
    }
  }
  /* The next one, of thousands, was last seen long ago. */
  const uint32_t next = tournament_first(&self->arrivals);
  prefetch(&self->sources[next], PREFETCH_LINE_BYTES);
  tournament_expect(&self->arrivals, next);
  return count;
}

struct instant workload_wakeup(const struct workload *self) {
  return (struct instant){tournament_first_key(&self->arrivals)};
}

void workload_on_answered(struct workload *self, struct instant now, uint32_t tag,
                          bool is_success) {
  /* An open loop has none that waits: its sources are not looked at. */
  if (self->waiting_count == 0 || tag >= self->source_count || !self->sources[tag].is_waiting) {
    return;
  }
  struct source *source = &self->sources[tag];
  source->is_waiting = false;
  self->waiting_count--;
  const struct plan_client *client = &self->clients[source->client];
  if (client->limit != 0 && client->sent_count == client->limit) {
    return;
  }
  const struct duration pause = duration_ms(is_success ? 0 : WORKLOAD_RETRY_PAUSE_MS);
  workload_schedule(self, source, instant_add(now, pause));
}

bool workload_is_done(const struct workload *self) {
  return tournament_first_key(&self->arrivals) == INT64_MAX && self->waiting_count == 0;
}

uint32_t workload_waiting_count(const struct workload *self) {
  return self->waiting_count;
}

double workload_offered_rate(const struct workload *self, struct instant at) {
  if (!instant_before(at, self->end)) {
    return 0;
  }
  double rate = 0;
  for (uint32_t i = 0; i < self->source_count; i++) {
    const struct source *source = &self->sources[i];
    if (source->type == SOURCE_OPEN &&
        !(source->is_growing && instant_before(at, source->growth_start))) {
      rate += source->rate;
    }
  }
  if (self->config.trace != NULL && self->environment.trace_scale > 0) {
    rate += (double)self->config.trace->calls_count * self->environment.trace_scale /
            (TRACE_MINUTES * 60.0);
  }
  const struct ladder *ladder = self->environment.rate;
  return ladder == NULL ? rate : rate * ladder->values[ladder_step_at(ladder, at)];
}
