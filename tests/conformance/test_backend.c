/* What every backend must do, run over all of them: bare, and under the executor.
 *
 * All commands go through one watch, which checks what backend.h promises of each of them and keeps
 * its own account of every page.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "conformance/subject.h"
#include "executor/executor.h"
#include "support/cmocka.h"
#include "support/memory.h"

enum {
  GPUS_MAX = 16,
  PAGES_MAX = 4096,
  RESULTS_MAX = 4096,
  BATCH_MAX = MODEL_BATCH_MAX,
  PAGE_FREE_OWNER = -1,
};

struct watched_engine {
  bool is_busy;
  struct backend_command command;
  struct instant submitted;
  struct instant last_end;
};

struct watch {
  struct conformance_subject subject;
  struct watched_engine engines[GPUS_MAX][BACKEND_ENGINES];
  int owners[GPUS_MAX][PAGES_MAX];
  struct instant last_polled_end;
  uint64_t submits_count;
  uint32_t in_flight_count;
  uint32_t completions_count;
  struct backend_completion last[GPUS_MAX][BACKEND_ENGINES];
  struct model_spec specs[2]; /* of the two packages */
  uint32_t next_model_id;

  /* Under the executor. */
  void *memory;
  struct executor *executor;
  uint64_t actions_count;
  uint32_t results_count;
  struct executor_result results[RESULTS_MAX]; /* by action id */
  bool is_answered[RESULTS_MAX];
};

static struct watch watch;

/* ------------------------------------------------------------------------------------ the watch */

static struct instant now(void) {
  return watch.subject.now(&watch.subject);
}

static const struct backend_ops *ops(void) {
  return watch.subject.backend.ops;
}

static void *self(void) {
  return watch.subject.backend.self;
}

static void watch_submit(const struct backend_command *command) {
  struct watched_engine *engine = &watch.engines[command->gpu_index][command->engine];
  assert_false(engine->is_busy);
  engine->is_busy = true;
  engine->command = *command;
  engine->submitted = now();
  watch.submits_count++;
  watch.in_flight_count++;
  ops()->submit(self(), engine->submitted, command);
}

static void watch_evict(uint32_t gpu_index, uint32_t model_id, const uint32_t *pages,
                        uint32_t pages_count) {
  for (uint32_t i = 0; i < pages_count; i++) {
    assert_int_equal(watch.owners[gpu_index][pages[i]], model_id);
    watch.owners[gpu_index][pages[i]] = PAGE_FREE_OWNER;
  }
  ops()->evict(self(), now(), gpu_index, model_id, pages, pages_count);
}

static struct watched_engine *engine_of(uint64_t command_id, uint32_t *ret_gpu) {
  for (uint32_t gpu = 0; gpu < GPUS_MAX; gpu++) {
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      struct watched_engine *candidate = &watch.engines[gpu][engine];
      if (candidate->is_busy && candidate->command.command_id == command_id) {
        *ret_gpu = gpu;
        return candidate;
      }
    }
  }
  fail_msg("a completion for a command that is not under way");
  return NULL;
}

static void watch_completion(const struct backend_completion *completion, struct instant polled) {
  uint32_t gpu = 0;
  struct watched_engine *engine = engine_of(completion->command_id, &gpu);
  assert_true(completion->begin.ns >= engine->submitted.ns);
  assert_true(completion->begin.ns >= engine->last_end.ns);
  assert_true(completion->begin.ns <= completion->end.ns);
  assert_true(completion->end.ns <= polled.ns);
  assert_true(completion->end.ns >= watch.last_polled_end.ns);
  assert_true(completion->clock_before_mhz > 0);
  assert_true(completion->clock_after_mhz > 0);
  watch.last_polled_end = completion->end;
  engine->is_busy = false;
  engine->last_end = completion->end;
  watch.last[gpu][engine->command.engine] = *completion;
  watch.in_flight_count--;
  watch.completions_count++;
}

/* Poll once; returns how many there were. */
static uint32_t watch_poll(struct backend_completion *ret_completions, uint32_t capacity) {
  const struct instant polled = now();
  /* Order of end holds within one poll; a later poll may find an earlier end of a real device. */
  watch.last_polled_end = INSTANT_ZERO;
  const uint32_t count = ops()->poll(self(), polled, ret_completions, capacity);
  assert_in_range(count, 0, capacity);
  for (uint32_t i = 0; i < count; i++) {
    watch_completion(&ret_completions[i], polled);
  }
  return count;
}

