/* Which weights go where: LOADs, evictions, workers that come and go. All models are resnet50:
 * 7 pages, LOAD 8.32 ms, batch 1 2.73 ms. */
#include "support/cluster.h"
#include "support/cmocka.h"

static struct cluster *open_cluster(uint32_t workers, uint32_t pages, uint32_t models) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  for (uint32_t id = 0; id < models; id++) {
    cluster_add_model(cluster, id, &spec);
  }
  for (uint32_t id = 0; id < workers; id++) {
    const struct cluster_gpu_options gpu = {.pages = pages, .clock_mhz = 1000};
    cluster_worker_up(cluster, id, &gpu, 1);
  }
  return cluster;
}

static enum request_result result_of(const struct cluster *cluster, uint64_t tag) {
  assert_true(cluster_answer(cluster, tag)->is_answered);
  return cluster_answer(cluster, tag)->answer.result;
}

static void serve(struct cluster *cluster, uint32_t model_id) {
  const uint64_t tag = cluster_request(cluster, model_id, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, tag), REQUEST_SUCCESS);
  scheduler_validate(cluster->scheduler);
}

static uint32_t holders(const struct cluster *cluster, uint32_t workers, uint32_t model_id) {
  uint32_t count = 0;
  for (uint32_t id = 0; id < workers; id++) {
    count += cluster_is_resident(cluster, id, 0, model_id);
  }
  return count;
}

static void test_cold_start(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  const uint64_t tag = cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, tag), REQUEST_SUCCESS);
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), 1);
  /* There, LOAD, back, there, execution, back. */
  const int64_t expected_us = 200 + 8320 + 200 + 200 + 2730 + 200;
  assert_int_equal(cluster_answer(cluster, tag)->answer.latency.ns, expected_us * NS_PER_US);
  serve(cluster, 0);
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), 1);
  struct scheduler_counts counts;
  scheduler_counts(cluster->scheduler, &counts);
  assert_int_equal(counts.cold_starts, 1);
  cluster_destroy(cluster);
}

/* The model with the most unserved demand loads first; two LOADs at most are under way. */
static void test_load_order(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 4);
  static const uint32_t requests[] = {1, 3, 2, 4};
  for (uint32_t id = 0; id < 4; id++) {
    for (uint32_t i = 0; i < requests[id]; i++) {
      cluster_request(cluster, id, 0);
    }
  }
  cluster_act(cluster);
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), 2);
  cluster_run_for(cluster, duration_ms(50));
  static const uint32_t order[] = {3, 1, 2, 0};
  for (uint32_t i = 0; i < 4; i++) {
    assert_int_equal(cluster_logged(cluster, ACTION_LOAD, i)->model_id, order[i]);
  }
  assert_int_equal(cluster->counts.in_time, 10);
  cluster_destroy(cluster);
}

static void test_least_recently_used_leaves(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 21, 6); /* room for three */
  serve(cluster, 0);
  serve(cluster, 1);
  serve(cluster, 2);
  serve(cluster, 0);
  assert_int_equal(cluster_logged_count(cluster, ACTION_EVICT), 0);
  serve(cluster, 3);
  assert_int_equal(cluster_logged(cluster, ACTION_EVICT, 0)->model_id, 1);
  serve(cluster, 4);
  assert_int_equal(cluster_logged(cluster, ACTION_EVICT, 1)->model_id, 2);
  serve(cluster, 5);
  assert_int_equal(cluster_logged(cluster, ACTION_EVICT, 2)->model_id, 0);
  assert_int_equal(cluster_logged_count(cluster, ACTION_EVICT), 3);
  assert_int_equal(cluster->refusals[ACTION_LOAD_INSUFFICIENT_CACHE], 0);
  cluster_destroy(cluster);
}

/* Weights with work under way or waiting stay; the cold model gets its turn when they are idle. */
static void test_weights_in_use_stay(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 14, 3); /* room for two */
  serve(cluster, 0);
  serve(cluster, 1);
  cluster_request(cluster, 0, 0);
  cluster_request(cluster, 1, 0);
  const uint64_t cold = cluster_request(cluster, 2, 0);
  cluster_act(cluster);
  assert_int_equal(cluster_logged_count(cluster, ACTION_EVICT), 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, cold), REQUEST_SUCCESS);
  assert_int_equal(cluster_logged(cluster, ACTION_EVICT, 0)->model_id, 0);
  assert_int_equal(cluster->refusals[ACTION_WEIGHTS_IN_USE], 0);
  cluster_destroy(cluster);
}

