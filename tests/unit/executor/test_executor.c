/* What actions do and how they are refused. Windows have their own test. */
#include "support/death.h"
#include "unit/executor/rig.h"

enum { IO_PLENTY = 1 << 20 };

static void an_inference_takes_three_steps(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 3);
  const void *inputs[2] = {"a", "b"};
  unsigned char outputs[2 * RIG_OUTPUT_BYTES];
  struct executor_action action = rig_action(&rig, ACTION_INFER, 3, rig_at(0), rig_at(1000));
  action.batch_size = 2;
  action.io = (struct backend_io){.inputs = inputs, .outputs = outputs};
  rig_send(&rig, &action);
  assert_int_equal(rig_pump(&rig), 1);
  const struct backend_command input = rig.running[0][BACKEND_ENGINE_INPUT];
  assert_ptr_equal(input.io->inputs, inputs);
  assert_int_equal(input.batch_size, 2);
  rig_move_to(&rig, rig_at(10));
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  const struct backend_command execute = rig.running[0][BACKEND_ENGINE_EXECUTE];
  assert_int_equal(execute.batch_size, 2);
  assert_int_equal(execute.io_slot, input.io_slot);
  rig_move_to(&rig, rig_at(30));
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  rig_assert_no_result(&rig);
  const struct backend_command output = rig.running[0][BACKEND_ENGINE_OUTPUT];
  assert_ptr_equal(output.io->outputs, outputs);
  assert_int_equal(output.io_slot, input.io_slot);
  rig_move_to(&rig, rig_at(35));
  rig_end(&rig, BACKEND_ENGINE_OUTPUT);
  const struct executor_result result = rig_result(&rig);
  assert_int_equal(result.status, ACTION_SUCCESS);
  assert_int_equal(result.type, ACTION_INFER);
  assert_int_equal(result.model_id, 3);
  assert_int_equal(result.batch_size, 2);
  assert_int_equal(result.input.begin.ns, rig_at(0).ns);
  assert_int_equal(result.input.end.ns, rig_at(10).ns);
  assert_int_equal(result.run.begin.ns, rig_at(10).ns);
  assert_int_equal(result.run.end.ns, rig_at(30).ns);
  assert_int_equal(result.output.begin.ns, rig_at(30).ns);
  assert_int_equal(result.output.end.ns, rig_at(35).ns);
  assert_int_equal(result.clock_before_mhz, 1380);
  assert_int_equal(result.clock_after_mhz, 1370);
  rig_assert_no_result(&rig);
  rig_close(&rig);
}

static void four_engines_run_beside_each_other(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  for (int i = 0; i < 3; i++) {
    rig_send_now(&rig, ACTION_INFER, 0);
  }
  rig_send_now(&rig, ACTION_LOAD, 1);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
    assert_true(rig.is_running[0][engine]);
  }
  rig_close(&rig);
}

static void gpus_do_not_wait_for_each_other(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  struct executor_action action = rig_action(&rig, ACTION_LOAD, 0, rig.now, rig_at(1000));
  rig_send(&rig, &action);
  action = rig_action(&rig, ACTION_LOAD, 0, rig.now, rig_at(1000));
  action.gpu_index = 1;
  rig_send(&rig, &action);
  assert_int_equal(rig_pump(&rig), 2);
  assert_int_equal(rig_runs_on(&rig, 0, BACKEND_ENGINE_LOAD), 0);
  assert_int_equal(rig_runs_on(&rig, 1, BACKEND_ENGINE_LOAD), 0);
  rig_end_on(&rig, 1, BACKEND_ENGINE_LOAD, ACTION_SUCCESS);
  assert_true(executor_is_resident(rig.executor, 1, 0));
  assert_false(executor_is_resident(rig.executor, 0, 0));
  rig_close(&rig);
}