static void wait_until_idle(void) {
  struct backend_completion completions[4];
  while (watch.in_flight_count > 0) {
    if (watch_poll(completions, 4) == 0) {
      watch.subject.wait(&watch.subject, INSTANT_NEVER);
    }
  }
}

static struct backend_loaded_model load_model(const char *path, uint32_t first_model_id,
                                              uint32_t copies, uint32_t max_batch,
                                              struct duration max_execute) {
  struct backend_load_model job = {.job_id = 77,
                                   .first_model_id = first_model_id,
                                   .copies = copies,
                                   .max_batch = max_batch,
                                   .max_execute = max_execute};
  snprintf(job.path, sizeof(job.path), "%s", path);
  assert_int_equal(ops()->load_model(self(), now(), &job), ERR_OK);
  struct backend_loaded_model loaded = {.job_id = 0};
  while (ops()->poll_loaded(self(), now(), &loaded, 1) == 0) {
    watch.subject.wait(&watch.subject, INSTANT_NEVER);
  }
  assert_int_equal(loaded.job_id, 77);
  return loaded;
}

/* Ids for `copies` new instances of package 0 or 1. */
static uint32_t take_models(int package, uint32_t copies) {
  const uint32_t first = watch.next_model_id;
  watch.next_model_id += copies;
  assert_true(watch.next_model_id <= watch.subject.models_max);
  const struct backend_loaded_model loaded =
      load_model(watch.subject.paths[package], first, copies, 0, DURATION_ZERO);
  assert_int_equal(loaded.status, ACTION_SUCCESS);
  watch.specs[package] = loaded.spec;
  if (watch.executor != NULL) {
    assert_true(executor_on_model_loaded(watch.executor, first, copies, &loaded.spec));
  }
  return first;
}

static int open_subject(void **state) {
  bool (*open)(struct conformance_subject *) = NULL;
  memcpy(&open, *state, sizeof(open));
  memset(&watch, 0, sizeof(watch));
  memset(watch.owners, 0xff, sizeof(watch.owners));
  if (!open(&watch.subject)) {
    print_message("SKIPPED: this machine has no such device\n");
    return 0;
  }
  assert_true(ops()->gpus_count(self()) <= GPUS_MAX);
  watch.next_model_id = 10;
  return 0;
}

static int close_subject(void **state) {
  (void)state;
  if (ops() == NULL) {
    return 0;
  }
  if (watch.executor != NULL) {
    executor_validate(watch.executor);
  }
  watch.subject.close(&watch.subject);
  free(watch.memory);
  return 0;
}

#define SKIP_IF_ABSENT()                                                                           \
  do {                                                                                             \
    (void)state;                                                                                   \
    if (ops() == NULL) {                                                                           \
      skip();                                                                                      \
    }                                                                                              \
  } while (0)

/* --------------------------------------------------------------------------- inputs and outputs */

struct buffers {
  float *values;
  const void *inputs[BATCH_MAX];
  float *outputs;
};

/* `batch_size` inputs of package `package`, in [0, 1), the same for the same `first`. */
static struct buffers open_buffers(int package, uint32_t batch_size, uint64_t first) {
  const size_t input_count = (size_t)watch.specs[package].input_bytes / sizeof(float);
  const size_t output_count = (size_t)watch.specs[package].output_bytes / sizeof(float);
  struct buffers buffers;
  buffers.values = malloc(batch_size * input_count * sizeof(float));
  buffers.outputs = calloc(batch_size * output_count, sizeof(float));
  assert_non_null(buffers.values);
  assert_non_null(buffers.outputs);
  for (uint32_t i = 0; i < batch_size; i++) {
    struct prng prng;
    prng_init(&prng, 15, first + i);
    buffers.inputs[i] = buffers.values + i * input_count;
    for (size_t j = 0; j < input_count; j++) {
      buffers.values[i * input_count + j] = (float)prng_unit(&prng);
    }
  }
  return buffers;
}

static void close_buffers(struct buffers *buffers) {
  free(buffers->values);
  free(buffers->outputs);
}

static void assert_same_outputs(int package, const float *a, const float *b) {
  const size_t count = (size_t)watch.specs[package].output_bytes / sizeof(float);
  float largest = 0.0F;
  bool is_all_zero = true;
  for (size_t i = 0; i < count; i++) {
    largest = fmaxf(largest, fmaxf(fabsf(a[i]), fabsf(b[i])));
    is_all_zero = is_all_zero && a[i] == 0.0F;
  }
  assert_false(is_all_zero);
  for (size_t i = 0; i < count; i++) {
    assert_true(fabsf(a[i] - b[i]) <= largest * watch.subject.output_tolerance);
  }
}

