/* A GPU that is lost while work is under way, for every backend whose GPUs can be: each command and
 * each action is answered once, the other GPUs go on and answer right, and the end comes in order.
 *
 * A program of its own: a process that has lost a real device is of no use to other tests.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conformance/subject.h"
#include "executor/executor.h"
#include "support/cmocka.h"
#include "support/memory.h"

enum {
  GPUS_MAX = 64,
  ACTIONS_MAX = 20000,
  FIRST_MODEL = 10,
  PACKAGE = 1,
  /* INFERs of a GPU under way at once: something is on every engine and in every queue. */
  AT_ONCE = 12,
};

static struct {
  struct conformance_subject subject;
  void *memory;
  struct executor *executor;
  uint32_t gpus_count;
  struct model_spec spec;
  float *values; /* one input */
  const void *input;
  float *expected;
  float *outputs[AT_ONCE];
  uint64_t actions_count;
  uint32_t results_count;
  struct executor_result results[ACTIONS_MAX + 1]; /* by action id */
  bool is_answered[ACTIONS_MAX + 1];
} suite;

static struct instant now(void) {
  return suite.subject.now(&suite.subject);
}

static const struct backend_ops *ops(void) {
  return suite.subject.backend.ops;
}

static void *self(void) {
  return suite.subject.backend.self;
}

/* ------------------------------------------------------------------------------ the shell's loop
 */

static void turn(void) {
  struct backend_completion completions[8];
  struct executor_command commands[8];
  uint32_t count = 0;
  while ((count = ops()->poll(self(), now(), completions, 8)) > 0) {
    for (uint32_t i = 0; i < count; i++) {
      assert_true(completions[i].begin.ns <= completions[i].end.ns);
      if (completions[i].status == ACTION_GPU_LOST) {
        assert_true(ops()->lost_count(self()) > 0);
      }
      executor_on_completion(suite.executor, now(), &completions[i]);
    }
  }
  do {
    count = executor_next_commands(suite.executor, now(), commands, 8);
    for (uint32_t i = 0; i < count; i++) {
      assert_false(commands[i].is_evict);
      ops()->submit(self(), now(), &commands[i].command);
    }
  } while (count == 8);
  struct executor_result result;
  while (executor_next_results(suite.executor, &result, 1) == 1) {
    assert_in_range(result.action_id, 1, suite.actions_count);
    assert_false(suite.is_answered[result.action_id]);
    suite.is_answered[result.action_id] = true;
    suite.results[result.action_id] = result;
    suite.results_count++;
  }
  executor_validate(suite.executor);
}

static void wait_for_results(uint64_t count) {
  turn();
  while (suite.results_count < count) {
    suite.subject.wait(&suite.subject, executor_wakeup(suite.executor));
    turn();
  }
}

static uint64_t send(enum action_type type, uint32_t gpu_index, uint32_t model_id, float *outputs) {
  assert_true(suite.actions_count < ACTIONS_MAX);
  const struct executor_action action = {.action_id = ++suite.actions_count,
                                         .type = type,
                                         .gpu_index = gpu_index,
                                         .model_id = model_id,
                                         .batch_size = 1,
                                         .earliest = now(),
                                         .latest = instant_add(now(), duration_s(3600)),
                                         .io = {.inputs = &suite.input, .outputs = outputs}};
  assert_true(executor_on_action(suite.executor, now(), &action));
  return action.action_id;
}

static enum action_status run(enum action_type type, uint32_t gpu_index, uint32_t model_id,
                              float *outputs) {
  const uint64_t id = send(type, gpu_index, model_id, outputs);
  wait_for_results(suite.actions_count);
  return suite.results[id].status;
}

static enum action_status load_model(uint32_t first_model_id, struct model_spec *ret_spec) {
  struct backend_load_model job = {.job_id = 7, .first_model_id = first_model_id, .copies = 1};
  snprintf(job.path, sizeof(job.path), "%s", suite.subject.paths[PACKAGE]);
  assert_int_equal(ops()->load_model(self(), now(), &job), ERR_OK);
  struct backend_loaded_model loaded = {.job_id = 0};
  while (ops()->poll_loaded(self(), now(), &loaded, 1) == 0) {
    suite.subject.wait(&suite.subject, INSTANT_NEVER);
  }
  assert_int_equal(loaded.job_id, 7);
  *ret_spec = loaded.spec;
  return loaded.status;
}

/* ------------------------------------------------------------------------------ inputs, outputs */