static void order_is_earliest_then_arrival(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_now(&rig, ACTION_LOAD, 0); /* keeps the engine */
  rig_pump(&rig);
  rig_send_window(&rig, ACTION_LOAD, 1, rig_at(5), rig_at(1000));
  rig_send_window(&rig, ACTION_LOAD, 2, rig_at(4), rig_at(2000));
  rig_send_window(&rig, ACTION_LOAD, 3, rig_at(4), rig_at(1000));
  rig_move_to(&rig, rig_at(10));
  const uint32_t order[] = {2, 3, 1};
  for (int i = 0; i < 3; i++) {
    rig_end(&rig, BACKEND_ENGINE_LOAD);
    assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_LOAD), order[i]);
    /* Make room: not what this test is about. */
    rig_send_now(&rig, ACTION_EVICT, i == 0 ? 0 : order[i - 1]);
    rig_pump(&rig);
  }
  rig_close(&rig);
}

/* An earlier one that opens later keeps nobody waiting, and takes its turn when it opens. */
static void executions_start_in_order(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  rig_load(&rig, 1);
  rig_send_window(&rig, ACTION_INFER, 0, rig_at(300), rig_at(10000));
  rig_send_window(&rig, ACTION_INFER, 1, rig_at(100), rig_at(10000));
  rig_pump(&rig);
  /* The input engine, too, takes the smaller `earliest`, though it came second. */
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_INPUT), 1);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_EXECUTE), MODEL_ID_NONE);
  rig_pump_at(&rig, rig_at(100));
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_EXECUTE), 1);
  rig_pump_at(&rig, rig_at(400));
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_EXECUTE), 0);
  rig_close(&rig);
}

static void assert_refused(struct rig *rig, struct executor_action action,
                           enum action_status status) {
  rig_assert_result(rig, rig_send(rig, &action), status);
  assert_int_equal(rig_pump(rig), 0);
}

static void nonsense_is_refused_at_once(void **state) {
  (void)state;
  struct rig rig = rig_open((RIG_INPUT_BYTES + RIG_OUTPUT_BYTES) * 3);
  const struct instant latest = rig_at(1000);
  struct executor_action action = rig_action(&rig, (enum action_type)77, 0, rig.now, latest);
  assert_refused(&rig, action, ACTION_INVALID);
  action = rig_action(&rig, ACTION_LOAD, 0, rig.now, latest);
  action.gpu_index = RIG_GPUS;
  assert_refused(&rig, action, ACTION_INVALID_GPU);
  action.gpu_index = UINT32_MAX;
  assert_refused(&rig, action, ACTION_INVALID_GPU);
  const uint32_t unknown[] = {RIG_MODELS, RIG_MODELS + 1, UINT32_MAX};
  for (int i = 0; i < 3; i++) {
    assert_refused(&rig, rig_action(&rig, ACTION_LOAD, unknown[i], rig.now, latest),
                   ACTION_LOAD_UNKNOWN_MODEL);
    assert_refused(&rig, rig_action(&rig, ACTION_EVICT, unknown[i], rig.now, latest),
                   ACTION_EVICT_UNKNOWN_MODEL);
    assert_refused(&rig, rig_action(&rig, ACTION_INFER, unknown[i], rig.now, latest),
                   ACTION_INPUT_UNKNOWN_MODEL);
  }
  const uint32_t batches[] = {0, 3, 5, UINT32_MAX};
  for (int i = 0; i < 4; i++) {
    action = rig_action(&rig, ACTION_INFER, 0, rig.now, latest);
    action.batch_size = batches[i];
    assert_refused(&rig, action, ACTION_INVALID_BATCH_SIZE);
  }
  action.batch_size = 4; /* more than the whole IO pool */
  assert_refused(&rig, action, ACTION_INPUT_IO_POOL);
  rig_close(&rig);
}