/* ------------------------------------------------------------------------------- bare commands */

static struct backend_command bare_command(enum backend_engine engine, uint32_t gpu_index,
                                           uint32_t model_id, uint32_t batch_size) {
  return (struct backend_command){.command_id = watch.submits_count + 1,
                                  .engine = engine,
                                  .gpu_index = gpu_index,
                                  .model_id = model_id,
                                  .batch_size = batch_size};
}

static const uint32_t *count_up(uint32_t first, uint32_t count) {
  static uint32_t pages[PAGES_MAX];
  for (uint32_t i = 0; i < count; i++) {
    pages[i] = first + i;
  }
  return pages;
}

static void bare_load(uint32_t gpu_index, uint32_t model_id, const uint32_t *pages) {
  struct backend_command command = bare_command(BACKEND_ENGINE_LOAD, gpu_index, model_id, 0);
  command.pages = pages;
  watch_submit(&command);
  wait_until_idle();
  assert_int_equal(watch.last[gpu_index][BACKEND_ENGINE_LOAD].status, ACTION_SUCCESS);
}

static void bare_infer(uint32_t gpu_index, uint32_t model_id, uint32_t batch_size, uint32_t io_slot,
                       const struct backend_io *io) {
  for (int engine = BACKEND_ENGINE_INPUT; engine <= BACKEND_ENGINE_OUTPUT; engine++) {
    struct backend_command command =
        bare_command((enum backend_engine)engine, gpu_index, model_id, batch_size);
    command.io_slot = io_slot;
    command.io = io;
    watch_submit(&command);
    wait_until_idle();
    assert_int_equal(watch.last[gpu_index][engine].status, ACTION_SUCCESS);
  }
}

static void gpus_are_described(void **state) {
  SKIP_IF_ABSENT();
  const uint32_t gpus_count = ops()->gpus_count(self());
  assert_true(gpus_count > 0);
  for (uint32_t i = 0; i < gpus_count; i++) {
    struct backend_gpu gpu;
    ops()->gpu(self(), i, &gpu);
    assert_true(strnlen(gpu.name, sizeof(gpu.name)) < sizeof(gpu.name));
    assert_true(gpu.pages > 0 && gpu.pages <= PAGES_MAX);
    assert_true(gpu.io_bytes > 0);
    assert_true(gpu.clock_mhz > 0);
  }
  assert_true(strlen(ops()->name) > 0);
  ops()->destroy(NULL);
}

static void a_model_loads_with_a_valid_spec(void **state) {
  SKIP_IF_ABSENT();
  for (int package = 0; package < 2; package++) {
    take_models(package, 3);
    const struct model_spec *spec = &watch.specs[package];
    assert_true(model_spec_is_valid(spec));
    assert_true(spec->batch_kinds > 1);
    assert_int_equal(spec->input_bytes % sizeof(float), 0);
    assert_int_equal(spec->output_bytes % sizeof(float), 0);
  }
}

static void unknown_paths_are_answered(void **state) {
  SKIP_IF_ABSENT();
  const char *const paths[] = {"", "/", "no/such/package", "///"};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(load_model(paths[i], 0, 1, 0, DURATION_ZERO).status,
                     ACTION_INVALID_MODEL_PATH);
  }
  /* The id stayed free. */
  assert_int_equal(load_model(watch.subject.paths[0], 0, 1, 0, DURATION_ZERO).status,
                   ACTION_SUCCESS);
}

static void taken_ids_are_refused_as_a_whole(void **state) {
  SKIP_IF_ABSENT();
  const char *path = watch.subject.paths[0];
  assert_int_equal(load_model(path, 4, 2, 0, DURATION_ZERO).status, ACTION_SUCCESS);
  assert_int_equal(load_model(path, 5, 1, 0, DURATION_ZERO).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(path, 2, 3, 0, DURATION_ZERO).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(path, 0, 0, 0, DURATION_ZERO).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(path, UINT32_MAX, 2, 0, DURATION_ZERO).status,
                   ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(path, 2, 2, 0, DURATION_ZERO).status, ACTION_SUCCESS);
}

static void batch_sizes_can_be_limited(void **state) {
  SKIP_IF_ABSENT();
  const char *path = watch.subject.paths[0];
  const struct backend_loaded_model all = load_model(path, 0, 1, 0, DURATION_ZERO);
  assert_int_equal(all.status, ACTION_SUCCESS);
  const uint32_t second = all.spec.batch_sizes[1];
  const struct backend_loaded_model two = load_model(path, 1, 1, second, DURATION_ZERO);
  assert_int_equal(two.spec.batch_kinds, 2);
  assert_int_equal(two.spec.batch_sizes[1], second);
  /* Batch 1 always stays. */
  const struct backend_loaded_model one = load_model(path, 2, 1, 0, duration_ns(1));
  assert_int_equal(one.status, ACTION_SUCCESS);
  assert_int_equal(one.spec.batch_kinds, 1);
  assert_true(model_spec_is_valid(&one.spec));
}

