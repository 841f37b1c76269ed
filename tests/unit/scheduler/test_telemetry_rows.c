/* What stands in the rows of the two telemetry files: all times relative to the action's sending,
 * the worker's beside what was expected of it. */
#include "support/cluster.h"
#include "support/cmocka.h"

#define US(n) ((n)*NS_PER_US)

static const int64_t WALL_NS = 1598832443793706631;

static struct cluster *open_cluster(void) {
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.config.wall_offset_ns = WALL_NS;
  struct cluster *cluster = cluster_create(&options);
  const struct model_spec spec = cluster_resnet50();
  cluster_add_model(cluster, 30, &spec);
  const struct cluster_gpu_options gpus[2] = {{.pages = 100, .clock_mhz = 1000},
                                              {.pages = 6, .clock_mhz = 1000}};
  cluster_worker_up(cluster, 5, gpus, 2);
  cluster_run_until(cluster, (struct instant){US(1000)});
  return cluster;
}

static void test_request_rows(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster();
  cluster_request(cluster, 30, 0);
  cluster_run_for(cluster, duration_ms(20));
  cluster_request(cluster, 30, 2.5);
  cluster_run_for(cluster, duration_ms(20));
  cluster_request(cluster, 30, 0.25);
  assert_int_equal(cluster->request_rows_count, 3);
  const struct telemetry_request *cold = &cluster->request_rows[0];
  assert_int_equal(cold->t, WALL_NS + US(1000));
  assert_int_equal(cold->request_id, 1000);
  assert_int_equal(cold->result, REQUEST_SUCCESS);
  assert_int_equal(cold->user_id, 7);
  assert_int_equal(cold->model_id, 30);
  assert_true(cold->slo_factor == 0);
  assert_int_equal(cold->latency, US(8720 + 3130));
  assert_int_equal(cold->deadline, 100 * NS_PER_MS);
  assert_int_equal(cold->deadline_met, 1);
  assert_int_equal(cold->arrival_count, 0);
  assert_int_equal(cold->departure_count, 1);
  assert_int_equal(cold->is_coldstart, 1);
  const struct telemetry_request *warm = &cluster->request_rows[1];
  assert_true(warm->slo_factor == 2.5);
  assert_int_equal(warm->latency, US(3130));
  assert_int_equal(warm->deadline, US(6825));
  assert_int_equal(warm->deadline_met, 1);
  assert_int_equal(warm->arrival_count, 1);
  assert_int_equal(warm->is_coldstart, 0);
  const struct telemetry_request *refused = &cluster->request_rows[2];
  assert_int_equal(refused->result, REQUEST_CANNOT_START);
  assert_int_equal(refused->deadline_met, 0);
  assert_int_equal(refused->latency, 0);
  cluster_destroy(cluster);
}