static void assert_right(const float *outputs) {
  const size_t count = (size_t)suite.spec.output_bytes / sizeof(float);
  float largest = 0.0F;
  for (size_t i = 0; i < count; i++) {
    largest = fmaxf(largest, fabsf(suite.expected[i]));
  }
  assert_true(largest > 0.0F);
  for (size_t i = 0; i < count; i++) {
    assert_true(fabsf(outputs[i] - suite.expected[i]) <= largest * suite.subject.output_tolerance);
  }
}

static void take_buffers(void) {
  const size_t input_count = (size_t)suite.spec.input_bytes / sizeof(float);
  suite.values = calloc(input_count, sizeof(float));
  suite.expected = calloc(1, (size_t)suite.spec.output_bytes);
  assert_non_null(suite.values);
  assert_non_null(suite.expected);
  for (size_t i = 0; i < input_count; i++) {
    suite.values[i] = (float)(i % 100) / 100.0F;
  }
  suite.input = suite.values;
  for (int i = 0; i < AT_ONCE; i++) {
    suite.outputs[i] = calloc(1, (size_t)suite.spec.output_bytes);
    assert_non_null(suite.outputs[i]);
  }
}

/* --------------------------------------------------------------------------------------- set-up */

static void open_executor(void) {
  struct backend_gpu gpus[GPUS_MAX];
  suite.gpus_count = ops()->gpus_count(self());
  assert_in_range(suite.gpus_count, 1, GPUS_MAX);
  struct executor_limits limits = {
      .models = suite.subject.models_max, .actions = 256, .gpus = suite.gpus_count};
  for (uint32_t i = 0; i < suite.gpus_count; i++) {
    ops()->gpu(self(), i, &gpus[i]);
    assert_false(gpus[i].is_lost);
    assert_string_equal(gpus[i].lost_reason, "");
    limits.pages_per_gpu =
        gpus[i].pages > limits.pages_per_gpu ? gpus[i].pages : limits.pages_per_gpu;
  }
  suite.memory = test_memory_take(executor_bytes(&limits));
  suite.executor = executor_init(suite.memory, &limits, gpus, suite.gpus_count);
}

static int open_subject(void **state) {
  bool (*open)(struct conformance_subject *) = NULL;
  memcpy(&open, *state, sizeof(open));
  memset(&suite, 0, sizeof(suite));
  if (!open(&suite.subject)) {
    print_message("SKIPPED: this machine has no such device\n");
  }
  return 0;
}

static int close_subject(void **state) {
  (void)state;
  if (ops() == NULL) {
    return 0;
  }
  suite.subject.close(&suite.subject);
  free(suite.memory);
  free(suite.values);
  free(suite.expected);
  for (int i = 0; i < AT_ONCE; i++) {
    free(suite.outputs[i]);
  }
  return 0;
}

/* ------------------------------------------------------------------------------------- the test */

/* AT_ONCE INFERs on two GPUs (which may be one); how many were answered that the first one is lost.
 * All others succeed, with the right outputs. */
static uint32_t run_some(uint32_t gpu_index, uint32_t other_index) {
  const uint64_t first = suite.actions_count + 1;
  for (int i = 0; i < AT_ONCE; i++) {
    memset(suite.outputs[i], 0, (size_t)suite.spec.output_bytes);
    send(ACTION_INFER, i % 2 == 0 ? gpu_index : other_index, FIRST_MODEL, suite.outputs[i]);
  }
  wait_for_results(suite.actions_count);
  uint32_t lost = 0;
  for (uint64_t i = 0; i < AT_ONCE; i++) {
    const struct executor_result *result = &suite.results[first + i];
    if (result->status == ACTION_GPU_LOST) {
      assert_true(result->gpu_index == gpu_index || suite.subject.loses_together);
      lost += result->gpu_index == gpu_index;
    } else {
      assert_int_equal(result->status, ACTION_SUCCESS);
      assert_right(suite.outputs[i]);
    }
  }
  return lost;
}

/* Commands are answered, however they come. */
static void assert_lost_to_commands(uint32_t gpu_index) {
  static const uint32_t pages[64] = {0, 1, 2, 3, 4, 5, 6, 7};
  assert_true(suite.spec.weights_pages <= 8);
  for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
    const struct backend_io io = {.inputs = &suite.input, .outputs = suite.outputs[0]};
    const struct backend_command command = {.command_id = 1000 + (uint64_t)engine,
                                            .engine = (enum backend_engine)engine,
                                            .gpu_index = gpu_index,
                                            .model_id = FIRST_MODEL,
                                            .batch_size = 1,
                                            .pages = pages,
                                            .io = &io};
    ops()->submit(self(), now(), &command);
    struct backend_completion completion;
    while (ops()->poll(self(), now(), &completion, 1) == 0) {
      suite.subject.wait(&suite.subject, INSTANT_NEVER);
    }
    assert_int_equal(completion.command_id, command.command_id);
    assert_int_equal(completion.status, ACTION_GPU_LOST);
  }
  ops()->evict(self(), now(), gpu_index, FIRST_MODEL, pages, suite.spec.weights_pages);
  struct backend_gpu gpu;
  ops()->gpu(self(), gpu_index, &gpu);
  assert_true(gpu.is_lost);
  assert_true(strnlen(gpu.lost_reason, sizeof(gpu.lost_reason)) > 0);
}