static void every_batch_size_runs_on_every_gpu(void **state) {
  SKIP_IF_ABSENT();
  for (int package = 0; package < 2; package++) {
    const uint32_t model = take_models(package, 1);
    const struct model_spec *spec = &watch.specs[package];
    for (uint32_t gpu = 0; gpu < ops()->gpus_count(self()); gpu++) {
      bare_load(gpu, model, count_up(0, spec->weights_pages));
      for (uint32_t kind = 0; kind < spec->batch_kinds; kind++) {
        struct buffers buffers = open_buffers(package, spec->batch_sizes[kind], 0);
        const struct backend_io io = {.inputs = buffers.inputs, .outputs = buffers.outputs};
        bare_infer(gpu, model, spec->batch_sizes[kind], kind % BACKEND_IO_SLOTS, &io);
        close_buffers(&buffers);
      }
      ops()->evict(self(), now(), gpu, model, count_up(0, spec->weights_pages),
                   spec->weights_pages);
    }
  }
  assert_int_equal(watch.completions_count, watch.submits_count);
  struct backend_completion none;
  assert_int_equal(watch_poll(&none, 1), 0);
}

static void outputs_of_a_batch_equal_those_of_single_requests(void **state) {
  SKIP_IF_ABSENT();
  for (int package = 0; package < 2; package++) {
    const uint32_t model = take_models(package, 1);
    const struct model_spec *spec = &watch.specs[package];
    const size_t output_count = (size_t)spec->output_bytes / sizeof(float);
    bare_load(0, model, count_up(0, spec->weights_pages));
    for (uint32_t kind = 1; kind < spec->batch_kinds; kind++) {
      const uint32_t batch_size = spec->batch_sizes[kind];
      struct buffers batch = open_buffers(package, batch_size, 100);
      const struct backend_io io = {.inputs = batch.inputs, .outputs = batch.outputs};
      bare_infer(0, model, batch_size, 0, &io);
      for (uint32_t i = 0; i < batch_size; i++) {
        struct buffers single = open_buffers(package, 1, 100 + i);
        const struct backend_io single_io = {.inputs = single.inputs, .outputs = single.outputs};
        bare_infer(0, model, 1, 1, &single_io);
        assert_same_outputs(package, batch.outputs + i * output_count, single.outputs);
        close_buffers(&single);
      }
      close_buffers(&batch);
    }
    ops()->evict(self(), now(), 0, model, count_up(0, spec->weights_pages), spec->weights_pages);
  }
}

/* Copies share host weights, but each has its own pages; both answer alike, and other inputs
 * otherwise. */
static void copies_answer_alike(void **state) {
  SKIP_IF_ABSENT();
  const uint32_t model = take_models(0, 2);
  const uint32_t pages_count = watch.specs[0].weights_pages;
  bare_load(0, model, count_up(0, pages_count));
  bare_load(0, model + 1, count_up(pages_count, pages_count));
  struct buffers a = open_buffers(0, 1, 200);
  struct buffers b = open_buffers(0, 1, 200);
  struct buffers c = open_buffers(0, 1, 201);
  bare_infer(0, model, 1, 0, &(struct backend_io){.inputs = a.inputs, .outputs = a.outputs});
  bare_infer(0, model + 1, 1, 0, &(struct backend_io){.inputs = b.inputs, .outputs = b.outputs});
  bare_infer(0, model + 1, 1, 0, &(struct backend_io){.inputs = c.inputs, .outputs = c.outputs});
  assert_same_outputs(0, a.outputs, b.outputs);
  assert_memory_not_equal(a.outputs, c.outputs, (size_t)watch.specs[0].output_bytes);
  close_buffers(&a);
  close_buffers(&b);
  close_buffers(&c);
}