static void loads_are_refused_when_they_make_no_sense(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const uint64_t twice = rig_send_now(&rig, ACTION_LOAD, 0);
  rig_pump(&rig);
  rig_assert_result(&rig, twice, ACTION_WEIGHTS_ALREADY_LOADED);
  rig_send_now(&rig, ACTION_LOAD, 1);
  const uint64_t beside = rig_send_now(&rig, ACTION_LOAD, 1);
  rig_pump(&rig);
  rig_assert_result(&rig, beside, ACTION_LOAD_CONCURRENT_CHANGE);
  /* Not yet its turn while its window is closed: then it is there already. */
  const uint64_t later = rig_send_window(&rig, ACTION_LOAD, 1, rig_at(100), rig_at(200));
  rig_pump(&rig);
  rig_assert_no_result(&rig);
  rig_end(&rig, BACKEND_ENGINE_LOAD);
  rig_result(&rig);
  rig_pump_at(&rig, rig_at(100));
  rig_assert_result(&rig, later, ACTION_WEIGHTS_ALREADY_LOADED);
  /* 2 of 8 pages are free. */
  const uint64_t third = rig_send_now(&rig, ACTION_LOAD, 2);
  rig_pump(&rig);
  rig_assert_result(&rig, third, ACTION_LOAD_INSUFFICIENT_CACHE);
  rig_close(&rig);
}

static void a_window_that_opens_during_the_same_load_is_refused_then(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_now(&rig, ACTION_LOAD, 1);
  const uint64_t later = rig_send_window(&rig, ACTION_LOAD, 1, rig_at(100), rig_at(200));
  rig_pump(&rig);
  assert_int_equal(executor_wakeup(rig.executor).ns, rig_at(100).ns);
  rig_pump_at(&rig, rig_at(100));
  rig_assert_result(&rig, later, ACTION_LOAD_CONCURRENT_CHANGE);
  rig_close(&rig);
}

static void weights_in_use_are_not_evicted(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_now(&rig, ACTION_LOAD, 0);
  rig_pump(&rig);
  const uint64_t loading = rig_send_now(&rig, ACTION_EVICT, 0);
  rig_pump(&rig);
  rig_assert_result(&rig, loading, ACTION_WEIGHTS_IN_USE);
  rig_end(&rig, BACKEND_ENGINE_LOAD);
  rig_result(&rig);
  const uint64_t infer = rig_send_now(&rig, ACTION_INFER, 0);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  const uint64_t executing = rig_send_now(&rig, ACTION_EVICT, 0);
  rig_pump(&rig);
  rig_assert_result(&rig, executing, ACTION_WEIGHTS_IN_USE);
  assert_int_equal(executor_on_clear_cache(rig.executor, rig.now), 0);
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  /* Its output still being copied needs no weights. */
  const uint64_t copying = rig_send_now(&rig, ACTION_EVICT, 0);
  assert_int_equal(rig_pump(&rig), 1);
  rig_assert_result(&rig, copying, ACTION_SUCCESS);
  rig_end(&rig, BACKEND_ENGINE_OUTPUT);
  rig_assert_result(&rig, infer, ACTION_SUCCESS);
  const uint64_t gone = rig_send_now(&rig, ACTION_EVICT, 0);
  rig_pump(&rig);
  rig_assert_result(&rig, gone, ACTION_EVICT_NOT_IN_CACHE);
  rig_close(&rig);
}

static void weights_missing_at_the_start_of_execution(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  const uint64_t never_loaded = rig_send_now(&rig, ACTION_INFER, 0);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, never_loaded, ACTION_EXECUTE_WEIGHTS_MISSING);
  /* Evicted while the input was copied. */
  rig_load(&rig, 1);
  const uint64_t evicted = rig_send_now(&rig, ACTION_INFER, 1);
  rig_pump(&rig);
  rig_send_now(&rig, ACTION_EVICT, 1);
  rig_pump(&rig);
  rig_result(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, evicted, ACTION_EXECUTE_WEIGHTS_MISSING);
  /* Half loaded is not loaded. */
  rig_send_now(&rig, ACTION_LOAD, 2);
  const uint64_t loading = rig_send_now(&rig, ACTION_INFER, 2);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, loading, ACTION_EXECUTE_WEIGHTS_MISSING);
  /* The refused gave their slots back. */
  rig_end(&rig, BACKEND_ENGINE_LOAD);
  rig_result(&rig);
  for (int i = 0; i < BACKEND_IO_SLOTS + 1; i++) {
    rig_send_now(&rig, ACTION_INFER, 2);
  }
  rig_pump(&rig);
  for (int i = 0; i < BACKEND_IO_SLOTS; i++) {
    rig_end(&rig, BACKEND_ENGINE_INPUT);
  }
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_INPUT), MODEL_ID_NONE);
  rig_close(&rig);
}

