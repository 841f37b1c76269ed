#include "simulator/simulation.h"

#include <stdlib.h>

#include "base/check.h"
#include "os/memory.h"
#include "scheduler/policy.h"
#include "simulator/memory.h"

/* More than these and what is known of them is no longer in a second-level cache. */
enum { WORKERS_FEW = 16 };

enum {
  CLOCK_LOWEST_PERCENT = 70,
  /* Executor records a GPU: above what the scheduler has under way (SCHEDULER_ACTIONS_PER_GPU). */
  ACTIONS_PER_GPU = 128,
  /* Answers outstanding at the end of a workload: an SLO and a network are far below this. */
  DRAIN_S = 60,
  /* Where a policy lets requests wait without end, for each that may be under way: a LOAD and a run
   * of the largest model, one after the other. */
  DRAIN_MS_PER_REQUEST = 200,
  /* Requests under way that a client keeps in mind where connections can fail: above what the
   * library's calls_max allows would be lost at once. */
  CALLS_MAX = 1 << 16,
};

/* Streams of random numbers: one seed for each purpose, made of the run's. */
enum { SEED_NETWORK = 1, SEED_CLOCKS, SEED_CLOCK_CHANGES, SEED_WORKERS };

struct simulation {
  struct simulation_config config;
  struct events events;
  void *events_memory;
  size_t events_memory_bytes;
  struct network network;
  struct client_node client;
  struct controller_node controller;
  struct worker_node *workers;
  size_t workers_bytes;
  unsigned char *workers_memory;
  size_t workers_memory_bytes;
  struct scheduler_gpu *scheduler_gpus;     /* of one worker */
  struct emulated_gpu_config *backend_gpus; /* the same */
  struct event clock_change;
  struct prng clock_prng;
  struct instant start;     /* of the workload */
  struct instant drained;   /* all is answered by then */
  struct model_spec *specs; /* of the workload's packages */
  uint32_t models_count;
};

static uint64_t seed_of(const struct simulation_config *config, uint64_t purpose) {
  return prng_mix(config->seed ^ prng_mix(purpose));
}

/* ---- GPU clocks ------------------------------------------------------------------------------ */

/* One stream for all GPUs: as many change a second, and each is as likely to be the next. */
static struct instant next_clock_change(struct simulation *simulation, struct instant now) {
  const struct simulation_config *config = &simulation->config;
  const double gpus = (double)config->workers_count * (double)config->gpus_per_worker;
  const double mean_ns = (double)config->clock_change.ns / gpus;
  const double wait_ns = prng_exponential(&simulation->clock_prng) * mean_ns;
  return instant_add(now, duration_ns(1 + (int64_t)wait_ns));
}

static struct instant on_clock_change(void *self, struct instant now) {
  struct simulation *simulation = self;
  const struct simulation_config *config = &simulation->config;
  struct prng *prng = &simulation->clock_prng;
  const uint64_t worker = prng_below(prng, config->workers_count);
  const uint32_t gpu = (uint32_t)prng_below(prng, config->gpus_per_worker);
  const uint32_t percent =
      CLOCK_LOWEST_PERCENT + (uint32_t)prng_below(prng, 101 - CLOCK_LOWEST_PERCENT);
  const uint32_t clock_mhz = simulation->backend_gpus[gpu].clock_mhz * percent / 100;
  worker_node_set_clock(&simulation->workers[worker], gpu, clock_mhz == 0 ? 1 : clock_mhz);
  return next_clock_change(simulation, now);
}

/* ---- building -------------------------------------------------------------------------------- */

static struct local_clock draw_clock(const struct simulation_config *config, struct prng *prng) {
  const int64_t skew_ns = config->skew.ns;
  const int64_t drift_ppb = config->drift_ppb;
  const struct local_clock clock = {
      .skew_ns = (int64_t)prng_below(prng, (uint64_t)skew_ns * 2 + 1) - skew_ns,
      .drift_ppb = (int64_t)prng_below(prng, (uint64_t)drift_ppb * 2 + 1) - drift_ppb};
  return clock;
}

static struct emulated_config backend_of(const struct simulation *simulation, uint32_t worker) {
  const struct simulation_config *config = &simulation->config;
  uint32_t packages_count = 0;
  (void)workload_models(simulation->client.workload, &packages_count);
  struct emulated_config backend;
  emulated_config_defaults(&backend);
  backend.gpus = simulation->backend_gpus;
  backend.gpus_count = config->gpus_per_worker;
  backend.profile = config->profile;
  backend.profile_count = config->profile_count;
  backend.models_max = simulation->models_count;
  backend.loads_max = packages_count;
  backend.seed = seed_of(config, SEED_WORKERS + (uint64_t)worker);
  backend.execute_jitter_ppm = config->execute_jitter_ppm;
  backend.transfer_jitter_ppm = config->transfer_jitter_ppm;
  return backend;
}

