/* FIFO, CLIPPER and DEFERRED: what each is known for. One GPU with two models. */
#include "support/cluster.h"
#include "support/cmocka.h"

enum { FIRST = 0, SECOND = 1, MODELS = 2 };

static struct cluster *open_cluster(const char *policy, uint32_t pages) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.config.policy = policy;
  options.requests_logged = 1024;
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  for (uint32_t id = 0; id < MODELS; id++) {
    cluster_add_model(cluster, id, &spec);
  }
  const struct cluster_gpu_options gpu = {.pages = pages, .clock_mhz = spec.clock_mhz};
  cluster_worker_up(cluster, 0, &gpu, 1);
  return cluster;
}

/* Both models are on the GPU, nothing is under way. */
static struct cluster *open_warm(const char *policy) {
  struct cluster *cluster = open_cluster(policy, 100);
  for (uint32_t id = 0; id < MODELS; id++) {
    cluster_request(cluster, id, 0);
  }
  cluster_run_for(cluster, duration_ms(300));
  for (uint32_t id = 0; id < MODELS; id++) {
    assert_true(cluster_is_resident(cluster, 0, 0, id));
  }
  cluster_clear_log(cluster);
  return cluster;
}

static void close_cluster(struct cluster *cluster) {
  scheduler_validate(cluster->scheduler);
  assert_int_equal(cluster->counts.answers, cluster->counts.requests);
  cluster_destroy(cluster);
}

static void queue(struct cluster *cluster, uint32_t model_id, uint32_t count, double slo_factor) {
  for (uint32_t i = 0; i < count; i++) {
    cluster_request(cluster, model_id, slo_factor);
  }
}

static const struct scheduler_action *infer(const struct cluster *cluster, uint32_t index) {
  const struct scheduler_action *action = cluster_logged(cluster, ACTION_INFER, index);
  assert_non_null(action);
  return action;
}

static void fifo_serves_in_the_order_of_arrival(void **state) {
  (void)state;
  static const uint32_t ORDER[] = {FIRST, SECOND, FIRST, FIRST, SECOND};
  enum { COUNT = sizeof(ORDER) / sizeof(ORDER[0]) };
  struct cluster *cluster = open_warm("fifo");
  for (uint32_t i = 0; i < COUNT; i++) {
    cluster_request(cluster, ORDER[i], ORDER[i] == FIRST ? 100 : 3); /* deadlines don't matter */
  }
  cluster_run_for(cluster, duration_ms(100));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), COUNT);
  for (uint32_t i = 0; i < COUNT; i++) {
    assert_int_equal(infer(cluster, i)->model_id, ORDER[i]);
    assert_int_equal(infer(cluster, i)->batch_size, 1);
  }
  close_cluster(cluster);
}

static void fifo_loads_one_and_evicts_another(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("fifo", 10); /* one model at a time */
  for (int i = 0; i < 3; i++) {
    cluster_request(cluster, FIRST, 0);
    cluster_request(cluster, SECOND, 0);
  }
  cluster_run_for(cluster, duration_ms(500));
  assert_int_equal(cluster->counts.loads, 6);
  assert_int_equal(cluster->counts.infers, 6);
  close_cluster(cluster);
}

static void those_without_deadlines_serve_late(void **state) {
  (void)state;
  static const char *const POLICIES[] = {"fifo", "clipper"};
  for (int i = 0; i < 2; i++) {
    struct cluster *cluster = open_warm(POLICIES[i]);
    queue(cluster, FIRST, 100, 2);
    cluster_run_for(cluster, duration_s(2));
    for (uint64_t tag = MODELS; tag < MODELS + 100; tag++) {
      assert_int_equal(cluster_answer(cluster, tag)->answer.result, REQUEST_SUCCESS);
    }
    assert_true(cluster->counts.late > 50);
    close_cluster(cluster);
  }
}

/* On a worker that is lost nothing stays, with one that comes it goes on. */
static void requests_move_to_another_gpu(void **state) {
  (void)state;
  static const char *const POLICIES[] = {"fifo", "clipper", "deferred"};
  for (int i = 0; i < 3; i++) {
    struct cluster *cluster = open_warm(POLICIES[i]);
    queue(cluster, FIRST, 3, 100);
    cluster_act(cluster);
    cluster_worker_lost(cluster, 0);
    scheduler_validate(cluster->scheduler);
    queue(cluster, SECOND, 2, 200);
    const struct cluster_gpu_options gpu = {.pages = 100, .clock_mhz = 1000};
    cluster_worker_up(cluster, 1, &gpu, 1);
    cluster_run_for(cluster, duration_s(1));
    for (uint64_t tag = MODELS; tag < MODELS + 5; tag++) {
      assert_int_equal(cluster_answer(cluster, tag)->answer.result, REQUEST_SUCCESS);
    }
    close_cluster(cluster);
  }
}