static void weights_survive_evict_and_reload(void **state) {
  SKIP_IF_ABSENT();
  const uint32_t model = take_models(0, 2);
  const uint32_t pages_count = watch.specs[0].weights_pages;
  struct buffers before = open_buffers(0, 1, 300);
  struct buffers after = open_buffers(0, 1, 300);
  const struct backend_io io = {.inputs = before.inputs, .outputs = before.outputs};
  bare_load(0, model, count_up(0, pages_count));
  bare_infer(0, model, 1, 0, &io);
  ops()->evict(self(), now(), 0, model, count_up(0, pages_count), pages_count);
  /* Its pages go to another instance, it comes back elsewhere, in falling order. */
  bare_load(0, model + 1, count_up(0, pages_count));
  static uint32_t elsewhere[PAGES_MAX];
  for (uint32_t i = 0; i < pages_count; i++) {
    elsewhere[i] = 2 * pages_count - 1 - i;
  }
  bare_load(0, model, elsewhere);
  bare_infer(0, model, 1, 3,
             &(struct backend_io){.inputs = after.inputs, .outputs = after.outputs});
  assert_same_outputs(0, before.outputs, after.outputs);
  close_buffers(&before);
  close_buffers(&after);
}

static void inputs_and_outputs_may_be_absent(void **state) {
  SKIP_IF_ABSENT();
  const uint32_t model = take_models(0, 1);
  const uint32_t batch_size = watch.specs[0].batch_sizes[1];
  bare_load(0, model, count_up(0, watch.specs[0].weights_pages));
  bare_infer(0, model, batch_size, 0, &(struct backend_io){.inputs = NULL, .outputs = NULL});
  struct buffers buffers = open_buffers(0, batch_size, 400);
  buffers.inputs[batch_size - 1] = NULL;
  bare_infer(0, model, batch_size, 1,
             &(struct backend_io){.inputs = buffers.inputs, .outputs = buffers.outputs});
  bare_infer(0, model, batch_size, 2, &(struct backend_io){.outputs = buffers.outputs});
  bare_infer(0, model, batch_size, 3, &(struct backend_io){.inputs = buffers.inputs});
  close_buffers(&buffers);
}

static bool overlaps(const struct backend_completion *a, const struct backend_completion *b) {
  return a->begin.ns < b->end.ns && b->begin.ns < a->end.ns;
}

/* All four busy at once; a transfer of weights never holds up an execution. On a machine with other
 * work a thread may come to its core only when the other is done: many a round, if it must be. */
static void four_engines_run_beside_each_other(void **state) {
  SKIP_IF_ABSENT();
  const uint32_t model = take_models(0, 2);
  const uint32_t pages_count = watch.specs[0].weights_pages;
  struct buffers buffers[3];
  struct backend_io io[3];
  for (int i = 0; i < 3; i++) {
    buffers[i] = open_buffers(0, 1, 500 + (uint64_t)i);
    io[i] = (struct backend_io){.inputs = buffers[i].inputs, .outputs = buffers[i].outputs};
  }
  bare_load(0, model, count_up(0, pages_count));
  /* Counted once: a LOAD reads them while the next commands are made. */
  const uint32_t *const load_pages = count_up(pages_count, pages_count);
  bool did_overlap = false;
  for (int round = 0; round < 20 || (round < 1000 && !did_overlap); round++) {
    /* Slot 0 is ready to be copied out, slot 1 to be executed. */
    bare_infer(0, model, 1, 0, &io[0]);
    struct backend_command command = bare_command(BACKEND_ENGINE_INPUT, 0, model, 1);
    command.io_slot = 1;
    command.io = &io[1];
    watch_submit(&command);
    wait_until_idle();
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      const uint32_t slots[BACKEND_ENGINES] = {0, 2, 1, 0};
      const bool is_load = engine == BACKEND_ENGINE_LOAD;
      command = bare_command((enum backend_engine)engine, 0, is_load ? model + 1 : model, 1);
      command.pages = load_pages;
      command.io_slot = slots[engine];
      command.io = &io[slots[engine]];
      watch_submit(&command);
    }
    assert_int_equal(watch.in_flight_count, BACKEND_ENGINES);
    wait_until_idle();
    did_overlap = did_overlap || overlaps(&watch.last[0][BACKEND_ENGINE_LOAD],
                                          &watch.last[0][BACKEND_ENGINE_EXECUTE]);
    ops()->evict(self(), now(), 0, model + 1, load_pages, pages_count);
  }
  assert_true(did_overlap);
  for (int i = 0; i < 3; i++) {
    close_buffers(&buffers[i]);
  }
}

/* -------------------------------------------------------------------------- under the executor */

