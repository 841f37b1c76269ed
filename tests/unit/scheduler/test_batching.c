/* Which batch runs next on a GPU: sizes, order, windows, how far ahead. One GPU with one model
 * unless said otherwise. */
#include "support/cluster.h"
#include "support/cmocka.h"

enum { MODEL = 0 };

static void change_nothing(struct scheduler_config *config) {
  (void)config;
}

/* Worker 0 has one GPU that holds MODEL; it is away, so that requests queue until
 * cluster_worker_back(). */
static struct cluster *open_cluster(const struct model_spec *spec, uint32_t clock_mhz,
                                    void (*change)(struct scheduler_config *config)) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  change(&options.config);
  struct cluster *cluster = cluster_create(&options);
  cluster_add_model(cluster, MODEL, spec);
  const struct cluster_gpu_options gpu = {.pages = 100, .clock_mhz = clock_mhz};
  cluster_worker_up(cluster, 0, &gpu, 1);
  cluster_request(cluster, MODEL, 100000);
  cluster_run_for(cluster, duration_ms(100));
  assert_true(cluster_answer(cluster, 0)->is_answered);
  assert_true(cluster_is_resident(cluster, 0, 0, MODEL));
  cluster_worker_lost(cluster, 0);
  cluster_clear_log(cluster);
  cluster->action_rows_count = 0;
  return cluster;
}

static void queue(struct cluster *cluster, uint32_t count, double slo_factor) {
  for (uint32_t i = 0; i < count; i++) {
    cluster_request(cluster, MODEL, slo_factor);
  }
}

static void assert_batches(const struct cluster *cluster, const uint32_t *expected) {
  uint32_t count = 0;
  for (; expected[count] != 0; count++) {
    const struct scheduler_action *action = cluster_logged(cluster, ACTION_INFER, count);
    assert_non_null(action);
    assert_int_equal(action->batch_size, expected[count]);
    assert_int_equal(action->requests_count, expected[count]);
  }
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), count);
}

static void check_batches(uint32_t requests, const uint32_t *expected,
                          void (*change)(struct scheduler_config *config)) {
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change);
  queue(cluster, requests, 0);
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(200));
  assert_batches(cluster, expected);
  assert_int_equal(cluster->counts.in_time, requests + 1);
  for (uint64_t tag = 1; tag <= requests; tag++) {
    const struct scheduler_answer *answer = &cluster_answer(cluster, tag)->answer;
    assert_true(answer->action_id != 0);
    assert_true(answer->batch_index < 16);
  }
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

static void test_batch_sizes(void **state) {
  (void)state;
  check_batches(1, (uint32_t[]){1, 0}, change_nothing);
  check_batches(2, (uint32_t[]){2, 0}, change_nothing);
  check_batches(3, (uint32_t[]){2, 1, 0}, change_nothing);
  check_batches(4, (uint32_t[]){4, 0}, change_nothing);
  check_batches(5, (uint32_t[]){4, 1, 0}, change_nothing);
  check_batches(15, (uint32_t[]){8, 4, 2, 1, 0}, change_nothing);
  check_batches(16, (uint32_t[]){16, 0}, change_nothing);
  check_batches(17, (uint32_t[]){16, 1, 0}, change_nothing);
  check_batches(40, (uint32_t[]){16, 16, 8, 0}, change_nothing);
}

static void set_max_batch(struct scheduler_config *config) {
  config->max_batch = 6;
}

static void set_max_exec(struct scheduler_config *config) {
  config->max_exec = duration_us(5869);
}

static void set_max_exec_tiny(struct scheduler_config *config) {
  config->max_exec = duration_us(1);
}

static void test_limits_of_batches(void **state) {
  (void)state;
  check_batches(9, (uint32_t[]){4, 4, 1, 0}, set_max_batch);
  check_batches(5, (uint32_t[]){2, 2, 1, 0}, set_max_exec);
  check_batches(3, (uint32_t[]){1, 1, 1, 0}, set_max_exec_tiny); /* batch 1 is always allowed */
}

