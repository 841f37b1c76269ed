/* What an INFER costs in the executor, alone and with the emulated backend, in virtual time.
 *
 * Every GPU has IN_FLIGHT inferences outstanding at any time; each result sends the next. The cost
 * per INFER (4 events: action, three completions; each followed by next_commands) must not grow
 * with the number of GPUs beyond a logarithm and cache misses: the budget is on the ratio, because
 * absolute times differ from machine to machine.
 *
 *   bench_executor [INFERs per case]     exit status 1 if the budget is missed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/emulated/emulated.h"
#include "base/check.h"
#include "base/heap.h"
#include "base/ring.h"
#include "executor/executor.h"

enum {
  IN_FLIGHT = 4,
  RESIDENT = 20, /* models on each GPU */
  CASES = 3,
  /* 4,096 GPUs against 1: two dozen times the comparisons in the heaps and every line out of cache.
   */
  RATIO_MAX = 12,
};

static const struct model_spec spec = {
    .name = "resnet50_v2",
    .input_bytes = 602112,
    .output_bytes = 4000,
    .weights_bytes = 102160300,
    .weights_pages = 7,
    .batch_kinds = 1,
    .batch_sizes = {1},
    .load = {8320000},
    .execute = {{2730000}},
    .clock_mhz = 1380,
};

/* The cheapest backend there can be: each engine kind takes a fixed time, so that ends come in the
 * order of submission and three rings hold all. */
struct fixed {
  struct ring ends[BACKEND_ENGINES];
};

struct fixed_end {
  uint64_t command_id;
  struct instant begin;
  struct instant end;
};

struct bench {
  struct instant now;
  struct executor *executor;
  struct backend emulated; /* ops == NULL: use `fixed` */
  struct fixed fixed;
  uint64_t infers_count; /* answered */
  uint64_t refused_count;
  uint64_t actions_count;
};

static void *memory_take(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  void *memory = aligned_alloc(64, rounded);
  CHECK(memory != NULL);
  memset(memory, 0, rounded);
  return memory;
}

static double cpu_now_s(void) {
  struct timespec now;
  CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void fixed_submit(struct bench *bench, const struct backend_command *command) {
  static const int64_t durations_ns[BACKEND_ENGINES] = {8320000, 49031, 2730000, 325};
  const struct fixed_end end = {.command_id = command->command_id,
                                .begin = bench->now,
                                .end = {bench->now.ns + durations_ns[command->engine]}};
  CHECK(ring_push(&bench->fixed.ends[command->engine], &end));
}

static struct instant fixed_wakeup(const struct bench *bench, int *ret_engine) {
  struct instant first = INSTANT_NEVER;
  for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
    const struct fixed_end *end = ring_peek(&bench->fixed.ends[engine], 0);
    if (end != NULL && end->end.ns < first.ns) {
      first = end->end;
      *ret_engine = engine;
    }
  }
  return first;
}

static uint32_t fixed_poll(struct bench *bench, struct backend_completion *ret_completions,
                           uint32_t capacity) {
  uint32_t count = 0;
  int engine = 0;
  while (count < capacity && fixed_wakeup(bench, &engine).ns <= bench->now.ns) {
    struct fixed_end end;
    CHECK(ring_pop(&bench->fixed.ends[engine], &end));
    ret_completions[count++] = (struct backend_completion){.command_id = end.command_id,
                                                           .begin = end.begin,
                                                           .end = end.end,
                                                           .clock_before_mhz = 1380,
                                                           .clock_after_mhz = 1380};
  }
  return count;
}

static struct instant wakeup(const struct bench *bench) {
  int engine = 0;
  return bench->emulated.ops != NULL ? bench->emulated.ops->wakeup(bench->emulated.self)
                                     : fixed_wakeup(bench, &engine);
}

static uint32_t poll(struct bench *bench, struct backend_completion *ret_completions,
                     uint32_t capacity) {
  return bench->emulated.ops != NULL ? bench->emulated.ops->poll(bench->emulated.self, bench->now,
                                                                 ret_completions, capacity)
                                     : fixed_poll(bench, ret_completions, capacity);
}

static void send(struct bench *bench, enum action_type type, uint32_t gpu_index,
                 uint32_t model_id) {
  const struct executor_action action = {.action_id = ++bench->actions_count,
                                         .type = type,
                                         .gpu_index = gpu_index,
                                         .model_id = model_id,
                                         .batch_size = 1,
                                         .earliest = bench->now,
                                         .latest = instant_add(bench->now, duration_s(1))};
  CHECK(executor_on_action(bench->executor, bench->now, &action));
}

static void submit_commands(struct bench *bench) {
  struct executor_command commands[64];
  uint32_t count = 0;
  do {
    count = executor_next_commands(bench->executor, bench->now, commands, 64);
    for (uint32_t i = 0; i < count; i++) {
      if (bench->emulated.ops != NULL) {
        bench->emulated.ops->submit(bench->emulated.self, bench->now, &commands[i].command);
      } else {
        fixed_submit(bench, &commands[i].command);
      }
    }
  } while (count == 64);
}

/* Results in; each inference sends the next one to its GPU. */
static void take_results(struct bench *bench) {
  struct executor_result results[64];
  uint32_t count = 0;
  do {
    count = executor_next_results(bench->executor, results, 64);
    for (uint32_t i = 0; i < count; i++) {
      bench->refused_count += results[i].status != ACTION_SUCCESS;
      if (results[i].type == ACTION_INFER) {
        bench->infers_count++;
        send(bench, ACTION_INFER, results[i].gpu_index, (results[i].model_id + 1) % RESIDENT);
      }
    }
  } while (count == 64);
}