static void open_executor(void) {
  struct backend_gpu gpus[GPUS_MAX];
  const uint32_t gpus_count = ops()->gpus_count(self());
  struct executor_limits limits = {
      .models = watch.subject.models_max, .actions = RESULTS_MAX, .gpus = gpus_count};
  for (uint32_t i = 0; i < gpus_count; i++) {
    ops()->gpu(self(), i, &gpus[i]);
    limits.pages_per_gpu =
        gpus[i].pages > limits.pages_per_gpu ? gpus[i].pages : limits.pages_per_gpu;
  }
  watch.memory = test_memory_take(executor_bytes(&limits));
  watch.executor = executor_init(watch.memory, &limits, gpus, gpus_count);
}

static void apply(const struct executor_command *command) {
  const struct backend_command *c = &command->command;
  if (command->is_evict) {
    watch_evict(c->gpu_index, c->model_id, c->pages, command->pages_count);
    return;
  }
  if (c->engine == BACKEND_ENGINE_LOAD) {
    const uint32_t pages_count = executor_model(watch.executor, c->model_id)->weights_pages;
    for (uint32_t i = 0; i < pages_count; i++) {
      assert_int_equal(watch.owners[c->gpu_index][c->pages[i]], PAGE_FREE_OWNER);
      watch.owners[c->gpu_index][c->pages[i]] = (int)c->model_id;
    }
  }
  watch_submit(c);
}

/* The shell's loop, once: completions in, commands out, results out. */
static void turn(void) {
  struct backend_completion completions[8];
  struct executor_command commands[8];
  uint32_t count = 0;
  while ((count = watch_poll(completions, 8)) > 0) {
    for (uint32_t i = 0; i < count; i++) {
      executor_on_completion(watch.executor, now(), &completions[i]);
    }
  }
  do {
    count = executor_next_commands(watch.executor, now(), commands, 8);
    for (uint32_t i = 0; i < count; i++) {
      apply(&commands[i]);
    }
  } while (count == 8);
  struct executor_result result;
  while (executor_next_results(watch.executor, &result, 1) == 1) {
    assert_in_range(result.action_id, 1, watch.actions_count);
    assert_false(watch.is_answered[result.action_id]);
    watch.is_answered[result.action_id] = true;
    watch.results[result.action_id] = result;
    watch.results_count++;
  }
}

static void wait_for_results(uint64_t count) {
  turn();
  while (watch.results_count < count) {
    watch.subject.wait(&watch.subject, executor_wakeup(watch.executor));
    turn();
  }
}

static struct executor_action action_of(enum action_type type, uint32_t gpu_index,
                                        uint32_t model_id) {
  return (struct executor_action){.action_id = ++watch.actions_count,
                                  .type = type,
                                  .gpu_index = gpu_index,
                                  .model_id = model_id,
                                  .batch_size = 1,
                                  .earliest = now(),
                                  .latest = instant_add(now(), duration_s(3600))};
}

static void send(const struct executor_action *action) {
  assert_true(action->action_id < RESULTS_MAX);
  assert_true(executor_on_action(watch.executor, now(), action));
}

static enum action_status run_action(enum action_type type, uint32_t gpu_index, uint32_t model_id) {
  const struct executor_action action = action_of(type, gpu_index, model_id);
  send(&action);
  wait_for_results(watch.actions_count);
  return watch.results[action.action_id].status;
}

static void pages_are_accounted_for(void **state) {
  SKIP_IF_ABSENT();
  open_executor();
  for (uint32_t gpu = 0; gpu < ops()->gpus_count(self()); gpu++) {
    struct executor_gpu_state room;
    executor_gpu_state(watch.executor, gpu, &room);
    assert_int_equal(room.pages_free, room.pages_total);
    const uint32_t probe = take_models(0, 1);
    const uint32_t fit = room.pages_total / watch.specs[0].weights_pages;
    assert_true(fit >= 4);
    const uint32_t models = take_models(0, fit);
    for (uint32_t i = 0; i < fit; i++) {
      assert_int_equal(run_action(ACTION_LOAD, gpu, models + i), ACTION_SUCCESS);
    }
    assert_int_equal(run_action(ACTION_LOAD, gpu, probe), ACTION_LOAD_INSUFFICIENT_CACHE);
    assert_int_equal(run_action(ACTION_LOAD, gpu, models), ACTION_WEIGHTS_ALREADY_LOADED);
    assert_int_equal(run_action(ACTION_INFER, gpu, probe), ACTION_EXECUTE_WEIGHTS_MISSING);
    assert_int_equal(run_action(ACTION_EVICT, gpu, models + 1), ACTION_SUCCESS);
    assert_int_equal(run_action(ACTION_LOAD, gpu, probe), ACTION_SUCCESS);
    assert_int_equal(run_action(ACTION_INFER, gpu, probe), ACTION_SUCCESS);
    assert_int_equal(run_action(ACTION_INFER, gpu, models + 1), ACTION_EXECUTE_WEIGHTS_MISSING);
    assert_int_equal(run_action(ACTION_INFER, gpu, models + 2), ACTION_SUCCESS);
    executor_gpu_state(watch.executor, gpu, &room);
    assert_int_equal(room.models_resident, fit);
    assert_int_equal(executor_on_clear_cache(watch.executor, now()),
                     fit * watch.specs[0].weights_pages);
    turn();
    for (uint32_t page = 0; page < room.pages_total; page++) {
      assert_int_equal(watch.owners[gpu][page], PAGE_FREE_OWNER);
    }
  }
}

