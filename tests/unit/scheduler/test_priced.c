/* PRICED: what runs when everything can be served, what when it can't, and how it finds back. */
#include "support/cluster.h"
#include "support/cmocka.h"

enum { CHEAP = 0, DEAR = 1, MODELS = 2 };

static const int64_t CHEAP_US[5] = {1000, 1700, 2500, 4000, 7000};
static const int64_t DEAR_US[5] = {8000, 12000, 18000};

/* Worker 0 has one GPU that holds both models. */
static struct cluster *open_cluster(const char *policy) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.config.policy = policy;
  options.requests_logged = 16384;
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec specs[MODELS] = {cluster_spec(3, 3000, CHEAP_US),
                                           cluster_spec(7, 8000, DEAR_US)};
  for (uint32_t id = 0; id < MODELS; id++) {
    cluster_add_model(cluster, id, &specs[id]);
  }
  const struct cluster_gpu_options gpu = {.pages = 100, .clock_mhz = 1000};
  cluster_worker_up(cluster, 0, &gpu, 1);
  for (uint32_t id = 0; id < MODELS; id++) {
    cluster_request(cluster, id, 100000);
  }
  cluster_run_for(cluster, duration_ms(200));
  assert_true(cluster_is_resident(cluster, 0, 0, CHEAP));
  assert_true(cluster_is_resident(cluster, 0, 0, DEAR));
  cluster_clear_log(cluster);
  return cluster;
}

static void close_cluster(struct cluster *cluster) {
  scheduler_validate(cluster->scheduler);
  assert_int_equal(cluster->counts.late, 0);
  cluster_destroy(cluster);
}

static void queue(struct cluster *cluster, uint32_t model_id, uint32_t count, double slo_factor) {
  for (uint32_t i = 0; i < count; i++) {
    cluster_request(cluster, model_id, slo_factor);
  }
}

/* Three requests in a batch of four yield more than two in a batch of two. */
static void test_pads(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("priced");
  cluster_worker_lost(cluster, 0);
  queue(cluster, CHEAP, 3, 0);
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(100));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 1);
  assert_int_equal(cluster_logged(cluster, ACTION_INFER, 0)->batch_size, 4);
  assert_int_equal(cluster_logged(cluster, ACTION_INFER, 0)->requests_count, 3);
  close_cluster(cluster);
}

/* Nothing was ever given up: earliest deadline first, although the other yields more. */
static void test_deadlines_while_time_is_ample(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("priced");
  cluster_worker_lost(cluster, 0);
  queue(cluster, CHEAP, 8, 60);
  queue(cluster, DEAR, 1, 4);
  cluster_worker_back(cluster, 0);
  cluster_run_for(cluster, duration_ms(100));
  assert_int_equal(cluster_logged(cluster, ACTION_INFER, 0)->model_id, DEAR);
  assert_int_equal(cluster_logged(cluster, ACTION_INFER, 1)->model_id, CHEAP);
  assert_int_equal(cluster->counts.in_time, MODELS + 9);
  close_cluster(cluster);
}

struct served {
  uint64_t cheap;
  uint64_t dear;
};

/* A request of each model every so often, evenly spaced, for that long. */
static struct served load(struct cluster *cluster, struct duration cheap_every,
                          struct duration dear_every, struct duration time) {
  const struct instant end = instant_add(cluster->now, time);
  const uint64_t first_tag = cluster->next_tag;
  struct instant next[MODELS] = {cluster->now, cluster->now};
  const struct duration every[MODELS] = {cheap_every, dear_every};
  for (;;) {
    const uint32_t id = instant_before(next[DEAR], next[CHEAP]) ? DEAR : CHEAP;
    if (!instant_before(next[id], end)) {
      break;
    }
    cluster_run_until(cluster, next[id]);
    cluster_request(cluster, id, 0);
    next[id] = instant_add(next[id], every[id]);
  }
  cluster_run_for(cluster, duration_ms(200));
  struct served served = {0};
  for (uint64_t tag = first_tag; tag < cluster->next_tag; tag++) {
    const struct cluster_answer *answer = cluster_answer(cluster, tag);
    assert_true(answer->is_answered);
    if (answer->answer.result == REQUEST_SUCCESS) {
      *(answer->answer.model_id == CHEAP ? &served.cheap : &served.dear) += 1;
    }
  }
  return served;
}

/* 1,250 cheap requests a second take 55 % of the GPU in full batches; as many dear ones would take
 * 5.6 GPUs. */
static struct served overload(struct cluster *cluster) {
  return load(cluster, duration_us(800), duration_us(800), duration_s(4));
}

/* What is worth most is served whole, what is worth less gets the rest. */
static void test_yield_under_overload(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("priced");
  const struct served priced = overload(cluster);
  close_cluster(cluster);
  cluster = open_cluster("infer4");
  const struct served infer4 = overload(cluster);
  close_cluster(cluster);
  assert_true(priced.cheap >= 4900); /* of 5,000; the first ones pay for learning the price */
  assert_true(priced.dear > 100);
  assert_true(priced.cheap + priced.dear > (infer4.cheap + infer4.dear) * 115 / 100);
}

/* When the load is gone the price is, too: nothing is left to starve. */
static void test_recovers(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("priced");
  overload(cluster);
  load(cluster, duration_ms(10), duration_ms(40), duration_s(1));
  const struct served after = load(cluster, duration_ms(10), duration_ms(40), duration_s(2));
  assert_int_equal(after.cheap, 200);
  assert_int_equal(after.dear, 50);
  close_cluster(cluster);
}

/* What comes while the GPU is busy joins the batch after: it is decided when the GPU is nearly
 * free, not schedule_ahead before. */
static void test_decides_late(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("priced");
  cluster_request(cluster, DEAR, 0);
  cluster_act(cluster);
  cluster_run_for(cluster, duration_ms(1));
  cluster_request(cluster, CHEAP, 0);
  cluster_run_for(cluster, duration_ms(4));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 1);
  cluster_request(cluster, CHEAP, 0);
  cluster_run_for(cluster, duration_ms(50));
  assert_int_equal(cluster_logged_count(cluster, ACTION_INFER), 2);
  assert_int_equal(cluster_logged(cluster, ACTION_INFER, 1)->requests_count, 2);
  close_cluster(cluster);
}

/* Full batches of closed loops that have all the time in the world don't starve requests that have
 * little, although they yield three times as much. */
static void test_loose_deadlines_wait(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster("priced");
  uint64_t tight[100];
  for (size_t i = 0; i < 100; i++) {
    tight[i] = cluster_request(cluster, DEAR, 4);
    const uint64_t loose_under_way = cluster->counts.requests - cluster->counts.answers;
    queue(cluster, CHEAP, loose_under_way < 48 ? 48 - (uint32_t)loose_under_way : 0, 1000);
    cluster_run_for(cluster, duration_ms(20));
  }
  cluster_run_for(cluster, duration_s(2));
  uint32_t in_time = 0;
  for (size_t i = 0; i < 100; i++) {
    in_time += cluster_answer(cluster, tight[i])->answer.result == REQUEST_SUCCESS;
  }
  assert_true(in_time >= 95);
  assert_int_equal(cluster->counts.in_time - in_time + 100, cluster->counts.requests);
  close_cluster(cluster);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pads),
      cmocka_unit_test(test_deadlines_while_time_is_ample),
      cmocka_unit_test(test_yield_under_overload),
      cmocka_unit_test(test_recovers),
      cmocka_unit_test(test_decides_late),
      cmocka_unit_test(test_loose_deadlines_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