/* More victims than a GPU may have actions: room is made in several goes. */
static void test_large_model_needs_many_victims(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 210, 0);
  const struct model_spec small = cluster_spec(1, 1000, (int64_t[5]){1000});
  const struct model_spec large = cluster_spec(200, 9000, (int64_t[5]){2000});
  for (uint32_t id = 0; id < 210; id++) {
    cluster_add_model(cluster, id, &small);
    serve(cluster, id);
  }
  cluster_add_model(cluster, 500, &large);
  cluster_request(cluster, 500, 1000);
  cluster_run_for(cluster, duration_ms(50));
  assert_true(cluster_is_resident(cluster, 0, 0, 500));
  assert_int_equal(cluster_logged_count(cluster, ACTION_EVICT), 200);
  cluster_destroy(cluster);
}

static void test_model_larger_than_any_gpu(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(2, 6, 1);
  const uint64_t tag = cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, duration_s(1));
  assert_int_equal(result_of(cluster, tag), REQUEST_TIMEOUT);
  assert_int_equal(cluster->log_count, 0);
  /* A large one joins. */
  const struct cluster_gpu_options gpu = {.pages = 7, .clock_mhz = 1000};
  cluster_worker_up(cluster, 2, &gpu, 1);
  serve(cluster, 0);
  cluster_destroy(cluster);
}

/* Cold models spread over the GPUs, also when none of them has anything to do. */
static void test_placement_spreads(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(4, 100, 8);
  for (uint32_t id = 0; id < 8; id++) {
    serve(cluster, id);
  }
  for (uint32_t worker = 0; worker < 4; worker++) {
    assert_int_equal(cluster->workers[worker].gpus[0].pages_used, 14);
  }
  cluster_destroy(cluster);
}

static void load_evenly(struct cluster *cluster, uint32_t model_id, double rate_per_s,
                        struct duration time) {
  const struct duration gap = duration_ns((int64_t)(1e9 / rate_per_s));
  for (int64_t sent_ns = 0; sent_ns < time.ns; sent_ns += gap.ns) {
    cluster_request(cluster, model_id, 0);
    cluster_run_for(cluster, gap);
  }
}

/* A second GPU once the first can't keep up, and not before. */
static void test_replication(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(3, 100, 2);
  load_evenly(cluster, 0, 330, duration_s(2)); /* 0.9 of a GPU with batch 1 */
  assert_int_equal(holders(cluster, 3, 0), 1);
  load_evenly(cluster, 0, 1100, duration_s(1)); /* 1.2 of a GPU with batch 16 */
  assert_int_equal(holders(cluster, 3, 0), 2);
  load_evenly(cluster, 0, 2200, duration_s(1)); /* 2.4 */
  assert_int_equal(holders(cluster, 3, 0), 3);
  struct cluster_counts before = cluster->counts;
  load_evenly(cluster, 0, 2200, duration_s(2));
  assert_int_equal(cluster->counts.in_time - before.in_time,
                   cluster->counts.answers - before.answers);
  cluster_destroy(cluster);
}

/* The worker will not let go of what the scheduler wanted out: the LOAD behind it fails for lack of
 * pages, and all goes on from what is true. */
static void test_eviction_refused(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 14, 3);
  serve(cluster, 0);
  serve(cluster, 1);
  cluster->fail_next[ACTION_EVICT] = ACTION_WEIGHTS_IN_USE;
  const uint64_t cold = cluster_request(cluster, 2, 0);
  cluster_run_for(cluster, duration_us(300));
  assert_int_equal(cluster->refusals[ACTION_WEIGHTS_IN_USE], 1);
  assert_int_equal(cluster->refusals[ACTION_LOAD_INSUFFICIENT_CACHE], 1);
  assert_true(cluster_is_resident(cluster, 0, 0, 0));
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, cold), REQUEST_SUCCESS);
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

static void test_failed_load_is_tried_again(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  cluster->fail_next[ACTION_LOAD] = ACTION_RUNTIME_ERROR;
  serve(cluster, 0);
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), 2);
  cluster_destroy(cluster);
}