/* What can't start in its window never reaches the backend. */
static void late_actions_are_refused(void **state) {
  SKIP_IF_ABSENT();
  open_executor();
  const uint32_t models = take_models(0, 3);
  assert_int_equal(run_action(ACTION_LOAD, 0, models), ACTION_SUCCESS);
  struct executor_action first = action_of(ACTION_LOAD, 0, models + 1);
  struct executor_action second = action_of(ACTION_LOAD, 0, models + 2);
  second.latest = instant_add(second.earliest, duration_ns(1));
  struct executor_action infer = action_of(ACTION_INFER, 0, models);
  struct executor_action late = action_of(ACTION_INFER, 0, models);
  late.latest = instant_add(late.earliest, duration_ns(1));
  struct executor_action past = action_of(ACTION_INFER, 0, models);
  past.earliest = instant_sub(now(), duration_ms(2));
  past.latest = instant_sub(now(), duration_ms(1));
  send(&first);
  send(&second);
  send(&infer);
  send(&late);
  send(&past);
  wait_for_results(watch.actions_count);
  assert_int_equal(watch.results[first.action_id].status, ACTION_SUCCESS);
  assert_int_equal(watch.results[second.action_id].status, ACTION_LOAD_TOO_LATE);
  assert_int_equal(watch.results[infer.action_id].status, ACTION_SUCCESS);
  assert_int_equal(watch.results[late.action_id].status, ACTION_INPUT_TOO_LATE);
  assert_int_equal(watch.results[past.action_id].status, ACTION_INPUT_TOO_LATE);
  /* Two loads and three steps of one inference. */
  assert_int_equal(watch.submits_count, 5);
}

static void executions_start_in_order_of_their_windows(void **state) {
  SKIP_IF_ABSENT();
  enum { COUNT = 40 };
  open_executor();
  const uint32_t model = take_models(0, 1);
  assert_int_equal(run_action(ACTION_LOAD, 0, model), ACTION_SUCCESS);
  struct executor_action actions[COUNT];
  const struct instant base = now();
  for (int i = 0; i < COUNT; i++) {
    actions[i] = action_of(ACTION_INFER, 0, model);
    /* 7 and 40 share no factor: every step of 50 us once, in a mixed order, all at once. */
    actions[i].earliest = instant_add(base, duration_us(i * 7 % COUNT * 50));
    send(&actions[i]);
  }
  wait_for_results(watch.actions_count);
  for (int i = 0; i < COUNT; i++) {
    for (int j = 0; j < COUNT; j++) {
      if (actions[i].earliest.ns < actions[j].earliest.ns) {
        const struct executor_result *a = &watch.results[actions[i].action_id];
        const struct executor_result *b = &watch.results[actions[j].action_id];
        assert_int_equal(a->status, ACTION_SUCCESS);
        assert_true(a->run.end.ns <= b->run.begin.ns);
        assert_true(a->run.begin.ns >= actions[i].earliest.ns);
      }
    }
  }
}

static void steps_of_an_inference_follow_each_other(void **state) {
  SKIP_IF_ABSENT();
  open_executor();
  const uint32_t model = take_models(1, 1);
  assert_int_equal(run_action(ACTION_LOAD, 0, model), ACTION_SUCCESS);
  struct executor_action action = action_of(ACTION_INFER, 0, model);
  struct buffers buffers = open_buffers(1, 1, 600);
  struct buffers bare = open_buffers(1, 1, 600);
  action.io = (struct backend_io){.inputs = buffers.inputs, .outputs = buffers.outputs};
  send(&action);
  wait_for_results(watch.actions_count);
  const struct executor_result *result = &watch.results[action.action_id];
  assert_int_equal(result->status, ACTION_SUCCESS);
  assert_true(result->input.begin.ns <= result->input.end.ns);
  assert_true(result->input.end.ns <= result->run.begin.ns);
  assert_true(result->run.begin.ns < result->run.end.ns);
  assert_true(result->run.end.ns <= result->output.begin.ns);
  assert_true(result->output.begin.ns <= result->output.end.ns);
  assert_true(result->clock_before_mhz > 0 && result->clock_after_mhz > 0);
  bare_infer(0, model, 1, 0, &(struct backend_io){.inputs = bare.inputs, .outputs = bare.outputs});
  assert_same_outputs(1, buffers.outputs, bare.outputs);
  close_buffers(&buffers);
  close_buffers(&bare);
}