static void test_action_rows(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster();
  for (int i = 0; i < 3; i++) {
    cluster_request(cluster, 30, 0);
  }
  cluster_run_for(cluster, duration_ms(30));
  assert_int_equal(cluster->action_rows_count, 3);
  const struct telemetry_action *load = &cluster->action_rows[0];
  assert_int_equal(load->t, WALL_NS + US(1000));
  assert_int_equal(load->action_type, ACTION_LOAD);
  assert_int_equal(load->status, ACTION_SUCCESS);
  assert_int_equal(load->worker_id, 5);
  assert_int_equal(load->gpu_id, 0);
  assert_int_equal(load->model_id, 30);
  assert_int_equal(load->expected_exec_duration, US(8320));
  assert_int_equal(load->worker_exec_duration, US(8320));
  assert_int_equal(load->expected_exec_complete, US(8520));
  assert_int_equal(load->worker_exec_complete, US(8520));
  assert_int_equal(load->requests_queued, 3);
  assert_int_equal(load->copies_loaded, 0);
  assert_int_equal(load->goodput, 0);
  const struct telemetry_action *infer = &cluster->action_rows[1];
  assert_int_equal(infer->t, WALL_NS + US(1000 + 8720));
  assert_int_equal(infer->action_type, ACTION_INFER);
  assert_int_equal(infer->batch_size, 2);
  assert_int_equal(infer->expected_exec_duration, US(4050));
  assert_int_equal(infer->worker_exec_duration, US(4050));
  assert_int_equal(infer->expected_exec_complete, US(4250));
  assert_int_equal(infer->worker_exec_complete, US(4250));
  assert_int_equal(infer->expected_gpu_clock, 1000);
  assert_int_equal(infer->worker_gpu_clock_before, 1000);
  assert_int_equal(infer->worker_gpu_clock, 1000);
  assert_int_equal(infer->worker_copy_output_complete, US(4250));
  assert_int_equal(infer->worker_action_received, US(200));
  assert_int_equal(infer->worker_result_sent, US(4250));
  assert_int_equal(infer->controller_result_enqueue, US(4450));
  assert_int_equal(infer->controller_action_duration, US(4450));
  assert_int_equal(infer->goodput, US(4050));
  assert_int_equal(infer->requests_queued, 3);
  assert_int_equal(infer->copies_loaded, 1);
  const struct telemetry_action *second = &cluster->action_rows[2];
  assert_int_equal(second->batch_size, 1);
  assert_int_equal(second->requests_queued, 1);
  assert_int_equal(second->expected_exec_complete, US(4250 + 2730));
  assert_int_equal(second->worker_exec_complete, US(4250 + 2730));
  cluster_destroy(cluster);
}

/* A batch of two of which one comes too late: half of its time was of use. */
static void test_share_of_goodput(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster();
  cluster_request(cluster, 30, 0);
  cluster_run_for(cluster, duration_ms(30));
  cluster->specs[30].execute[1] = duration_ms(8); /* 4.05 expected */
  cluster_request(cluster, 30, 3);                /* 8.19 ms */
  cluster_request(cluster, 30, 10);
  cluster_run_for(cluster, duration_ms(30));
  const struct telemetry_action *infer = &cluster->action_rows[2];
  assert_int_equal(infer->batch_size, 2);
  assert_int_equal(infer->worker_exec_duration, US(8000));
  assert_int_equal(infer->expected_exec_duration, US(4050));
  assert_int_equal(infer->goodput, US(4000));
  assert_int_equal(cluster->counts.late, 1);
  struct scheduler_counts counts;
  scheduler_counts(cluster->scheduler, &counts);
  assert_int_equal(counts.answers_late, 1);
  cluster_destroy(cluster);
}

static void test_rows_of_failures(void **state) {
  (void)state;
  struct cluster *cluster = open_cluster();
  cluster_request(cluster, 30, 0);
  cluster_run_for(cluster, duration_ms(30));
  cluster->fail_next[ACTION_INFER] = ACTION_EXECUTE_TOO_LATE;
  cluster_request(cluster, 30, 0);
  cluster_run_for(cluster, duration_us(300));
  cluster_run_for(cluster, duration_us(300));
  const struct telemetry_action *refused = &cluster->action_rows[2];
  assert_int_equal(refused->status, ACTION_EXECUTE_TOO_LATE);
  assert_int_equal(refused->worker_exec_duration, 0);
  assert_int_equal(refused->worker_exec_complete, 0);
  assert_int_equal(refused->goodput, 0);
  assert_int_equal(refused->worker_action_received, US(200));
  assert_int_equal(refused->controller_result_enqueue, US(400));
  cluster_worker_lost(cluster, 5);
  assert_int_equal(cluster->action_rows_count, 4); /* the second try was under way */
  const struct telemetry_action *lost = &cluster->action_rows[3];
  assert_int_equal(lost->status, ACTION_CANCELLED);
  assert_int_equal(lost->worker_result_sent, 0);
  assert_int_equal(lost->controller_action_duration, US(200));
  cluster_destroy(cluster);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_request_rows),
      cmocka_unit_test(test_action_rows),
      cmocka_unit_test(test_share_of_goodput),
      cmocka_unit_test(test_rows_of_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