static enum err create_workers(struct simulation *simulation, struct error_text *ret_error) {
  const struct simulation_config *config = &simulation->config;
  struct emulated_config backend = backend_of(simulation, 0);
  struct worker_node_config worker = {.backend = &backend,
                                      .actions_max = config->gpus_per_worker * ACTIONS_PER_GPU,
                                      .observer = config->observer,
                                      .can_fail = config->can_fail,
                                      .is_one_of_many = config->workers_count > WORKERS_FEW};
  worker.packages = workload_models(simulation->client.workload, &worker.packages_count);
  const size_t bytes = (worker_node_bytes(&worker) + 63) / 64 * 64;
  /* All in one block, so that it lies in few and large pages. */
  simulation->workers_memory_bytes = bytes * config->workers_count;
  simulation->workers_memory = simulator_memory_take(simulation->workers_memory_bytes);
  if (simulation->workers_memory == NULL) {
    error_text_set(ret_error, "out of memory for %u workers", config->workers_count);
    return ERR_NO_MEMORY;
  }
  struct prng prng;
  prng_init(&prng, seed_of(config, SEED_CLOCKS), 0);
  for (uint32_t i = 0; i < config->workers_count; i++) {
    backend = backend_of(simulation, i);
    worker.clock = draw_clock(config, &prng);
    worker.worker_id = i;
    worker_node_init(&simulation->workers[i], simulation->workers_memory + bytes * i,
                     &simulation->events, &worker);
  }
  return ERR_OK;
}

static void connect(struct simulation *simulation) {
  struct events *events = &simulation->events;
  struct network *network = &simulation->network;
  struct client_node *client = &simulation->client;
  struct controller_node *controller = &simulation->controller;
  channel_init(&client->to_controller, events, network, &client->port, &controller->port,
               sizeof(struct request_message), controller_node_on_request, controller);
  client->to_controller.expect = controller_node_expect_request;
  channel_init(&controller->to_client, events, network, &controller->port, &client->port,
               sizeof(struct answer_message), client_node_on_answer, client);
  for (uint32_t i = 0; i < simulation->config.workers_count; i++) {
    struct worker_node *worker = &simulation->workers[i];
    struct controller_peer *peer = &controller->peers[i];
    peer->state = &worker->state;
    channel_init(&peer->to_worker, events, network, &controller->port, &worker->port,
                 sizeof(struct order_message), worker_node_on_order, worker);
    channel_init(&worker->to_controller, events, network, &worker->port, &controller->port,
                 sizeof(struct report_message), controller_node_on_report, peer);
    worker->to_controller.expect = controller_node_expect_report;
  }
}

static enum err load_models(struct simulation *simulation, struct error_text *ret_error) {
  uint32_t count = 0;
  const struct workload_model *models = workload_models(simulation->client.workload, &count);
  const struct instant now = simulation->events.now;
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t j = 0; j < simulation->config.workers_count; j++) {
      if (worker_node_load_package(&simulation->workers[j], now, i, &simulation->specs[i]) !=
          ACTION_SUCCESS) {
        error_text_set(ret_error, "the profile has no row '%.60s', which the workload asks for",
                       models[i].name);
        return ERR_NOT_FOUND;
      }
    }
    controller_node_add_package(&simulation->controller, now, i);
  }
  return ERR_OK;
}

static uint32_t count_models(const struct workload *workload) {
  uint32_t kinds = 0;
  uint32_t count = 0;
  const struct workload_model *models = workload_models(workload, &kinds);
  for (uint32_t i = 0; i < kinds; i++) {
    count += models[i].copies;
  }
  return count;
}

static enum err derive_limits(struct simulation *simulation, struct error_text *ret_error) {
  struct simulation_config *config = &simulation->config;
  struct scheduler_config *scheduler = &config->scheduler;
  const uint64_t gpus = (uint64_t)config->workers_count * config->gpus_per_worker;
  const uint64_t by_pages = gpus * config->pages;
  /* A few more than fit: evictions that are not confirmed yet. */
  const uint64_t by_models = gpus * simulation->models_count;
  const uint64_t residencies = by_pages < by_models ? by_pages : by_models;
  scheduler->limits.models = simulation->models_count;
  scheduler->limits.workers = config->workers_count;
  scheduler->limits.gpus = (uint32_t)gpus;
  scheduler->limits.residencies = residencies > (1U << 24) ? 1U << 24 : (uint32_t)residencies;
  scheduler->max_gpus = scheduler->max_gpus < gpus ? scheduler->max_gpus : (uint32_t)gpus;
  scheduler->wall_offset_ns =
      (SIMULATION_EPOCH_S - SIMULATION_BEGIN_S - SIMULATION_JOIN_S) * NS_PER_S;
  const char *fault = scheduler_config_fault(scheduler);
  if (fault != NULL) {
    error_text_set(ret_error, "%s", fault);
    return ERR_RANGE;
  }
  return ERR_OK;
}