/* The most urgent request first, not the oldest. */
static void test_order_of_models(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  for (uint32_t id = 1; id < 4; id++) {
    cluster_add_model(cluster, id, &spec);
    cluster->workers[0].gpus[0].is_resident[id] = true;
    cluster->workers[0].gpus[0].pages_used += 7;
  }
  cluster_request(cluster, 1, 36); /* times 2.73 ms */
  cluster_request(cluster, 2, 20);
  cluster_request(cluster, 3, 10);
  cluster_request(cluster, 0, 30);
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(100));
  static const uint32_t expected[] = {3, 2, 0, 1};
  for (uint32_t i = 0; i < 4; i++) {
    assert_int_equal(cluster_logged(cluster, ACTION_INFER, i)->model_id, expected[i]);
  }
  cluster_destroy(cluster);
}

/* In one model the one with the earliest deadline goes first, whenever it came. */
static void test_order_within_a_model(void **state) {
  (void)state;
  const int64_t execute_us[5] = {4000};
  const struct model_spec spec = cluster_spec(7, 8000, execute_us);
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  queue(cluster, 1, 20);
  queue(cluster, 1, 10);
  queue(cluster, 1, 15);
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(100));
  assert_true(cluster_answer(cluster, 2)->at.ns < cluster_answer(cluster, 3)->at.ns);
  assert_true(cluster_answer(cluster, 3)->at.ns < cluster_answer(cluster, 1)->at.ns);
  cluster_destroy(cluster);
}

/* A head that waited until only batch 1 is in time would cost eight others their batch: under
 * overload that is how goodput collapses. */
static void test_old_head_is_passed_over(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(85));
  queue(cluster, 8, 0);
  cluster_run_for(cluster, duration_ms(5));
  cluster_worker_back(cluster, 0); /* 5 ms before the head's target */
  cluster_run_for(cluster, duration_ms(100));
  assert_batches(cluster, (uint32_t[]){8, 0});
  assert_int_equal(cluster_answer(cluster, 1)->answer.result, REQUEST_TIMEOUT);
  assert_int_equal(cluster_answer(cluster, 9)->answer.result, REQUEST_SUCCESS);
  cluster_destroy(cluster);
}

/* A head that never had time for batch 16 is not passed over by one: it would starve. */
static void test_tight_request_among_loose_ones(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  queue(cluster, 16, 0);
  queue(cluster, 1, 15e6 / 2.73e6); /* 15 ms, batch 16 takes 17.3 */
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(100));
  assert_batches(cluster, (uint32_t[]){8, 8, 1, 0});
  assert_int_equal(cluster_answer(cluster, 17)->answer.batch_index, 0);
  assert_int_equal(cluster->counts.in_time, 18);
  cluster_destroy(cluster);
}

/* Work is given only while the GPU is predicted to be free within 10 ms. */
static void test_schedule_ahead(void **state) {
  (void)state;
  const int64_t execute_us[5] = {4000};
  const struct model_spec spec = cluster_spec(7, 8000, execute_us);
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  queue(cluster, 6, 0);
  cluster_worker_back(cluster, 0);
  const int64_t start_ns = cluster->now.ns;
  cluster_act(cluster);
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 3); /* busy for 0.2 + 12 ms */
  assert_int_equal(scheduler_wakeup(cluster->scheduler).ns - start_ns, 2200 * NS_PER_US);
  cluster_run_for(cluster, duration_ms(100));
  for (uint32_t i = 3; i < 6; i++) {
    const struct scheduler_action *action = cluster_logged(cluster, ACTION_INFER, i);
    assert_int_equal(action->earliest.ns - start_ns, (2200 + 4000 * (i - 3)) * NS_PER_US);
  }
  assert_int_equal(cluster->refusals[ACTION_EXECUTE_TOO_LATE], 0);
  cluster_destroy(cluster);
}

/* [sent, expected start + schedule_ahead], cut where the first request would be late. */
static void test_window(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  cluster_worker_back(cluster, 0);
  const struct instant now = cluster->now;
  queue(cluster, 1, 0);
  cluster_act(cluster);
  const struct scheduler_action *first = cluster_logged(cluster, ACTION_INFER, 0);
  assert_int_equal(first->earliest.ns, now.ns);
  assert_int_equal(first->latest.ns, now.ns + 10200 * NS_PER_US);
  queue(cluster, 1, 4); /* 10.92 ms: no more than 8.19 ms to wait */
  cluster_act(cluster);
  const struct scheduler_action *second = cluster_logged(cluster, ACTION_INFER, 1);
  assert_int_equal(second->latest.ns, now.ns + 3 * 2730 * NS_PER_US);
  cluster_destroy(cluster);
}