static void evict_makes_room_for_a_load_at_the_same_moment(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  rig_load(&rig, 1);
  /* The load even arrives first; one command at a time. */
  rig_send_now(&rig, ACTION_LOAD, 2);
  rig_send_now(&rig, ACTION_EVICT, 0);
  rig_send_now(&rig, ACTION_EVICT, 1);
  assert_int_equal(rig_pump_by(&rig, 1), 3);
  assert_int_equal(rig.evicted_count, 2);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_LOAD), 2);
  rig_close(&rig);
}

static void a_failed_load_gives_its_pages_back(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  for (int i = 0; i < 5; i++) {
    const uint64_t id = rig_send_now(&rig, ACTION_LOAD, 0);
    rig_pump(&rig);
    rig_end_on(&rig, 0, BACKEND_ENGINE_LOAD, ACTION_RUNTIME_ERROR);
    rig_pump(&rig);
    rig_assert_result(&rig, id, ACTION_RUNTIME_ERROR);
    assert_false(executor_is_resident(rig.executor, 0, 0));
  }
  struct executor_gpu_state gpu;
  executor_gpu_state(rig.executor, 0, &gpu);
  assert_int_equal(gpu.pages_free, RIG_PAGES);
  rig_load(&rig, 0);
  rig_close(&rig);
}

static void a_failed_step_ends_an_inference(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const enum backend_engine engines[] = {BACKEND_ENGINE_INPUT, BACKEND_ENGINE_EXECUTE,
                                         BACKEND_ENGINE_OUTPUT};
  for (int fails = 0; fails < 3; fails++) {
    const uint64_t id = rig_send_now(&rig, ACTION_INFER, 0);
    rig_pump(&rig);
    for (int i = 0; i < fails; i++) {
      rig_end(&rig, engines[i]);
    }
    rig_end_on(&rig, 0, engines[fails], ACTION_RUNTIME_ERROR);
    rig_pump(&rig);
    rig_assert_result(&rig, id, ACTION_RUNTIME_ERROR);
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      assert_false(rig.is_running[0][engine]);
    }
  }
  rig_close(&rig);
}

static void lack_of_io_is_a_wait(void **state) {
  (void)state;
  struct rig rig = rig_open((RIG_INPUT_BYTES + RIG_OUTPUT_BYTES) * 2);
  rig_load(&rig, 0);
  rig_send_now(&rig, ACTION_INFER, 0);
  rig_send_now(&rig, ACTION_INFER, 0);
  rig_send_now(&rig, ACTION_INFER, 0);
  const uint64_t fourth = rig_send_window(&rig, ACTION_INFER, 0, rig.now, rig_at(50));
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_INPUT), MODEL_ID_NONE);
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_INPUT), MODEL_ID_NONE);
  rig_end(&rig, BACKEND_ENGINE_OUTPUT);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_INPUT), 0); /* the third */
  rig_result(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_pump_at(&rig, executor_wakeup(rig.executor));
  assert_int_equal(rig.now.ns, rig_at(50).ns + 1);
  rig_assert_result(&rig, fourth, ACTION_INPUT_IO_POOL);
  rig_close(&rig);
}

static void clear_cache_evicts_all_that_is_idle(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  rig_load(&rig, 1);
  rig_send_now(&rig, ACTION_INFER, 1);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  assert_int_equal(executor_on_clear_cache(rig.executor, rig.now), RIG_MODEL_PAGES);
  struct executor_gpu_state gpu;
  executor_gpu_state(rig.executor, 0, &gpu);
  assert_int_equal(gpu.pages_total, RIG_PAGES);
  assert_int_equal(gpu.pages_free, RIG_PAGES - RIG_MODEL_PAGES);
  assert_int_equal(gpu.models_resident, 1);
  assert_int_equal(executor_wakeup(rig.executor).ns, INSTANT_ZERO.ns);
  assert_int_equal(rig_pump(&rig), 1);
  assert_int_equal(rig.evicted_count, 1);
  assert_true(executor_is_resident(rig.executor, 0, 1));
  /* Evicted and loaded again before anybody asked for commands. */
  rig_load(&rig, 0);
  assert_int_equal(executor_on_clear_cache(rig.executor, rig.now), RIG_MODEL_PAGES);
  rig_load(&rig, 0);
  assert_int_equal(rig.evicted_count, 2);
  rig_close(&rig);
}