static enum err take_arrays(struct simulation *simulation) {
  const struct simulation_config *config = &simulation->config;
  const uint32_t sources = config->workers_count * 4 + 8 + SIMULATION_EVENTS_MORE;
  simulation->events_memory_bytes = events_bytes(sources);
  simulation->events_memory = simulator_memory_take(simulation->events_memory_bytes);
  simulation->workers_bytes = config->workers_count * sizeof(*simulation->workers);
  simulation->workers = simulator_memory_take(simulation->workers_bytes);
  simulation->scheduler_gpus = calloc(config->gpus_per_worker, sizeof(struct scheduler_gpu));
  simulation->backend_gpus = calloc(config->gpus_per_worker, sizeof(struct emulated_gpu_config));
  if (simulation->events_memory == NULL || simulation->workers == NULL ||
      simulation->scheduler_gpus == NULL || simulation->backend_gpus == NULL) {
    return ERR_NO_MEMORY;
  }
  const struct instant begin = {SIMULATION_BEGIN_S * NS_PER_S};
  events_init(&simulation->events, simulation->events_memory, sources, begin);
  const uint32_t clock_mhz = config->profile[0].clock_mhz;
  for (uint32_t i = 0; i < config->gpus_per_worker; i++) {
    simulation->scheduler_gpus[i] =
        (struct scheduler_gpu){.pages = config->pages, .clock_mhz = clock_mhz};
    simulation->backend_gpus[i] =
        (struct emulated_gpu_config){.pages = config->pages,
                                     .io_bytes = EMULATED_IO_BYTES,
                                     .workspace_bytes = EMULATED_WORKSPACE_BYTES,
                                     .clock_mhz = clock_mhz};
  }
  return ERR_OK;
}

/* How long answers may take after the last request. */
static struct duration drain_of(const struct scheduler_config *scheduler) {
  const struct policy *policy = policy_find(scheduler->policy);
  const int64_t requests = policy->keeps_deadlines ? 0 : scheduler->limits.requests;
  return duration_add(duration_s(DRAIN_S), duration_ms(requests * DRAIN_MS_PER_REQUEST));
}