static bool is_lost(uint32_t gpu_index) {
  struct executor_gpu_state gpu;
  executor_gpu_state(suite.executor, gpu_index, &gpu);
  return gpu.is_lost;
}

/* A new model for the GPUs that are left, or none is. */
static void load_another(uint32_t model_id, uint32_t gpu_index) {
  struct model_spec spec;
  const enum action_status status = load_model(model_id, &spec);
  if (status != ACTION_SUCCESS) {
    assert_int_equal(status, ACTION_GPU_LOST);
    assert_int_equal(ops()->lost_count(self()), suite.gpus_count);
    return;
  }
  assert_true(ops()->lost_count(self()) < suite.gpus_count);
  assert_true(executor_on_model_loaded(suite.executor, model_id, 1, &spec));
  if (!suite.subject.loses_together) {
    assert_int_equal(run(ACTION_LOAD, gpu_index, model_id, NULL), ACTION_SUCCESS);
    assert_int_equal(run(ACTION_INFER, gpu_index, model_id, suite.outputs[0]), ACTION_SUCCESS);
    assert_right(suite.outputs[0]);
  }
}

/* Work goes on until the first answer tells. What was lost together with another is met by the
 * first work it gets. */
static void lose_under_load(uint32_t gpu_index, uint32_t other_index) {
  const bool is_first = ops()->lost_count(self()) == 0;
  const uint32_t lost = run_some(gpu_index, other_index);
  assert_true(lost == 0 || (suite.subject.loses_together && !is_first));
  if (!is_lost(gpu_index)) {
    suite.subject.lose(&suite.subject, gpu_index);
    while (run_some(gpu_index, other_index) == 0) {
    }
  }
}

static void the_loss_of_gpus_is_survived(void **state) {
  (void)state;
  if (ops() == NULL) {
    skip();
  }
  open_executor();
  assert_int_equal(load_model(FIRST_MODEL, &suite.spec), ACTION_SUCCESS);
  assert_true(executor_on_model_loaded(suite.executor, FIRST_MODEL, 1, &suite.spec));
  take_buffers();
  for (uint32_t i = 0; i < suite.gpus_count; i++) {
    assert_int_equal(run(ACTION_LOAD, i, FIRST_MODEL, NULL), ACTION_SUCCESS);
  }
  assert_int_equal(run(ACTION_INFER, 0, FIRST_MODEL, suite.expected), ACTION_SUCCESS);

  /* The first goes first: what all share was made through it. */
  const uint32_t last = suite.gpus_count - 1;
  for (uint32_t gpu = 0; gpu <= last; gpu++) {
    lose_under_load(gpu, last);
    const enum action_type types[] = {ACTION_LOAD, ACTION_INFER, ACTION_EVICT};
    for (int i = 0; i < 3; i++) {
      assert_int_equal(run(types[i], gpu, FIRST_MODEL, NULL), ACTION_GPU_LOST);
    }
    assert_lost_to_commands(gpu);
    assert_true(ops()->lost_count(self()) > gpu);
    load_another(FIRST_MODEL + 1 + gpu, last);
  }
  assert_int_equal(ops()->lost_count(self()), suite.gpus_count);
  print_message("%u of %u GPUs lost, %u actions answered once each\n", ops()->lost_count(self()),
                suite.gpus_count, suite.results_count);
}

#define OPEN_(subject)                                                                             \
  static bool (*open_##subject)(struct conformance_subject *) = conformance_open_##subject;
#define CASE_(subject)                                                                             \
  {#subject ": the_loss_of_gpus_is_survived", the_loss_of_gpus_is_survived, open_subject,          \
   close_subject, &open_##subject},

/* A core of a processor is not lost alone. */
#define LOSABLE(X) X(emulated) X(cuda)

LOSABLE(OPEN_)

int main(void) {
  const struct CMUnitTest tests[] = {LOSABLE(CASE_)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