/* A worker whose LOADs take ten times what the profile says refuses those that come too late in
 * their windows. With a minute to go nobody is forgotten. */
static void test_refused_loads_are_tried_again(void **state) {
  (void)state;
  enum { MODELS = 20 };
  struct cluster *cluster = open_cluster(1, 7 * MODELS, MODELS);
  const struct model_spec spec = cluster_resnet50();
  const double minute = 60e9 / (double)spec.execute[0].ns;
  uint64_t tags[MODELS];
  for (uint32_t id = 0; id < MODELS; id++) {
    cluster->specs[id].load.ns *= 10;
    tags[id] = cluster_request(cluster, id, minute);
  }
  cluster_run_for(cluster, duration_s(50));
  assert_true(cluster->refusals[ACTION_LOAD_TOO_LATE] > 0);
  for (uint32_t id = 0; id < MODELS; id++) {
    assert_int_equal(result_of(cluster, tags[id]), REQUEST_SUCCESS);
  }
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

static void test_weights_missing(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  serve(cluster, 0);
  struct cluster_gpu *gpu = &cluster->workers[0].gpus[0];
  gpu->is_resident[0] = false;
  gpu->pages_used = 0;
  serve(cluster, 0);
  assert_int_equal(cluster->refusals[ACTION_EXECUTE_WEIGHTS_MISSING], 1);
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), 2);
  cluster_destroy(cluster);
}

/* The worker has it after all. */
static void test_weights_already_loaded(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  struct cluster_gpu *gpu = &cluster->workers[0].gpus[0];
  gpu->is_resident[0] = true;
  gpu->pages_used = 7;
  serve(cluster, 0);
  assert_int_equal(cluster->refusals[ACTION_WEIGHTS_ALREADY_LOADED], 1);
  cluster_destroy(cluster);
}

static void test_failed_execution_is_tried_again(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  serve(cluster, 0);
  cluster->fail_next[ACTION_INFER] = ACTION_EXECUTE_TOO_LATE;
  serve(cluster, 0);
  assert_int_equal(cluster->refusals[ACTION_EXECUTE_TOO_LATE], 1);
  /* What always fails ends with an error. */
  const uint64_t tag = cluster_request(cluster, 0, 0);
  while (!cluster_answer(cluster, tag)->is_answered) {
    cluster->fail_next[ACTION_INFER] = ACTION_INVALID_INPUT;
    cluster_run_for(cluster, duration_us(100));
  }
  assert_int_equal(result_of(cluster, tag), REQUEST_ERROR);
  assert_true(cluster_answer(cluster, tag)->answer.latency.ns < 20 * NS_PER_MS);
  cluster_destroy(cluster);
}

static void test_worker_lost(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(2, 100, 1);
  load_evenly(cluster, 0, 1100, duration_s(1));
  assert_int_equal(holders(cluster, 2, 0), 2);
  cluster_run_for(cluster, duration_s(1));
  const struct cluster_counts before = cluster->counts;
  for (int i = 0; i < 16; i++) {
    cluster_request(cluster, 0, 0);
  }
  cluster_request(cluster, 0, 2); /* 5.46 ms */
  cluster_act(cluster);
  cluster_run_for(cluster, duration_ms(3));
  cluster_worker_lost(cluster, 0);
  scheduler_validate(cluster->scheduler);
  cluster_run_for(cluster, duration_ms(200));
  assert_int_equal(cluster->counts.answers - before.answers, 17);
  assert_true(cluster->counts.in_time - before.in_time >= 16); /* the other GPU took them */
  /* The last one too. */
  cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, duration_ms(1));
  const uint64_t tag = cluster->next_tag - 1;
  cluster_worker_lost(cluster, 1);
  assert_false(cluster_answer(cluster, tag)->is_answered);
  cluster_run_for(cluster, duration_ms(200));
  assert_int_equal(result_of(cluster, tag), REQUEST_TIMEOUT);
  struct scheduler_counts counts;
  scheduler_counts(cluster->scheduler, &counts);
  assert_int_equal(counts.gpus, 0);
  assert_int_equal(counts.requests_running, 0);
  scheduler_on_worker_lost(cluster->scheduler, cluster->now, 1); /* no effect */
  scheduler_on_worker_lost(cluster->scheduler, cluster->now, 12345);
  cluster_destroy(cluster);
}