static void without_room_anywhere_the_answer_is_no(void **state) {
  (void)state;
  static const char *const POLICIES[] = {"fifo", "clipper"};
  for (int i = 0; i < 2; i++) {
    struct cluster *cluster = open_cluster(POLICIES[i], 3);
    const uint64_t tag = cluster_request(cluster, FIRST, 0);
    cluster_run_for(cluster, duration_ms(10));
    assert_int_equal(cluster_answer(cluster, tag)->answer.result, REQUEST_CANNOT_START);
    close_cluster(cluster);
  }
}

static void clipper_raises_its_limit_one_by_one(void **state) {
  (void)state;
  struct cluster *cluster = open_warm("clipper");
  queue(cluster, FIRST, 2 + 3 + 4 + 5 + 6, 0); /* one ran when the GPU was warmed */
  cluster_run_for(cluster, duration_ms(300));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 5);
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(infer(cluster, i)->requests_count, 2 + i);
  }
  close_cluster(cluster);
}

static void clipper_lowers_its_limit_when_batches_are_late(void **state) {
  (void)state;
  struct cluster *cluster = open_warm("clipper");
  /* 2.73 and 4.05 ms, and the way there and back: one is within 4.1 ms, two are not. */
  queue(cluster, FIRST, 200, 1.5);
  cluster_run_for(cluster, duration_s(3));
  const uint32_t count = cluster_logged_count(cluster, ACTION_INFER);
  uint32_t singles = 0;
  for (uint32_t i = 0; i < count; i++) {
    assert_in_range(infer(cluster, i)->requests_count, 1, 2);
    singles += infer(cluster, i)->requests_count == 1;
  }
  assert_true(singles > 10);
  close_cluster(cluster);
}

static void clipper_gives_each_model_its_turn(void **state) {
  (void)state;
  struct cluster *cluster = open_warm("clipper");
  queue(cluster, FIRST, 20, 0);
  queue(cluster, SECOND, 20, 0);
  cluster_run_for(cluster, duration_ms(300));
  for (uint32_t i = 1; i < 6; i++) {
    assert_int_not_equal(infer(cluster, i)->model_id, infer(cluster, i - 1)->model_id);
  }
  close_cluster(cluster);
}

static void deferred_waits_for_others(void **state) {
  (void)state;
  struct cluster *cluster = open_warm("deferred");
  /* 100 ms, the target 95: two take 4.05. */
  cluster_request(cluster, FIRST, 0);
  cluster_run_for(cluster, duration_ms(85));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 0);
  cluster_request(cluster, FIRST, 0);
  cluster_run_for(cluster, duration_ms(15));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 1);
  assert_int_equal(infer(cluster, 0)->requests_count, 2);
  assert_int_equal(cluster->counts.in_time, MODELS + 2);
  close_cluster(cluster);
}

static void deferred_sends_a_full_batch_at_once(void **state) {
  (void)state;
  struct cluster *cluster = open_warm("deferred");
  queue(cluster, FIRST, 15, 0);
  cluster_run_for(cluster, duration_ms(20));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 0);
  cluster_request(cluster, FIRST, 0);
  cluster_run_for(cluster, duration_ms(1));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 1);
  assert_int_equal(infer(cluster, 0)->requests_count, 16);
  cluster_run_for(cluster, duration_ms(100));
  close_cluster(cluster);
}

static void deferred_takes_the_window_that_ends_first(void **state) {
  (void)state;
  struct cluster *cluster = open_warm("deferred");
  queue(cluster, FIRST, 16, 30);
  queue(cluster, SECOND, 16, 25);
  cluster_run_for(cluster, duration_ms(100));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 2);
  assert_int_equal(infer(cluster, 0)->model_id, SECOND);
  assert_int_equal(cluster->counts.late, 0);
  assert_int_equal(cluster->counts.in_time, MODELS + 32);
  close_cluster(cluster);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fifo_serves_in_the_order_of_arrival),
      cmocka_unit_test(fifo_loads_one_and_evicts_another),
      cmocka_unit_test(those_without_deadlines_serve_late),
      cmocka_unit_test(requests_move_to_another_gpu),
      cmocka_unit_test(without_room_anywhere_the_answer_is_no),
      cmocka_unit_test(clipper_raises_its_limit_one_by_one),
      cmocka_unit_test(clipper_lowers_its_limit_when_batches_are_late),
      cmocka_unit_test(clipper_gives_each_model_its_turn),
      cmocka_unit_test(deferred_waits_for_others),
      cmocka_unit_test(deferred_sends_a_full_batch_at_once),
      cmocka_unit_test(deferred_takes_the_window_that_ends_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