static void shutdown_refuses_what_has_not_started(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const uint64_t running = rig_send_now(&rig, ACTION_INFER, 0);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  const uint64_t copied = rig_send_now(&rig, ACTION_INFER, 0);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  const uint64_t copying = rig_send_now(&rig, ACTION_INFER, 0);
  rig_pump(&rig);
  const uint64_t evict = rig_send_window(&rig, ACTION_EVICT, 0, rig_at(100), rig_at(200));
  const uint64_t load = rig_send_window(&rig, ACTION_LOAD, 1, rig_at(100), rig_at(200));
  const uint64_t input = rig_send_now(&rig, ACTION_INFER, 0);
  executor_on_shutdown(rig.executor);
  rig_assert_result(&rig, evict, ACTION_SHUTTING_DOWN);
  rig_assert_result(&rig, load, ACTION_SHUTTING_DOWN);
  rig_assert_result(&rig, input, ACTION_SHUTTING_DOWN);
  rig_assert_result(&rig, copied, ACTION_SHUTTING_DOWN);
  rig_assert_no_result(&rig);
  assert_int_equal(rig_pump(&rig), 0);
  rig_assert_result(&rig, rig_send_now(&rig, ACTION_INFER, 0), ACTION_SHUTTING_DOWN);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, copying, ACTION_SHUTTING_DOWN);
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  rig_end(&rig, BACKEND_ENGINE_OUTPUT);
  rig_assert_result(&rig, running, ACTION_SUCCESS);
  assert_int_equal(executor_wakeup(rig.executor).ns, INSTANT_NEVER.ns);
  rig_close(&rig);
}

static struct executor_action action_on(struct rig *rig, uint32_t gpu_index, enum action_type type,
                                        uint32_t model_id) {
  struct executor_action action =
      rig_action(rig, type, model_id, rig->now, instant_add(rig->now, duration_s(1)));
  action.gpu_index = gpu_index;
  return action;
}