/* A worker that says nothing any more is given up by its models before anyone calls it lost. */
static void test_worker_hangs(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(2, 100, 1);
  serve(cluster, 0);
  const uint32_t hung = cluster_is_resident(cluster, 0, 0, 0) ? 0 : 1;
  cluster->workers[hung].is_hung = true;
  load_evenly(cluster, 0, 100, duration_ms(200));
  const uint64_t before = cluster->counts.in_time;
  load_evenly(cluster, 0, 100, duration_ms(500));
  assert_int_equal(cluster->counts.in_time - before, 50);
  assert_true(cluster_is_resident(cluster, 1 - hung, 0, 0));
  cluster_destroy(cluster);
}

static void test_worker_back(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 3);
  serve(cluster, 0);
  serve(cluster, 1);
  cluster_worker_lost(cluster, 0);
  scheduler_on_model_removed(cluster->scheduler, cluster->now, 1);
  /* And something that this scheduler never heard of. */
  cluster->workers[0].gpus[0].is_resident[900] = true;
  cluster_worker_back(cluster, 0);
  cluster_clear_log(cluster);
  serve(cluster, 0);
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), 0); /* it is there still */
  assert_int_equal(cluster_logged_count(cluster, ACTION_EVICT), 2);
  assert_false(cluster_is_resident(cluster, 0, 0, 1));
  assert_false(cluster_is_resident(cluster, 0, 0, 900));
  cluster_destroy(cluster);
}

/* More unknown weights than a GPU may have actions. */
static void test_worker_full_of_unknown_weights(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 210, 1);
  cluster_worker_lost(cluster, 0);
  struct cluster_gpu *gpu = &cluster->workers[0].gpus[0];
  for (uint32_t id = 100; id < 310; id++) {
    gpu->is_resident[id] = true;
    cluster->specs[id].weights_pages = 1;
    gpu->pages_used++;
  }
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(gpu->pages_used, 0);
  assert_int_equal(cluster_logged_count(cluster, ACTION_EVICT), 210);
  serve(cluster, 0);
  cluster_destroy(cluster);
}

static void test_workers_that_are_refused(void **state) {
  (void)state;
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.config.limits.workers = 2;
  options.config.limits.gpus = 3;
  options.config.max_gpus = 2;
  struct cluster *cluster = cluster_create(&options);
  const struct scheduler_gpu gpus[4] = {{.pages = 9, .clock_mhz = 1000},
                                        {.pages = 9, .clock_mhz = 1000},
                                        {.pages = 9, .clock_mhz = 1000},
                                        {.pages = 9, .clock_mhz = 1000}};
  struct scheduler *scheduler = cluster->scheduler;
  assert_int_equal(scheduler_on_worker_up(scheduler, cluster->now, 2, gpus, 1), ERR_RANGE);
  assert_int_equal(scheduler_on_worker_up(scheduler, cluster->now, 0, gpus, 4), ERR_FULL);
  assert_int_equal(scheduler_on_worker_up(scheduler, cluster->now, 0, gpus, 3), ERR_OK);
  assert_int_equal(scheduler_on_worker_up(scheduler, cluster->now, 0, gpus, 1), ERR_EXISTS);
  struct scheduler_counts counts;
  scheduler_counts(scheduler, &counts);
  assert_int_equal(counts.gpus, 2); /* max_gpus */
  cluster_destroy(cluster);
}

static void test_max_gpus(void **state) {
  (void)state;
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.config.max_gpus = 3;
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  const struct cluster_gpu_options gpus[2] = {{.pages = 100, .clock_mhz = 1000},
                                              {.pages = 100, .clock_mhz = 1000}};
  cluster_worker_up(cluster, 0, gpus, 2);
  cluster_worker_up(cluster, 1, gpus, 2);
  for (uint32_t id = 0; id < 12; id++) {
    cluster_add_model(cluster, id, &spec);
    serve(cluster, id);
  }
  assert_int_equal(cluster->workers[1].gpus[0].pages_used, 28);
  assert_int_equal(cluster->workers[1].gpus[1].pages_used, 0);
  cluster_destroy(cluster);
}