/* Estimates are kept as duration x clock: at half the clock everything takes twice as long. */
static void test_clock(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 500, change_nothing);
  cluster_worker_back(cluster, 0);
  const int64_t deadline_ns = cluster->now.ns + 10920 * NS_PER_US;
  queue(cluster, 1, 4);
  cluster_act(cluster);
  const struct scheduler_action *action = cluster_logged(cluster, ACTION_INFER, 0);
  assert_int_equal(action->latest.ns, deadline_ns - 5460 * NS_PER_US);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(cluster->action_rows[0].expected_exec_duration, 5460 * NS_PER_US);
  assert_int_equal(cluster->action_rows[0].expected_gpu_clock, 500);
  /* The next result brings a new clock, and from then on it is expected. */
  cluster->workers[0].gpus[0].clock_mhz = 2000;
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(cluster->action_rows[1].expected_exec_duration, 5460 * NS_PER_US);
  assert_int_equal(cluster->action_rows[1].worker_exec_duration, 1365 * NS_PER_US);
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(cluster->action_rows[2].expected_exec_duration, 1365 * NS_PER_US);
  cluster_destroy(cluster);
}

/* A GPU whose running action is more than 10 ms late gets nothing new. */
static void test_late_gpu(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  cluster_worker_back(cluster, 0);
  cluster->workers[0].is_hung = true;
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(13)); /* due after 2.93 ms */
  const uint32_t before = cluster_logged_count(cluster, ACTION_INFER);
  queue(cluster, 20, 0);
  cluster_run_for(cluster, duration_ms(200));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), before);
  assert_int_equal(cluster_answer(cluster, 21)->answer.result, REQUEST_TIMEOUT);
  assert_false(cluster_answer(cluster, 1)->is_answered);
  cluster_worker_lost(cluster, 0);
  assert_int_equal(cluster_answer(cluster, 1)->answer.result, REQUEST_TIMEOUT);
  cluster_worker_back(cluster, 0);
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(cluster_answer(cluster, 22)->answer.result, REQUEST_SUCCESS);
  cluster_destroy(cluster);
}

/* What waits behind a slow execution is expected later, and given to the GPU later. */
static void test_slow_execution_shifts_the_rest(void **state) {
  (void)state;
  const struct model_spec spec = cluster_resnet50();
  struct cluster *cluster = open_cluster(&spec, 1000, change_nothing);
  cluster_worker_back(cluster, 0);
  cluster->specs[MODEL].execute[0] = duration_ms(9); /* 2.73 expected */
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(8));
  const int64_t sent_ns = cluster->now.ns;
  queue(cluster, 1, 0);
  cluster_run_for(cluster, duration_ms(50));
  /* It was 5.07 ms overdue then and taken to end at once: the true end was 1.2 ms away. */
  assert_int_equal(cluster->action_rows[1].t - sent_ns, 0);
  assert_true(cluster->action_rows[1].expected_exec_complete >= 2730 * NS_PER_US);
  assert_true(cluster->action_rows[1].expected_exec_complete <= 3000 * NS_PER_US);
  assert_int_equal(cluster->counts.in_time, 3);
  cluster_destroy(cluster);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_batch_sizes),
      cmocka_unit_test(test_limits_of_batches),
      cmocka_unit_test(test_order_of_models),
      cmocka_unit_test(test_order_within_a_model),
      cmocka_unit_test(test_old_head_is_passed_over),
      cmocka_unit_test(test_tight_request_among_loose_ones),
      cmocka_unit_test(test_schedule_ahead),
      cmocka_unit_test(test_window),
      cmocka_unit_test(test_clock),
      cmocka_unit_test(test_late_gpu),
      cmocka_unit_test(test_slow_execution_shifts_the_rest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