static enum err create_nodes(struct simulation *simulation, const struct telemetry_sink *telemetry,
                             struct error_text *ret_error) {
  const struct simulation_config *config = &simulation->config;
  struct events *events = &simulation->events;
  simulation->start = instant_add(events->now, duration_s(SIMULATION_JOIN_S));
  simulation->drained =
      instant_add(instant_add(simulation->start, config->duration), drain_of(&config->scheduler));
  const struct duration at =
      config->begun == NULL ? DURATION_ZERO : instant_since(config->begun_at, INSTANT_ZERO);
  const struct client_node_config client = {.workload = &config->workload,
                                            .slo_factor = (float)config->slo_factor,
                                            .begun = config->begun,
                                            .start = instant_sub(simulation->start, at),
                                            .stop =
                                                instant_add(simulation->start, config->duration),
                                            .observer = config->observer,
                                            .calls_max = config->can_fail ? CALLS_MAX : 0};
  if (client_node_init(&simulation->client, events, &client) != ERR_OK) {
    return ERR_NO_MEMORY;
  }
  uint32_t packages_count = 0;
  const struct workload_model *packages =
      workload_models(simulation->client.workload, &packages_count);
  simulation->models_count = count_models(simulation->client.workload);
  simulation->specs = calloc(packages_count, sizeof(*simulation->specs));
  if (simulation->specs == NULL) {
    return ERR_NO_MEMORY;
  }
  const enum err error = derive_limits(simulation, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  const struct controller_node_config controller = {.scheduler = &config->scheduler,
                                                    .telemetry = *telemetry,
                                                    .gpus = simulation->scheduler_gpus,
                                                    .gpus_count = config->gpus_per_worker,
                                                    .workers_count = config->workers_count,
                                                    .packages = packages,
                                                    .specs = simulation->specs,
                                                    .packages_count = packages_count,
                                                    .observer = config->observer,
                                                    .generates_inputs = config->generates_inputs};
  if (controller_node_init(&simulation->controller, events, &controller) != ERR_OK) {
    return ERR_NO_MEMORY;
  }
  return create_workers(simulation, ret_error);
}

static enum err build(struct simulation *simulation, const struct telemetry_sink *telemetry,
                      struct error_text *ret_error) {
  const struct simulation_config *config = &simulation->config;
  error_text_set(ret_error, "out of memory");
  if (take_arrays(simulation) != ERR_OK) {
    return ERR_NO_MEMORY;
  }
  simulation->network = (struct network){.latency = config->latency,
                                         .jitter = config->jitter,
                                         .ps_per_byte = config->ps_per_byte,
                                         .seed = seed_of(config, SEED_NETWORK)};
  const enum err error = create_nodes(simulation, telemetry, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  connect(simulation);
  if (config->clock_change.ns > 0) {
    prng_init(&simulation->clock_prng, seed_of(config, SEED_CLOCK_CHANGES), 0);
    event_init(&simulation->clock_change, &simulation->events, on_clock_change, simulation);
    event_set(&simulation->clock_change, next_clock_change(simulation, simulation->start));
  }
  return load_models(simulation, ret_error);
}

enum err simulation_create(const struct simulation_config *config,
                           const struct telemetry_sink *telemetry,
                           struct simulation **ret_simulation, struct error_text *ret_error) {
  CHECK_GT(config->profile_count, 0);
  struct simulation *simulation = calloc(1, sizeof(*simulation));
  if (simulation == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  simulation->config = *config;
  const enum err error = build(simulation, telemetry, ret_error);
  if (error != ERR_OK) {
    simulation_destroy(simulation);
    return error;
  }
  *ret_simulation = simulation;
  return ERR_OK;
}

void simulation_destroy(struct simulation *simulation) {
  if (simulation == NULL) {
    return;
  }
  for (uint32_t i = 0; simulation->workers != NULL && i < simulation->config.workers_count; i++) {
    worker_node_finish(&simulation->workers[i]);
  }
  controller_node_finish(&simulation->controller);
  client_node_finish(&simulation->client);
  os_memory_give(simulation->workers_memory, simulation->workers_memory_bytes);
  os_memory_give(simulation->events_memory, simulation->events_memory_bytes);
  os_memory_give(simulation->workers, simulation->workers_bytes);
  free(simulation->scheduler_gpus);
  free(simulation->backend_gpus);
  free(simulation->specs);
  free(simulation);
}

/* ---- running --------------------------------------------------------------------------------- */

bool simulation_run(struct simulation *simulation, uint64_t events_max) {
  events_run(&simulation->events, events_max);
  /* Longer is a request without its answer: a bug. */
  CHECK(simulation->config.can_fail || simulation->events.now.ns <= simulation->drained.ns);
  return !simulation->events.is_over;
}

struct duration simulation_elapsed(const struct simulation *simulation) {
  return instant_since(simulation->events.now, simulation->start);
}

struct events *simulation_events(struct simulation *simulation) {
  return &simulation->events;
}

struct client_node *simulation_client(struct simulation *simulation) {
  return &simulation->client;
}

struct controller_node *simulation_controller(struct simulation *simulation) {
  return &simulation->controller;
}

struct worker_node *simulation_worker(struct simulation *simulation, uint32_t worker_id) {
  CHECK_LT(worker_id, simulation->config.workers_count);
  return &simulation->workers[worker_id];
}

struct instant simulation_start(const struct simulation *simulation) {
  return simulation->start;
}

const struct model_spec *simulation_model(const struct simulation *simulation, uint32_t model_id) {
  return scheduler_model(simulation->controller.scheduler, model_id);
}

uint32_t simulation_models_count(const struct simulation *simulation) {
  return simulation->models_count;
}

int64_t simulation_best_ns(const struct model_spec *spec,
                           const struct scheduler_config *scheduler) {
  int64_t best_ns = spec->execute[0].ns;
  for (uint32_t i = 1; i < spec->batch_kinds; i++) {
    const int64_t ns = spec->execute[i].ns / spec->batch_sizes[i];
    if (spec->execute[i].ns <= scheduler->max_exec.ns &&
        spec->batch_sizes[i] <= scheduler->max_batch && ns < best_ns) {
      best_ns = ns;
    }
  }
  return best_ns;
}

void simulation_counts(const struct simulation *simulation, struct simulation_counts *ret_counts) {
  *ret_counts =
      (struct simulation_counts){.events = simulation->events.run_count,
                                 .requests_sent = simulation->client.sent_count,
                                 .trace_hash = trace_hash_value(&simulation->controller.hash),
                                 .client_latency = &simulation->client.latency};
  scheduler_counts(simulation->controller.scheduler, &ret_counts->scheduler);
}