static void test_evict_on_request(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(3, 100, 2);
  load_evenly(cluster, 0, 2200, duration_s(1));
  cluster_run_for(cluster, duration_s(1));
  assert_int_equal(holders(cluster, 3, 0), 3);
  serve(cluster, 1);
  cluster_request(cluster, 0, 0);
  cluster_act(cluster); /* one of them is at work and stays */
  assert_int_equal(scheduler_on_evict(cluster->scheduler, cluster->now, 0), 2);
  assert_int_equal(scheduler_on_evict(cluster->scheduler, cluster->now, 0), 0);
  assert_int_equal(scheduler_on_evict(cluster->scheduler, cluster->now, 77), 0);
  assert_int_equal(scheduler_on_evict(cluster->scheduler, cluster->now, UINT32_MAX), 0);
  assert_int_equal(scheduler_wakeup(cluster->scheduler).ns, cluster->now.ns);
  cluster_run_for(cluster, duration_ms(20));
  assert_int_equal(holders(cluster, 3, 0), 1);
  assert_int_equal(holders(cluster, 3, 1), 1);
  assert_int_equal(scheduler_on_evict(cluster->scheduler, cluster->now, 0), 1);
  cluster_run_for(cluster, duration_ms(20));
  assert_int_equal(holders(cluster, 3, 0), 0);
  serve(cluster, 0);
  cluster_destroy(cluster);
}

/* Its weights leave: idle ones at once, busy ones after their work, coming ones when they are
 * there. Then the id is free. */
static void test_model_removed(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(3, 100, 3);
  const struct model_spec spec = cluster_resnet50();
  serve(cluster, 0);
  serve(cluster, 1);
  const uint64_t running = cluster_request(cluster, 1, 0);
  cluster_request(cluster, 2, 0);
  cluster_act(cluster);
  for (uint32_t id = 0; id < 3; id++) {
    scheduler_on_model_removed(cluster->scheduler, cluster->now, id);
    assert_false(scheduler_on_model_added(cluster->scheduler, cluster->now, id, &spec));
    scheduler_validate(cluster->scheduler);
  }
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, running), REQUEST_SUCCESS);
  assert_int_equal(result_of(cluster, running + 1), REQUEST_INVALID);
  for (uint32_t id = 0; id < 3; id++) {
    assert_int_equal(holders(cluster, 3, id), 0);
    assert_true(scheduler_on_model_added(cluster->scheduler, cluster->now, id, &spec));
    serve(cluster, id);
  }
  cluster_destroy(cluster);
}

/* Results that nobody waits for, or that can't be true. */
static void test_strange_results(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  serve(cluster, 0);
  struct scheduler_result result = {.status = ACTION_SUCCESS};
  scheduler_on_result(cluster->scheduler, cluster->now, &result);
  result.action_id = UINT64_MAX;
  scheduler_on_result(cluster->scheduler, cluster->now, &result);
  result.action_id = cluster_logged(cluster, ACTION_LOAD, 0)->action_id; /* it has ended */
  scheduler_on_result(cluster->scheduler, cluster->now, &result);
  const uint64_t tag = cluster_request(cluster, 0, 0);
  cluster_act(cluster);
  result.action_id =
      cluster_logged(cluster, ACTION_INFER, cluster_logged_count(cluster, ACTION_INFER) - 1)
          ->action_id;
  result.begin = (struct instant){INT64_MAX};
  result.end = (struct instant){INT64_MIN};
  result.clock_after_mhz = UINT32_MAX;
  scheduler_on_result(cluster->scheduler, cluster->now, &result);
  assert_int_equal(result_of(cluster, tag), REQUEST_SUCCESS);
  cluster_run_for(cluster, duration_ms(20));
  serve(cluster, 0);
  cluster_destroy(cluster);
}

