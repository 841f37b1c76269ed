#include "workload/plan.h"

#include "base/check.h"

/* Random streams beyond those of the sources, which are numbered from 0. */
#define PLAN_STREAM_SHUFFLE (UINT64_C(1) << 32)

/* Layout of a rank's key: the calls, inverted so that most come first, then the function. A day of
 * TRACE_COUNT_MAX a minute stays below 2^37 calls. */
#define RANK_FUNCTION_BITS 20
#define RANK_CALLS_MAX ((UINT64_C(1) << 44) - 1)

_Static_assert(TRACE_FUNCTIONS_MAX <= 1 << RANK_FUNCTION_BITS, "a function's index fits its bits");

uint32_t plan_add_model(struct plan *plan, const char *name, uint32_t copies) {
  CHECK_GT(copies, 0);
  const uint32_t first = plan->instance_count;
  if (!plan_is_counting(plan)) {
    plan->models[plan->model_count] =
        (struct workload_model){.name = name, .copies = copies, .first_index = first};
  }
  plan->model_count++;
  plan->instance_count += copies;
  CHECK_LE(plan->instance_count, WORKLOAD_MODELS_MAX);
  return first;
}

struct source *plan_add_source(struct plan *plan, enum source_type type) {
  struct source *source =
      plan_is_counting(plan) ? &plan->spare : &plan->sources[plan->source_count];
  *source = (struct source){.type = type, .model_count = 1};
  prng_init(&source->prng, plan->config->seed, plan->source_count);
  plan->source_count++;
  return source;
}

uint32_t plan_add_client(struct plan *plan, uint32_t limit) {
  if (!plan_is_counting(plan)) {
    plan->clients[plan->client_count] = (struct plan_client){.limit = limit};
  }
  return plan->client_count++;
}

struct source *plan_add_open(struct plan *plan, double rate, uint32_t user, uint32_t model) {
  struct source *source = plan_add_source(plan, SOURCE_OPEN);
  source->rate = rate;
  source->user_id = user;
  source->model_first = model;
  return source;
}

void plan_add_closed(struct plan *plan, uint32_t concurrency, uint32_t user, uint32_t model,
                     float slo_factor) {
  const uint32_t client = plan_add_client(plan, 0);
  for (uint32_t i = 0; i < concurrency; i++) {
    struct source *source = plan_add_source(plan, SOURCE_CLOSED);
    source->client = client;
    source->user_id = user;
    source->model_first = model;
    source->slo_factor = slo_factor;
  }
}

static void plan_shuffle_instances(struct plan *plan) {
  struct prng prng;
  prng_init(&prng, plan->config->seed, PLAN_STREAM_SHUFFLE);
  for (uint32_t i = 0; i < plan->instance_count; i++) {
    const uint32_t other = (uint32_t)prng_below(&prng, i + 1);
    plan->instances[i] = plan->instances[other];
    plan->instances[other] = i;
  }
}

static void keys_sift_down(uint64_t *keys, uint32_t at, uint32_t count) {
  const uint64_t key = keys[at];
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= count) {
      break;
    }
    if (child + 1 < count && keys[child + 1] > keys[child]) {
      child++;
    }
    if (keys[child] <= key) {
      break;
    }
    keys[at] = keys[child];
    at = child;
  }
  keys[at] = key;
}

/* Heapsort: qsort() may take memory. */
static void keys_sort(uint64_t *keys, uint32_t count) {
  for (uint32_t i = count / 2; i > 0; i--) {
    keys_sift_down(keys, i - 1, count);
  }
  for (uint32_t last = count; last > 1; last--) {
    const uint64_t largest = keys[0];
    keys[0] = keys[last - 1];
    keys[last - 1] = largest;
    keys_sift_down(keys, 0, last - 1);
  }
}

static void plan_rank_functions(struct plan *plan) {
  const struct trace *trace = plan->config->trace;
  for (uint32_t i = 0; i < trace->function_count; i++) {
    CHECK_LE(trace->functions[i].calls_count, RANK_CALLS_MAX);
    const uint64_t rank = RANK_CALLS_MAX - trace->functions[i].calls_count;
    plan->ranks[i] = rank << RANK_FUNCTION_BITS | i;
  }
  keys_sort(plan->ranks, trace->function_count);
}

void plan_add_functions(struct plan *plan, double scale, struct duration interval, bool randomise) {
  const struct trace *trace = plan->config->trace;
  plan->trace_scale = scale;
  plan->interval = interval;
  plan->function_count = trace->function_count;
  if (plan_is_counting(plan)) {
    for (uint32_t i = 0; i < trace->function_count; i++) {
      plan->source_count += trace->functions[i].calls_count > 0;
    }
    return;
  }
  plan_shuffle_instances(plan);
  plan_rank_functions(plan);
  const struct source_environment environment = {.trace = trace};
  for (uint32_t rank = 0; rank < trace->function_count; rank++) {
    const uint32_t function =
        (uint32_t)(plan->ranks[rank] & ((UINT64_C(1) << RANK_FUNCTION_BITS) - 1));
    if (trace->functions[function].calls_count == 0) {
      break;
    }
    struct source *source = plan_add_source(plan, SOURCE_TRACE);
    source->user_id = rank;
    source->model_first = plan->instances[rank % plan->instance_count];
    const uint32_t offset = randomise ? (uint32_t)prng_below(&source->prng, TRACE_MINUTES) : 0;
    source_begin_trace(source, &environment, function, offset);
  }
}