/* Loads, evictions and inferences at random on all GPUs: one result each, right outputs, and at the
 * end nothing is under way. */
static void random_actions_are_answered_once(void **state) {
  SKIP_IF_ABSENT();
  enum { COUNT = 1500, MODELS = 40, AT_ONCE = 30 };
  static float outputs[COUNT + 1][4096];
  open_executor();
  const uint32_t models = take_models(1, MODELS);
  assert_true(watch.specs[1].output_bytes <= sizeof(outputs[0]));
  struct buffers expected = open_buffers(1, 1, 700);
  assert_int_equal(run_action(ACTION_LOAD, 0, models), ACTION_SUCCESS);
  bare_infer(0, models, 1, 0,
             &(struct backend_io){.inputs = expected.inputs, .outputs = expected.outputs});
  struct prng prng;
  prng_init(&prng, 16, 0);
  while (watch.actions_count < COUNT) {
    const uint64_t kind = prng_below(&prng, 10);
    struct executor_action action =
        action_of(kind < 2   ? ACTION_LOAD
                  : kind < 3 ? ACTION_EVICT
                             : ACTION_INFER,
                  (uint32_t)prng_below(&prng, ops()->gpus_count(self())),
                  models + (uint32_t)(prng_below(&prng, MODELS) * prng_below(&prng, 2)));
    action.earliest = instant_add(now(), duration_us((int64_t)prng_below(&prng, 3000) - 1000));
    action.latest = instant_add(action.earliest, duration_ms((int64_t)prng_below(&prng, 50)));
    action.io =
        (struct backend_io){.inputs = expected.inputs, .outputs = outputs[action.action_id]};
    send(&action);
    turn();
    if (watch.actions_count - watch.results_count > AT_ONCE) {
      wait_for_results(watch.actions_count - AT_ONCE / 2);
    }
  }
  wait_for_results(watch.actions_count);
  assert_int_equal(watch.in_flight_count, 0);
  assert_int_equal(watch.completions_count, watch.submits_count);
  uint32_t served = 0;
  for (uint64_t id = 2; id <= COUNT; id++) {
    if (watch.results[id].type == ACTION_INFER && watch.results[id].status == ACTION_SUCCESS) {
      assert_same_outputs(1, outputs[id], expected.outputs);
      served++;
    }
  }
  print_message("%u of %d actions were inferences that succeeded\n", served, COUNT);
  assert_true(served > COUNT / 20);
  close_buffers(&expected);
}

/* ------------------------------------------------------------------------------------ the suite */

#define CASE_(subject, test)                                                                       \
  { #subject ": " #test, test, open_subject, close_subject, &open_##subject }
#define SUBJECT_(subject)                                                                          \
  CASE_(subject, gpus_are_described), CASE_(subject, a_model_loads_with_a_valid_spec),             \
      CASE_(subject, unknown_paths_are_answered),                                                  \
      CASE_(subject, taken_ids_are_refused_as_a_whole),                                            \
      CASE_(subject, batch_sizes_can_be_limited),                                                  \
      CASE_(subject, every_batch_size_runs_on_every_gpu),                                          \
      CASE_(subject, outputs_of_a_batch_equal_those_of_single_requests),                           \
      CASE_(subject, copies_answer_alike), CASE_(subject, weights_survive_evict_and_reload),       \
      CASE_(subject, inputs_and_outputs_may_be_absent),                                            \
      CASE_(subject, four_engines_run_beside_each_other), CASE_(subject, pages_are_accounted_for), \
      CASE_(subject, late_actions_are_refused),                                                    \
      CASE_(subject, executions_start_in_order_of_their_windows),                                  \
      CASE_(subject, steps_of_an_inference_follow_each_other),                                     \
      CASE_(subject, random_actions_are_answered_once),
#define OPEN_(subject)                                                                             \
  static bool (*open_##subject)(struct conformance_subject *) = conformance_open_##subject;

CONFORMANCE_SUBJECTS(OPEN_)

int main(void) {
  const struct CMUnitTest tests[] = {CONFORMANCE_SUBJECTS(SUBJECT_)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
