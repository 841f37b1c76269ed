/* Workers and inputs that misbehave: what they may not do to others. All models are resnet50. */
#include "model/estimate.h"
#include "support/cluster.h"
#include "support/cmocka.h"

static struct cluster *open_cluster(uint32_t pages, uint32_t models) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  for (uint32_t id = 0; id < models; id++) {
    cluster_add_model(cluster, id, &spec);
  }
  const struct cluster_gpu_options gpu = {.pages = pages, .clock_mhz = 1000};
  cluster_worker_up(cluster, 0, &gpu, 1);
  return cluster;
}

static enum request_result result_of(const struct cluster *cluster, uint64_t tag) {
  assert_true(cluster_answer(cluster, tag)->is_answered);
  return cluster_answer(cluster, tag)->answer.result;
}

/* Report one action by hand, as its worker would. */
static void report(struct cluster *cluster, const struct scheduler_action *action,
                   enum action_status status, uint64_t bad_inputs) {
  const struct scheduler_result result = {.action_id = action->action_id,
                                          .status = status,
                                          .begin = cluster->now,
                                          .end = cluster->now,
                                          .output_end = cluster->now,
                                          .received = cluster->now,
                                          .sent = cluster->now,
                                          .clock_before_mhz = 1000,
                                          .clock_after_mhz = 1000,
                                          .bad_inputs = bad_inputs};
  scheduler_on_result(cluster->scheduler, cluster->now, &result);
}

/* The one whose input can't be used is told so; the others of its batch are served, however often
 * their batches are poisoned. */
static void test_bad_input_harms_itself_only(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(100, 1);
  const uint64_t first = cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, first), REQUEST_SUCCESS);
  enum { ROUNDS = 12 }; /* more than a request has tries when nobody is to blame */
  const uint64_t good = cluster_request(cluster, 0, 0);
  for (int round = 0; round < ROUNDS; round++) {
    const uint64_t poison = cluster_request(cluster, 0, 0);
    struct scheduler_action action;
    assert_int_equal(scheduler_next_actions(cluster->scheduler, cluster->now, &action, 1), 1);
    assert_int_equal(action.requests_count, 2);
    assert_int_equal(action.request_tags[1], poison);
    report(cluster, &action, ACTION_INPUT_BAD_DECOMPRESSION, 2);
    assert_int_equal(result_of(cluster, poison), REQUEST_INVALID);
    assert_false(cluster_answer(cluster, good)->is_answered);
  }
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, good), REQUEST_SUCCESS);
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

/* A worker that takes actions and says nothing is found by its oldest action, not before that one
 * could have been done, and not while it answers. */
static void test_stuck_worker_is_found(void **state) {
  (void)state;
  const struct duration patience = duration_s(3);
  struct cluster *cluster = open_cluster(100, 1);
  cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, duration_s(10));
  assert_int_equal(scheduler_stuck_worker(cluster->scheduler, cluster->now, patience),
                   SCHEDULER_NO_WORKER);
  cluster->workers[0].is_hung = true;
  const uint64_t tag = cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, patience);
  assert_int_equal(scheduler_stuck_worker(cluster->scheduler, cluster->now, patience),
                   SCHEDULER_NO_WORKER);
  cluster_run_for(cluster, duration_ms(100));
  assert_int_equal(scheduler_stuck_worker(cluster->scheduler, cluster->now, patience), 0);
  assert_false(cluster_answer(cluster, tag)->is_answered);
  cluster_worker_lost(cluster, 0);
  assert_int_equal(result_of(cluster, tag), REQUEST_TIMEOUT);
  assert_int_equal(scheduler_stuck_worker(cluster->scheduler, cluster->now, patience),
                   SCHEDULER_NO_WORKER);
  cluster_destroy(cluster);
}

/* A cache that is not what the scheduler believes refuses every LOAD: the attempts thin out, and
 * begin anew once one succeeds. */
static void test_refused_loads_are_paused(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster(100, 1);
  const struct instant end = instant_add(cluster->now, duration_s(4));
  while (instant_before(cluster->now, end)) {
    cluster->fail_next[ACTION_LOAD] = ACTION_LOAD_INSUFFICIENT_CACHE;
    cluster_request(cluster, 0, 0);
    cluster_run_for(cluster, duration_ms(1));
  }
  /* 2 + 4 + ... + 1,024 ms of pauses pass in the first two seconds, then one a second. */
  const uint32_t attempts = cluster_logged_count(cluster, ACTION_LOAD);
  assert_in_range(attempts, 9, 14);
  cluster->fail_next[ACTION_LOAD] = ACTION_SUCCESS;
  cluster_run_for(cluster, duration_s(2));
  const uint64_t tag = cluster_request(cluster, 0, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(result_of(cluster, tag), REQUEST_SUCCESS);
  scheduler_validate(cluster->scheduler);
  cluster_destroy(cluster);
}

/* A worker whose clock was set reports times that can't be true here. How long an execution took is
 * a difference on one clock: it must neither be taken for nothing nor for long. */
static void test_a_clock_that_was_set_spoils_no_estimate(void **state) {
  (void)state;
  const int64_t jumps_ns[] = {5 * NS_PER_S, -5 * NS_PER_S};
  for (int jump = 0; jump < 2; jump++) {
    struct cluster *cluster = open_cluster(100, 1);
    const uint64_t first = cluster_request(cluster, 0, 0);
    cluster_run_for(cluster, duration_ms(50));
    assert_int_equal(result_of(cluster, first), REQUEST_SUCCESS);
    const int64_t took_ns = cluster_resnet50().execute[0].ns;
    for (int i = 0; i <= ESTIMATE_WINDOW; i++) {
      cluster_request(cluster, 0, 0);
      struct scheduler_action action;
      assert_int_equal(scheduler_next_actions(cluster->scheduler, cluster->now, &action, 1), 1);
      const struct instant begin = instant_add(cluster->now, duration_ns(jumps_ns[jump]));
      const struct instant end = instant_add(begin, duration_ns(took_ns));
      cluster->now = instant_add(cluster->now, duration_ms(4));
      scheduler_on_result(cluster->scheduler, cluster->now,
                          &(struct scheduler_result){.action_id = action.action_id,
                                                     .begin = begin,
                                                     .end = end,
                                                     .output_end = end,
                                                     .received = begin,
                                                     .sent = end,
                                                     .clock_before_mhz = 1000,
                                                     .clock_after_mhz = 1000});
    }
    const struct telemetry_action *last = &cluster->action_rows[cluster->action_rows_count - 1];
    assert_int_equal(last->worker_exec_duration, took_ns);
    assert_int_equal(last->expected_exec_duration, took_ns);
    scheduler_validate(cluster->scheduler);
    cluster_destroy(cluster);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_input_harms_itself_only),
      cmocka_unit_test(test_stuck_worker_is_found),
      cmocka_unit_test(test_refused_loads_are_paused),
      cmocka_unit_test(test_a_clock_that_was_set_spoils_no_estimate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