/* GPU 0 with something at every stage and on every engine; GPU 1 with a model. */
static void a_lost_gpu_answers_everything_and_takes_no_more(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  struct executor_action other = action_on(&rig, 1, ACTION_LOAD, 0);
  rig_send(&rig, &other);
  rig_pump(&rig);
  rig_end_on(&rig, 1, BACKEND_ENGINE_LOAD, ACTION_SUCCESS);
  rig_assert_result(&rig, other.action_id, ACTION_SUCCESS);

  uint64_t infers[5];
  for (int i = 0; i < 5; i++) {
    infers[i] = rig_send_now(&rig, ACTION_INFER, 0);
  }
  const uint64_t loading = rig_send_now(&rig, ACTION_LOAD, 1);
  const uint64_t load = rig_send_now(&rig, ACTION_LOAD, 2);
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);   /* 0 executes, 1 is copied */
  rig_end(&rig, BACKEND_ENGINE_INPUT);   /* 1 waits to execute, 2 is copied */
  rig_end(&rig, BACKEND_ENGINE_EXECUTE); /* 0 is copied out, 1 executes */
  rig_end(&rig, BACKEND_ENGINE_EXECUTE); /* 1 waits to be copied out */
  rig_end(&rig, BACKEND_ENGINE_INPUT);   /* 2 executes, 3 is copied; 4 waits */
  const uint64_t evict = rig_send_window(&rig, ACTION_EVICT, 3, rig_at(1000000), rig_at(2000000));

  executor_on_gpu_lost(rig.executor, 0);
  assert_int_equal(rig_pump(&rig), 0);
  rig_assert_result(&rig, evict, ACTION_GPU_LOST);
  rig_assert_result(&rig, load, ACTION_GPU_LOST);
  rig_assert_result(&rig, infers[4], ACTION_GPU_LOST);
  rig_assert_result(&rig, infers[1], ACTION_GPU_LOST);
  rig_assert_no_result(&rig);
  assert_false(executor_is_resident(rig.executor, 0, 0));
  struct executor_gpu_state gpu;
  executor_gpu_state(rig.executor, 0, &gpu);
  assert_true(gpu.is_lost);
  assert_int_equal(gpu.pages_total + gpu.pages_free + gpu.models_resident, 0);

  /* What ran may still have made it; only an output that is on the host is of use. */
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, infers[3], ACTION_GPU_LOST);
  rig_end(&rig, BACKEND_ENGINE_EXECUTE);
  rig_assert_result(&rig, infers[2], ACTION_GPU_LOST);
  rig_end(&rig, BACKEND_ENGINE_LOAD);
  rig_assert_result(&rig, loading, ACTION_GPU_LOST);
  rig_end(&rig, BACKEND_ENGINE_OUTPUT);
  rig_assert_result(&rig, infers[0], ACTION_SUCCESS);

  const enum action_type types[] = {ACTION_LOAD, ACTION_INFER, ACTION_EVICT};
  for (int i = 0; i < 3; i++) {
    rig_assert_result(&rig, rig_send_now(&rig, types[i], 0), ACTION_GPU_LOST);
  }
  assert_int_equal(rig_pump(&rig), 0);
  assert_int_equal(executor_wakeup(rig.executor).ns, INT64_MAX);

  /* The other goes on. */
  other = action_on(&rig, 1, ACTION_INFER, 0);
  rig_send(&rig, &other);
  rig_pump(&rig);
  for (int engine = BACKEND_ENGINE_INPUT; engine <= BACKEND_ENGINE_OUTPUT; engine++) {
    rig_end_on(&rig, 1, (enum backend_engine)engine, ACTION_SUCCESS);
    rig_pump(&rig);
  }
  rig_assert_result(&rig, other.action_id, ACTION_SUCCESS);
  assert_int_equal(executor_on_clear_cache(rig.executor, rig.now), RIG_MODEL_PAGES);
  rig_close(&rig);
}

static void a_completion_can_say_that_the_gpu_is_lost(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const uint64_t first = rig_send_now(&rig, ACTION_INFER, 0);
  const uint64_t second = rig_send_now(&rig, ACTION_INFER, 0);
  rig_pump(&rig);
  rig_end_on(&rig, 0, BACKEND_ENGINE_INPUT, ACTION_GPU_LOST);
  assert_int_equal(rig_pump(&rig), 0);
  rig_assert_result(&rig, second, ACTION_GPU_LOST);
  rig_assert_result(&rig, first, ACTION_GPU_LOST);
  executor_on_gpu_lost(rig.executor, 0);
  rig_assert_no_result(&rig);
  rig_close(&rig);
}

static void too_many_actions_are_not_taken(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  struct executor_action action = rig_action(&rig, ACTION_LOAD, 0, rig_at(100), rig_at(200));
  for (int i = 0; i < RIG_ACTIONS; i++) {
    assert_true(executor_on_action(rig.executor, rig.now, &action));
  }
  assert_false(executor_on_action(rig.executor, rig.now, &action));
  /* A refusal takes a slot as well, until its result is fetched. */
  rig_pump_at(&rig, rig_at(300));
  assert_false(executor_on_action(rig.executor, rig.now, &action));
  struct executor_result results[RIG_ACTIONS + 1];
  assert_int_equal(executor_next_results(rig.executor, results, 10), 10);
  assert_true(executor_on_action(rig.executor, rig.now, &action));
  assert_int_equal(executor_next_results(rig.executor, results, RIG_ACTIONS + 1),
                   RIG_ACTIONS - 10 + 1);
  rig_close(&rig);
}