/* A worker that guesses the name of an action before it got it. */
static void test_result_before_its_action(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(1, 100, 1);
  serve(cluster, 0);
  const uint32_t last = cluster_logged_count(cluster, ACTION_INFER) - 1;
  const uint64_t guess = cluster_logged(cluster, ACTION_INFER, last)->action_id + (1ULL << 32);
  assert_int_equal(scheduler_on_evict(cluster->scheduler, cluster->now, 0), 1);
  const struct scheduler_result result = {.action_id = guess, .status = ACTION_SUCCESS};
  scheduler_on_result(cluster->scheduler, cluster->now, &result);
  cluster_act(cluster);
  assert_int_equal(cluster_logged(cluster, ACTION_EVICT, 0)->action_id, guess);
  cluster_run_for(cluster, duration_ms(20));
  assert_false(cluster_is_resident(cluster, 0, 0, 0));
  cluster_destroy(cluster);
}

/* Of the LOAD, its first, of the last of `models` models, whose LOADs take `times` what profiles
 * say; and how far it was off. */
static void first_load(uint32_t models, double times, int64_t *ret_expected_ns,
                       int64_t *ret_off_ns) {
  struct cluster *cluster = open_cluster(1, 1000, models);
  const int64_t profile_ns = cluster->specs[0].load.ns;
  for (uint32_t id = 0; id < models; id++) {
    cluster->specs[id].load = duration_ns((int64_t)((double)profile_ns * times));
    serve(cluster, id);
  }
  assert_int_equal(cluster_logged_count(cluster, ACTION_LOAD), models);
  const struct telemetry_action *last = NULL;
  for (uint32_t i = 0; i < cluster->action_rows_count; i++) {
    if (cluster->action_rows[i].action_type == ACTION_LOAD) {
      last = &cluster->action_rows[i];
    }
  }
  assert_non_null(last);
  assert_int_equal(last->model_id, models - 1);
  *ret_expected_ns = last->expected_exec_duration;
  *ret_off_ns = last->worker_exec_duration - last->expected_exec_duration;
  cluster_destroy(cluster);
}

/* What other models' LOADs took on a GPU counts for one that was never loaded. */
static void test_first_load_learns_from_others(void **state) {
  (void)state;
  const int64_t profile_ns = cluster_resnet50().load.ns;
  int64_t expected_ns = 0;
  int64_t off_ns = 0;
  first_load(1, 1.06, &expected_ns, &off_ns);
  assert_int_equal(expected_ns, profile_ns);
  first_load(60, 1.06, &expected_ns, &off_ns);
  assert_in_range(off_ns, 0, profile_ns / 200);
  first_load(60, 0.94, &expected_ns, &off_ns);
  assert_in_range(-off_ns, 0, profile_ns / 200);
  /* Scatter is not learnt, and a link that stands still is not what to expect for ever. */
  first_load(60, 1.004, &expected_ns, &off_ns);
  assert_int_equal(expected_ns, profile_ns);
  first_load(2, 4.0, &expected_ns, &off_ns);
  assert_int_equal(expected_ns, profile_ns);
  /* Nor is more expected than what LOADs take, however long they take that. */
  first_load(400, 2.2, &expected_ns, &off_ns);
  assert_in_range(off_ns, 0, profile_ns / 50);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cold_start),
      cmocka_unit_test(test_load_order),
      cmocka_unit_test(test_least_recently_used_leaves),
      cmocka_unit_test(test_weights_in_use_stay),
      cmocka_unit_test(test_large_model_needs_many_victims),
      cmocka_unit_test(test_model_larger_than_any_gpu),
      cmocka_unit_test(test_placement_spreads),
      cmocka_unit_test(test_replication),
      cmocka_unit_test(test_eviction_refused),
      cmocka_unit_test(test_failed_load_is_tried_again),
      cmocka_unit_test(test_refused_loads_are_tried_again),
      cmocka_unit_test(test_weights_missing),
      cmocka_unit_test(test_weights_already_loaded),
      cmocka_unit_test(test_failed_execution_is_tried_again),
      cmocka_unit_test(test_worker_lost),
      cmocka_unit_test(test_worker_hangs),
      cmocka_unit_test(test_worker_back),
      cmocka_unit_test(test_worker_full_of_unknown_weights),
      cmocka_unit_test(test_workers_that_are_refused),
      cmocka_unit_test(test_max_gpus),
      cmocka_unit_test(test_evict_on_request),
      cmocka_unit_test(test_model_removed),
      cmocka_unit_test(test_strange_results),
      cmocka_unit_test(test_result_before_its_action),
      cmocka_unit_test(test_first_load_learns_from_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