static bool step(struct bench *bench) {
  const struct instant next = instant_min(wakeup(bench), executor_wakeup(bench->executor));
  if (next.ns == INT64_MAX) {
    return false;
  }
  bench->now = instant_max(bench->now, next);
  struct backend_completion completions[64];
  uint32_t count = 0;
  while ((count = poll(bench, completions, 64)) > 0) {
    for (uint32_t i = 0; i < count; i++) {
      executor_on_completion(bench->executor, bench->now, &completions[i]);
    }
  }
  submit_commands(bench);
  take_results(bench);
  submit_commands(bench);
  return true;
}

static void load_models(struct bench *bench, uint32_t gpus_count) {
  for (uint32_t model_id = 0; model_id < RESIDENT; model_id++) {
    CHECK(executor_on_model_loaded(bench->executor, model_id, 1, &spec));
    for (uint32_t gpu = 0; gpu < gpus_count; gpu++) {
      send(bench, ACTION_LOAD, gpu, model_id);
    }
    submit_commands(bench);
    while (step(bench)) {
    }
  }
}

/* CPU nanoseconds per INFER. */
static double run_case(uint32_t gpus_count, bool is_emulated, uint64_t infers_wanted) {
  struct bench bench = {.now = {NS_PER_S}};
  struct emulated_gpu_config *configs = memory_take(gpus_count * sizeof(*configs));
  struct backend_gpu *gpus = memory_take(gpus_count * sizeof(*gpus));
  for (uint32_t i = 0; i < gpus_count; i++) {
    configs[i] = (struct emulated_gpu_config){
        .pages = EMULATED_PAGES, .io_bytes = EMULATED_IO_BYTES, .clock_mhz = 1380};
    gpus[i] = (struct backend_gpu){
        .pages = EMULATED_PAGES, .io_bytes = EMULATED_IO_BYTES, .clock_mhz = 1380};
  }
  const struct executor_limits limits = {.models = RESIDENT,
                                         .actions = gpus_count * (RESIDENT + IN_FLIGHT),
                                         .gpus = gpus_count,
                                         .pages_per_gpu = EMULATED_PAGES};
  void *executor_memory = memory_take(executor_bytes(&limits));
  bench.executor = executor_init(executor_memory, &limits, gpus, gpus_count);
  void *backend_memory = NULL;
  if (is_emulated) {
    struct emulated_config config;
    emulated_config_defaults(&config);
    config.gpus = configs;
    config.gpus_count = gpus_count;
    config.profile = &spec;
    config.profile_count = 1;
    config.models_max = RESIDENT;
    backend_memory = memory_take(emulated_bytes(&config));
    bench.emulated = emulated_init(backend_memory, &config);
    const struct backend_load_model job = {.copies = RESIDENT, .path = "resnet50_v2"};
    struct backend_loaded_model loaded;
    CHECK_EQ(bench.emulated.ops->load_model(bench.emulated.self, bench.now, &job), ERR_OK);
    CHECK_EQ(bench.emulated.ops->poll_loaded(bench.emulated.self, bench.now, &loaded, 1), 1);
  } else {
    struct arena arena;
    arena_init_counting(&arena);
    ring_init(&bench.fixed.ends[0], &arena, gpus_count, sizeof(struct fixed_end));
    const size_t bytes = arena.used_bytes * BACKEND_ENGINES;
    backend_memory = memory_take(bytes);
    arena_init(&arena, backend_memory, bytes);
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      ring_init(&bench.fixed.ends[engine], &arena, gpus_count, sizeof(struct fixed_end));
    }
  }
  load_models(&bench, gpus_count);
  for (uint32_t gpu = 0; gpu < gpus_count; gpu++) {
    for (uint32_t i = 0; i < IN_FLIGHT; i++) {
      send(&bench, ACTION_INFER, gpu, i);
      /* Not all GPUs in step. */
      bench.now.ns += 997;
    }
  }
  submit_commands(&bench);
  while (bench.infers_count < infers_wanted / 10) {
    CHECK(step(&bench));
  }
  const uint64_t infers_before = bench.infers_count;
  const double begin_s = cpu_now_s();
  while (bench.infers_count < infers_before + infers_wanted) {
    CHECK(step(&bench));
  }
  const double ns = (cpu_now_s() - begin_s) * 1e9 / (double)(bench.infers_count - infers_before);
  CHECK_EQ(bench.refused_count, 0);
  free(configs);
  free(gpus);
  free(executor_memory);
  free(backend_memory);
  return ns;
}

int main(int argc, char **argv) {
  const uint64_t infers = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
  if (infers == 0) {
    fprintf(stderr, "bench_executor: INFERs per case must be a whole number above 0\n");
    return 2;
  }
  const uint32_t gpus_counts[CASES] = {1, 80, 4096};
  double alone_ns[CASES];
  double both_ns[CASES];
  printf("%8s %22s %28s\n", "GPUs", "executor, ns/INFER", "with emulated, ns/INFER");
  for (int i = 0; i < CASES; i++) {
    alone_ns[i] = run_case(gpus_counts[i], false, infers);
    both_ns[i] = run_case(gpus_counts[i], true, infers);
    printf("%8u %22.0f %28.0f\n", gpus_counts[i], alone_ns[i], both_ns[i]);
  }
  const double alone_ratio = alone_ns[CASES - 1] / alone_ns[0];
  const double both_ratio = both_ns[CASES - 1] / both_ns[0];
  printf("4,096 GPUs against 1: %.2f and %.2f times (budget %d)\n", alone_ratio, both_ratio,
         RATIO_MAX);
  return alone_ratio <= (double)RATIO_MAX && both_ratio <= (double)RATIO_MAX ? 0 : 1;
}
