/* Which requests are taken, when the others are answered, and with what. */
#include <math.h>

#include "support/cluster.h"
#include "support/cmocka.h"

#define ALLOWANCE_NS 1000000 /* for an action to reach its worker */
#define EXECUTE_NS 2730000   /* batch 1 of cluster_resnet50() */

static struct cluster *open_cluster(struct duration slo) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  if (slo.ns > 0) {
    options.config.default_slo = slo;
  }
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  cluster_add_model(cluster, 3, &spec);
  return cluster;
}

static enum request_result result_of(const struct cluster *cluster, uint64_t tag) {
  assert_true(cluster_answer(cluster, tag)->is_answered);
  return cluster_answer(cluster, tag)->answer.result;
}

static void test_requests_that_make_no_sense(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(DURATION_ZERO);
  static const double factors[] = {-1, -1e-300, 1e300, INFINITY, -INFINITY, NAN};
  for (size_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++) {
    assert_int_equal(result_of(cluster, cluster_request(cluster, 3, factors[i])), REQUEST_INVALID);
  }
  assert_int_equal(result_of(cluster, cluster_request(cluster, 4, 0)), REQUEST_INVALID);
  assert_int_equal(result_of(cluster, cluster_request(cluster, UINT32_MAX, 0)), REQUEST_INVALID);
  struct scheduler_request request = {
      .tag = cluster->next_tag++, .model_id = 3, .batch_size = 2, .request_id = 77};
  scheduler_on_request(cluster->scheduler, cluster->now, &request);
  assert_int_equal(result_of(cluster, request.tag), REQUEST_INVALID);
  assert_int_equal(cluster_answer(cluster, request.tag)->answer.request_id, 77);
  assert_int_equal(cluster->request_rows_count, 9);
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

/* The bound is on the SLO, not on its multiple of an execution: a client that waits for a minute
 * may ask a model of 30 us. */
static void test_longest_slo(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(DURATION_ZERO);
  const double longest = (double)SCHEDULER_SLO_MAX.ns / EXECUTE_NS;
  assert_true(longest > 1e7);
  const uint64_t too_long = cluster_request(cluster, 3, longest * 1.001);
  assert_int_equal(result_of(cluster, too_long), REQUEST_INVALID);
  const uint64_t just_short = cluster_request(cluster, 3, longest * 0.999);
  const uint64_t of_a_short_model = cluster_request(cluster, 3, 1e7);
  cluster_run_for(cluster, duration_s(1));
  assert_false(cluster_answer(cluster, just_short)->is_answered);
  assert_false(cluster_answer(cluster, of_a_short_model)->is_answered);
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

/* Just long enough for an idle GPU, and one nanosecond less. */
static void test_shortest_slo(void **state) {
  (void)state;
  for (int is_short = 0; is_short <= 1; is_short++) {
    struct cluster *cluster = open_cluster(duration_ns(ALLOWANCE_NS + EXECUTE_NS - is_short));
    const struct cluster_gpu_options gpu = {.pages = 100, .clock_mhz = 1000};
    cluster_worker_up(cluster, 0, &gpu, 1);
    cluster_request(cluster, 3, 1000);
    cluster_run_for(cluster, duration_ms(100)); /* its weights are there now */
    const uint64_t tag = cluster_request(cluster, 3, 0);
    assert_int_equal(cluster_answer(cluster, tag)->is_answered, is_short);
    cluster_run_for(cluster, duration_ms(100));
    assert_int_equal(result_of(cluster, tag), is_short ? REQUEST_CANNOT_START : REQUEST_SUCCESS);
    assert_int_equal(cluster->counts.late, 0);
    cluster_destroy(cluster);
  }
}

/* Without a worker a request is answered once batch 1 could no longer end at its target, to the
 * nanosecond: so the target shows. */
static void test_target(void **state) {
  (void)state;
  static const struct {
    int64_t slo_us;
    int64_t target_us;
  } cases[] = {
      {4000, 4000},   {14999, 14999}, {15000, 15000}, {15001, 15000},  {18000, 15000},
      {20000, 15000}, {20001, 15001}, {25000, 20000}, {100000, 95000},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct cluster *cluster = open_cluster(duration_us(cases[i].slo_us));
    cluster_run_until(cluster, (struct instant){12345});
    const uint64_t tag = cluster_request(cluster, 3, 0);
    cluster_run_for(cluster, duration_s(1));
    assert_int_equal(result_of(cluster, tag), REQUEST_TIMEOUT);
    const int64_t last_chance_ns = 12345 + cases[i].target_us * 1000 - ALLOWANCE_NS - EXECUTE_NS;
    assert_int_equal(cluster_answer(cluster, tag)->at.ns, last_chance_ns + 1);
    cluster_destroy(cluster);
  }
}

static void test_slo_factor(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(DURATION_ZERO);
  cluster_request(cluster, 3, 0);
  cluster_request(cluster, 3, 0.5);
  cluster_request(cluster, 3, 2);
  cluster_request(cluster, 3, 1e6);
  cluster_run_for(cluster, duration_s(1));
  assert_int_equal(result_of(cluster, 1), REQUEST_CANNOT_START); /* less than one execution */
  assert_int_equal(result_of(cluster, 0), REQUEST_TIMEOUT);
  assert_int_equal(result_of(cluster, 2), REQUEST_TIMEOUT);
  assert_false(cluster_answer(cluster, 3)->is_answered); /* 45 minutes */
  assert_int_equal(cluster->request_rows[0].deadline, EXECUTE_NS / 2);
  assert_int_equal(cluster->request_rows[1].deadline, EXECUTE_NS * 2);
  assert_int_equal(cluster->request_rows[2].deadline, 100 * NS_PER_MS);
  cluster_run_for(cluster, duration_s(3600));
  assert_int_equal(result_of(cluster, 3), REQUEST_TIMEOUT);
  assert_int_equal(scheduler_wakeup(cluster->scheduler).ns, INSTANT_NEVER.ns);
  cluster_destroy(cluster);
}

static void test_full(void **state) {
  (void)state;
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.config.limits.requests = 4;
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  cluster_add_model(cluster, 0, &spec);
  for (uint64_t tag = 0; tag < 6; tag++) {
    cluster_request(cluster, 0, 0);
    assert_int_equal(cluster_answer(cluster, tag)->is_answered, tag >= 4);
  }
  assert_int_equal(result_of(cluster, 5), REQUEST_SKIPPED);
  assert_int_equal(result_of(cluster, cluster_request(cluster, 9, 0)), REQUEST_INVALID);
  cluster_run_for(cluster, duration_s(1));
  assert_int_equal(cluster->counts.answers, 7);
  cluster_request(cluster, 0, 0);
  assert_false(cluster_answer(cluster, 7)->is_answered); /* there is room again */
  struct scheduler_counts counts;
  scheduler_counts(cluster->scheduler, &counts);
  assert_int_equal(counts.requests, 8);
  assert_int_equal(counts.answers_by_result[REQUEST_SKIPPED], 2);
  assert_int_equal(counts.answers_by_result[REQUEST_TIMEOUT], 4);
  cluster_destroy(cluster);
}

static void test_models(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(DURATION_ZERO);
  struct scheduler *scheduler = cluster->scheduler;
  struct model_spec spec = cluster_resnet50();
  assert_false(scheduler_on_model_added(scheduler, cluster->now, 3, &spec)); /* taken */
  assert_false(scheduler_on_model_added(scheduler, cluster->now, 1024, &spec));
  assert_null(scheduler_model(scheduler, 1024));
  assert_null(scheduler_model(scheduler, 4));
  assert_int_equal(scheduler_model(scheduler, 3)->weights_pages, 7);
  spec.execute[1] = duration_ns(-1);
  assert_false(scheduler_on_model_added(scheduler, cluster->now, 4, &spec));
  const uint64_t tag = cluster_request(cluster, 3, 0);
  scheduler_on_model_removed(scheduler, cluster->now, 3);
  assert_int_equal(result_of(cluster, tag), REQUEST_INVALID);
  assert_int_equal(result_of(cluster, cluster_request(cluster, 3, 0)), REQUEST_INVALID);
  scheduler_on_model_removed(scheduler, cluster->now, 3); /* no effect */
  spec = cluster_resnet50();
  assert_true(scheduler_on_model_added(scheduler, cluster->now, 3, &spec));
  scheduler_validate(scheduler);
  cluster_destroy(cluster);
}

/* One slow run must not shut a model out: nothing would run, so nothing would be measured. */
static void test_accident_is_forgotten(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(DURATION_ZERO);
  const struct cluster_gpu_options gpu = {.pages = 100, .clock_mhz = 1000};
  cluster_worker_up(cluster, 0, &gpu, 1);
  cluster_request(cluster, 3, 0);
  cluster_run_for(cluster, duration_ms(100));
  const struct duration right = cluster->specs[3].execute[0];
  cluster->specs[3].execute[0] = duration_s(2); /* the host stands still */
  cluster_request(cluster, 3, 0);
  cluster_run_for(cluster, duration_s(3));
  cluster->specs[3].execute[0] = right;
  assert_int_equal(result_of(cluster, cluster_request(cluster, 3, 0)), REQUEST_CANNOT_START);
  cluster_run_for(cluster, duration_s(10));
  const uint64_t tag = cluster_request(cluster, 3, 0);
  cluster_run_for(cluster, duration_ms(100));
  assert_int_equal(result_of(cluster, tag), REQUEST_SUCCESS);
  cluster_destroy(cluster);
}

/* The same for a larger batch while smaller ones go on being measured. */
static void test_accident_of_a_large_batch(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(DURATION_ZERO);
  const struct cluster_gpu_options gpu = {.pages = 100, .clock_mhz = 1000};
  cluster_worker_up(cluster, 0, &gpu, 1);
  cluster_request(cluster, 3, 0);
  cluster_run_for(cluster, duration_ms(100));
  const struct duration right = cluster->specs[3].execute[1];
  cluster->specs[3].execute[1] = duration_ms(500); /* the host stands still */
  cluster_request(cluster, 3, 0);
  cluster_request(cluster, 3, 0);
  cluster_run_for(cluster, duration_s(1));
  cluster->specs[3].execute[1] = right;
  cluster->specs[3].execute[0] = duration_ns(EXECUTE_NS + 1000); /* a little above the profile */
  for (int second = 1; second < 12; second++) {
    for (int i = 0; i < 10; i++) {
      cluster_request(cluster, 3, 0);
      cluster_request(cluster, 3, 0);
      cluster_run_for(cluster, duration_ms(100));
    }
    const struct scheduler_action *last =
        cluster_logged(cluster, ACTION_INFER, cluster_logged_count(cluster, ACTION_INFER) - 1);
    assert_int_equal(last->batch_size, second < 10 ? 1 : 2);
  }
  cluster_destroy(cluster);
}

static void test_config_faults(void **state) {
  (void)state;
  struct scheduler_config config;
  scheduler_config_defaults(&config);
  assert_null(scheduler_config_fault(&config));
  config.policy = "nonsense";
  assert_non_null(scheduler_config_fault(&config));
  scheduler_config_defaults(&config);
  config.limits.requests = 0;
  assert_non_null(scheduler_config_fault(&config));
  scheduler_config_defaults(&config);
  config.limits.gpus = 100000;
  assert_non_null(scheduler_config_fault(&config));
  scheduler_config_defaults(&config);
  config.schedule_ahead = DURATION_ZERO;
  assert_non_null(scheduler_config_fault(&config));
  scheduler_config_defaults(&config);
  config.default_slo = duration_s(7200);
  assert_non_null(scheduler_config_fault(&config));
  scheduler_config_defaults(&config);
  config.max_batch = 0;
  assert_non_null(scheduler_config_fault(&config));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_requests_that_make_no_sense),
      cmocka_unit_test(test_longest_slo),
      cmocka_unit_test(test_shortest_slo),
      cmocka_unit_test(test_target),
      cmocka_unit_test(test_slo_factor),
      cmocka_unit_test(test_full),
      cmocka_unit_test(test_models),
      cmocka_unit_test(test_accident_is_forgotten),
      cmocka_unit_test(test_accident_of_a_large_batch),
      cmocka_unit_test(test_config_faults),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