static void models_are_taken_once_and_only_if_valid(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  struct model_spec spec = rig_spec();
  assert_false(executor_on_model_loaded(rig.executor, 0, 1, &spec));
  assert_false(executor_on_model_loaded(rig.executor, RIG_MODELS, 0, &spec));
  assert_false(executor_on_model_loaded(rig.executor, RIG_MODELS, 2, &spec));
  assert_false(executor_on_model_loaded(rig.executor, RIG_MODELS + 1, 1, &spec));
  spec.weights_pages++;
  assert_false(executor_on_model_loaded(rig.executor, RIG_MODELS, 1, &spec));
  assert_null(executor_model(rig.executor, RIG_MODELS));
  spec = rig_spec();
  assert_true(executor_on_model_loaded(rig.executor, RIG_MODELS, 1, &spec));
  assert_string_equal(executor_model(rig.executor, RIG_MODELS)->name, "rig");
  assert_null(executor_model(rig.executor, UINT32_MAX));
  rig_close(&rig);
}

static void one_load_more_than_the_limit_is_refused(void **state) {
  (void)state;
  const struct backend_gpu gpu = {.pages = 4};
  const struct executor_limits limits = {
      .models = 8, .loads = 1, .actions = 1, .gpus = 1, .pages_per_gpu = 4};
  void *memory = test_memory_take(executor_bytes(&limits));
  struct executor *executor = executor_init(memory, &limits, &gpu, 1);
  const struct model_spec spec = rig_spec();
  assert_true(executor_on_model_loaded(executor, 2, 5, &spec));
  assert_non_null(executor_model(executor, 6));
  assert_null(executor_model(executor, 7));
  assert_false(executor_on_model_loaded(executor, 7, 1, &spec));
  free(memory);
}

static void complete_nothing(void *executor) {
  const struct backend_completion completion = {.command_id = 1};
  executor_on_completion(executor, INSTANT_ZERO, &completion);
}

static void complete_twice(void *rig) {
  struct rig *of = rig;
  const struct backend_completion completion = {.command_id =
                                                    of->running[0][BACKEND_ENGINE_LOAD].command_id};
  executor_on_completion(of->executor, of->now, &completion);
  executor_on_completion(of->executor, of->now, &completion);
}

static void a_backend_that_completes_what_does_not_run_is_a_bug(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_now(&rig, ACTION_LOAD, 0);
  rig_pump(&rig);
  assert_true(test_dies(complete_nothing, rig.executor));
  assert_true(test_dies(complete_twice, &rig));
  rig_close(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_inference_takes_three_steps),
      cmocka_unit_test(four_engines_run_beside_each_other),
      cmocka_unit_test(gpus_do_not_wait_for_each_other),
      cmocka_unit_test(order_is_earliest_then_arrival),
      cmocka_unit_test(executions_start_in_order),
      cmocka_unit_test(nonsense_is_refused_at_once),
      cmocka_unit_test(loads_are_refused_when_they_make_no_sense),
      cmocka_unit_test(a_window_that_opens_during_the_same_load_is_refused_then),
      cmocka_unit_test(weights_in_use_are_not_evicted),
      cmocka_unit_test(weights_missing_at_the_start_of_execution),
      cmocka_unit_test(evict_makes_room_for_a_load_at_the_same_moment),
      cmocka_unit_test(a_failed_load_gives_its_pages_back),
      cmocka_unit_test(a_failed_step_ends_an_inference),
      cmocka_unit_test(lack_of_io_is_a_wait),
      cmocka_unit_test(clear_cache_evicts_all_that_is_idle),
      cmocka_unit_test(shutdown_refuses_what_has_not_started),
      cmocka_unit_test(a_lost_gpu_answers_everything_and_takes_no_more),
      cmocka_unit_test(a_completion_can_say_that_the_gpu_is_lost),
      cmocka_unit_test(too_many_actions_are_not_taken),
      cmocka_unit_test(models_are_taken_once_and_only_if_valid),
      cmocka_unit_test(one_load_more_than_the_limit_is_refused),
      cmocka_unit_test(a_backend_that_completes_what_does_not_run_is_a_bug),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
