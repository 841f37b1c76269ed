/* The whole client, in a process of its own, against a fake controller over the loopback: what it
 * asks for, how it takes misfortune, what it prints, how it exits.
 */
#include "client/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/cmocka.h"
#include "support/fake_controller.h"
#include "workload/workload.h"

enum { ARGUMENTS_MAX = 16, OUTPUT_BYTES_MAX = 65536 };

struct fixture {
  uv_loop_t loop;
  struct fake_controller *fake;
  uv_signal_t child_ended;
  pid_t child;
  FILE *output_file;
  int exit_code; /* -1: ended by a signal */
  char output[OUTPUT_BYTES_MAX];
};

static void set_up(struct fixture *fixture) {
  memset(fixture, 0, sizeof(*fixture));
  assert_int_equal(uv_loop_init(&fixture->loop), 0);
  fixture->fake = fake_controller_create(&fixture->loop);
  fixture->fake->user = fixture;
  fixture->output_file = tmpfile();
  assert_non_null(fixture->output_file);
  unsetenv("CLOCKWORK_DISABLE_INPUTS");
  unsetenv("CLOCKWORK_MODEL_DIR");
  unsetenv("AZURE_TRACE_DIR");
}

static void tear_down(struct fixture *fixture) {
  fake_controller_destroy(fixture->fake);
  fclose(fixture->output_file);
  assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

static void on_child_ended(uv_signal_t *handle, int signal_number) {
  (void)signal_number;
  struct fixture *fixture = handle->data;
  int status = 0;
  if (waitpid(fixture->child, &status, WNOHANG) == fixture->child) {
    fixture->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    fake_controller_close(fixture->fake);
    uv_close((uv_handle_t *)handle, NULL);
  }
}

/* The child's copy of the listening socket would keep accepting after the fake has closed its own.
 */
static void close_listeners(void) {
  for (int fd = 3; fd < 256; fd++) {
    int is_listening = 0;
    socklen_t bytes = sizeof(is_listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &bytes) == 0 && is_listening) {
      close(fd);
    }
  }
}

/* In the child: never returns. */
static void be_client(const struct fixture *fixture, char *words) {
  char program[] = "client";
  char address[64];
  snprintf(address, sizeof(address), "%s", fake_controller_address(fixture->fake)->text);
  char *arguments[ARGUMENTS_MAX] = {program, address};
  int count = 2;
  char *rest = NULL;
  for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
    arguments[count++] = word;
  }
  const int output = fileno(fixture->output_file);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  close_listeners();
  exit(client_run(count, arguments));
}

/* Run `client ADDRESS WORDS...` and serve it until it ends. */
static void run(struct fixture *fixture, const char *words) {
  char copy[512];
  snprintf(copy, sizeof(copy), "%s", words);
  fflush(stdout);
  fflush(stderr);
  assert_int_equal(uv_signal_init(&fixture->loop, &fixture->child_ended), 0);
  fixture->child_ended.data = fixture;
  assert_int_equal(uv_signal_start(&fixture->child_ended, on_child_ended, SIGCHLD), 0);
  fixture->child = fork();
  assert_true(fixture->child >= 0);
  if (fixture->child == 0) {
    be_client(fixture, copy);
  }
  uv_run(&fixture->loop, UV_RUN_DEFAULT);
  rewind(fixture->output_file);
  const size_t bytes = fread(fixture->output, 1, OUTPUT_BYTES_MAX - 1, fixture->output_file);
  fixture->output[bytes] = '\0';
}

static void expect_text(const struct fixture *fixture, const char *text) {
  if (strstr(fixture->output, text) == NULL) {
    fail_msg("\"%s\" is missing in:\n%s", text, fixture->output);
  }
}

static void expect_no_text(const struct fixture *fixture, const char *text) {
  if (strstr(fixture->output, text) != NULL) {
    fail_msg("\"%s\" stands in:\n%s", text, fixture->output);
  }
}

static void expect_exit(const struct fixture *fixture, int code) {
  if (fixture->exit_code != code) {
    fail_msg("exit code %d instead of %d:\n%s", fixture->exit_code, code, fixture->output);
  }
}

static void expect_number(const struct fixture *fixture, const char *format, unsigned number) {
  char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(text, sizeof(text), format, number);
#pragma GCC diagnostic pop
  expect_text(fixture, text);
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* What the open loop of `arguments` asks for up to `end`, in order; returns how many. */
static uint32_t expected_requests(const char *name, const char *const *arguments, uint32_t count,
                                  uint64_t seed, struct instant end,
                                  struct workload_request *ret_requests, uint32_t capacity) {
  struct workload_fault fault;
  struct workload_config config;
  assert_int_equal(workload_parse(workload_find(name, &fault), arguments, count, &config, &fault),
                   ERR_OK);
  config.seed = seed;
  const size_t bytes = workload_bytes(&config);
  void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  assert_non_null(memory);
  memset(memory, 0, bytes);
  struct workload *workload = workload_init(memory, &config);
  const uint32_t requests_count = workload_next_requests(workload, end, ret_requests, capacity);
  assert_true(requests_count < capacity);
  free(memory);
  return requests_count;
}

static void test_open_loop_sends_each_request_once_in_order(void **state) {
  (void)state;
  enum { CAPACITY = 8192 };
  static struct workload_request expected[CAPACITY];
  const char *const arguments[] = {"3", "2000"};
  const uint32_t count = expected_requests("poisson-open-loop", arguments, 2, 7,
                                           (struct instant){NS_PER_S}, expected, CAPACITY);
  assert_in_range(count, 1500, 2500);
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  run(fixture, "poisson-open-loop 3 2000 --seed 7 --duration 1");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->infers_count, count);
  for (uint32_t i = 0; i < count; i++) {
    /* One variety, loaded at once: ids are the workload's indices. */
    assert_int_equal(fixture->fake->infer_models[i], expected[i].model_index);
    assert_int_equal(fixture->fake->infer_users[i], expected[i].user_id);
  }
  assert_int_equal(fixture->fake->inputs_count, count);
  expect_text(fixture, "replaying poisson-open-loop, seed 7");
  expect_text(fixture, "Inputs: sent by this client");
  expect_number(fixture, "%u requests were due", count);
  expect_number(fixture, "success %u", count);
  tear_down(fixture);
  free(fixture);
}

static void test_inputs_can_be_disabled(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  setenv("CLOCKWORK_DISABLE_INPUTS", "1", 1);
  run(fixture, "simple-parametric 1 1 1 5");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->infers_count, 5);
  assert_int_equal(fixture->fake->inputs_count, 0);
  expect_text(fixture, "Inputs: none from this client");
  tear_down(fixture);
  free(fixture);
}

static void test_closed_loop_ends_by_itself(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  run(fixture, "simple-parametric 2 3 2 50");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->infers_count, 150);
  expect_text(fixture, "success 150");
  assert_int_equal(fixture->fake->connections_count, 1);
  tear_down(fixture);
  free(fixture);
}

static void test_refusals_are_counted(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->refused_infers = 4;
  run(fixture, "simple-parametric 1 1 1 10");
  expect_exit(fixture, 0);
  expect_text(fixture, "success 6, the controller could not start it in time 4");
  tear_down(fixture);
  free(fixture);
}

static void send_sigterm(struct fake_controller *fake) {
  const struct fixture *fixture = fake->user;
  kill(fixture->child, SIGTERM);
}

static void test_sigterm_sums_up(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->signal_after_infers = 20;
  fixture->fake->on_infers = send_sigterm;
  run(fixture, "poisson-open-loop 1 500");
  expect_exit(fixture, 0);
  expect_text(fixture, "Signal 15");
  expect_number(fixture, "%u sent", fixture->fake->infers_count);
  expect_number(fixture, "success %u", fixture->fake->infers_count);
  tear_down(fixture);
  free(fixture);
}

/* ---- models ---------------------------------------------------------------------------------- */

static void test_loads_all_copies_at_once_from_the_folder(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  run(fixture, "simple-parametric 40 1 1 1 --model-dir /zoo/");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->loads_count, 1);
  assert_int_equal(fixture->fake->models_count, 40);
  assert_string_equal(fixture->fake->last_path, "/zoo/resnet50_v2");
  expect_text(fixture, "0 were there already, 40 were loaded");
  tear_down(fixture);
  free(fixture);
}

static void test_models_that_are_there_are_used(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fake_add_model(fixture->fake, "other");
  for (int i = 0; i < 30; i++) {
    fake_add_model(fixture->fake, "resnet50_v2");
  }
  run(fixture, "simple-parametric 40 1 1 40");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->models_count, 41);
  assert_int_equal(fixture->fake->loads_count, 1);
  expect_text(fixture, "30 were there already, 10 were loaded");
  for (uint32_t i = 0; i < fixture->fake->infers_count; i++) {
    assert_in_range(fixture->fake->infer_models[i], 1, 40);
  }
  tear_down(fixture);
  free(fixture);
}

static void test_loads_are_tried_again_while_initializing(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->initializing_loads = 2;
  run(fixture, "simple-parametric 3 1 1 5");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->loads_count, 1);
  assert_int_equal(fixture->fake->models_count, 3);
  /* What the controller holds is asked anew before each attempt. */
  assert_int_equal(fixture->fake->lists_count, 3);
  tear_down(fixture);
  free(fixture);
}

static void test_models_that_cannot_be_loaded_end_it(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->fails_loads = true;
  run(fixture, "simple-parametric 3 1 1 5");
  expect_exit(fixture, 1);
  expect_text(fixture, "3 copies of resnet50_v2 could not be loaded: no such package");
  assert_int_equal(fixture->fake->infers_count, 0);
  tear_down(fixture);
  free(fixture);
}

/* ---- misfortune ------------------------------------------------------------------------------ */

static void test_replay_goes_on_after_a_lost_connection(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->close_after_infers = 20;
  /* Enough requests that some are left when it is connected again: one fails every 10 ms till then.
   */
  run(fixture, "simple-parametric 2 1 1 2000");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->connections_count, 2);
  assert_int_equal(fixture->fake->loads_count, 1);
  expect_text(fixture, "Lost the controller");
  expect_text(fixture, "The controller is back");
  expect_text(fixture, "lost 1");
  tear_down(fixture);
  free(fixture);
}

static void test_open_loop_counts_what_a_lost_connection_cost(void **state) {
  (void)state;
  enum { CAPACITY = 8192 };
  static struct workload_request expected[CAPACITY];
  const char *const arguments[] = {"1", "1000"};
  const uint32_t count = expected_requests("poisson-open-loop", arguments, 2, WORKLOAD_SEED,
                                           (struct instant){2 * NS_PER_S}, expected, CAPACITY);
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->close_after_infers = 100;
  run(fixture, "poisson-open-loop 1 1000 --duration 2");
  expect_exit(fixture, 0);
  expect_number(fixture, "%u requests were due", count);
  expect_text(fixture, "not sent");
  expect_text(fixture, "The controller is back");
  assert_true(fixture->fake->infers_count < count);
  tear_down(fixture);
  free(fixture);
}

static void test_requests_wait_while_the_controller_initializes(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->initializing_infers = 3;
  run(fixture, "simple-parametric 1 1 1 10");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->infers_count, 13);
  expect_text(fixture, "success 10");
  tear_down(fixture);
  free(fixture);
}

static void test_garbage_in_the_replay_costs_a_connection(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->garbage_for = WIRE_INFER_REQUEST;
  fixture->fake->garbage_type = WIRE_INFER_ANSWER;
  fixture->fake->garbage = "what is this?";
  fixture->fake->garbage_bytes = 13;
  fixture->fake->garbage_count = 1;
  run(fixture, "simple-parametric 1 1 1 2000");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->connections_count, 2);
  expect_text(fixture, "malformed answer to an inference");
  tear_down(fixture);
  free(fixture);
}

static void test_nothing_but_garbage_ends_it(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->garbage_for = WIRE_LIST_REQUEST;
  fixture->fake->garbage_type = WIRE_LIST_ANSWER;
  fixture->fake->garbage = "what is this?";
  fixture->fake->garbage_bytes = 13;
  fixture->fake->garbage_count = UINT32_MAX;
  run(fixture, "simple");
  expect_exit(fixture, 1);
  expect_text(fixture, "malformed list of models");
  expect_text(fixture, "is that address a controller of this version?");
  tear_down(fixture);
  free(fixture);
}

static void stop_listening(struct fake_controller *fake) {
  listener_close(fake->listener);
  fake->listener = NULL;
}

static void test_a_controller_that_stays_away_is_survived(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->signal_after_infers = 20;
  fixture->fake->on_infers = stop_listening;
  fixture->fake->close_after_infers = 20;
  run(fixture, "poisson-open-loop 1 500 --duration 1");
  expect_exit(fixture, 0);
  expect_text(fixture, "Lost the controller");
  expect_text(fixture, "trying again and again");
  expect_text(fixture, "not sent");
  assert_int_equal(fixture->fake->infers_count, 20);
  tear_down(fixture);
  free(fixture);
}

static void test_unanswered_requests_are_told(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->keeps_silent = true;
  run(fixture, "single-spam --duration 0.1");
  expect_exit(fixture, 0);
  assert_int_equal(fixture->fake->infers_count, 100);
  expect_text(fixture, "100 requests had no answer");
  tear_down(fixture);
  free(fixture);
}

static void test_a_controller_that_answers_twice_is_told(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->answers_twice = true;
  run(fixture, "simple-parametric 1 1 1 10");
  expect_exit(fixture, 0);
  expect_text(fixture, "success 10");
  expect_text(fixture, "without being asked");
  tear_down(fixture);
  free(fixture);
}

/* ---- outputs --------------------------------------------------------------------------------- */

static void test_right_outputs_pass(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  run(fixture, "simple-parametric 2 2 2 20 --check-outputs");
  expect_exit(fixture, 0);
  expect_text(fixture, "success 40");
  expect_no_text(fixture, "wrong output");
  tear_down(fixture);
  free(fixture);
}

static void test_wrong_outputs_fail(void **state) {
  (void)state;
  struct fixture *fixture = malloc(sizeof(*fixture));
  set_up(fixture);
  fixture->fake->corrupts_outputs = true;
  run(fixture, "simple-parametric 2 2 2 20 --check-outputs");
  expect_exit(fixture, 1);
  expect_text(fixture, "wrong output 40");
  tear_down(fixture);
  free(fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_loop_sends_each_request_once_in_order),
      cmocka_unit_test(test_inputs_can_be_disabled),
      cmocka_unit_test(test_closed_loop_ends_by_itself),
      cmocka_unit_test(test_refusals_are_counted),
      cmocka_unit_test(test_sigterm_sums_up),
      cmocka_unit_test(test_loads_all_copies_at_once_from_the_folder),
      cmocka_unit_test(test_models_that_are_there_are_used),
      cmocka_unit_test(test_loads_are_tried_again_while_initializing),
      cmocka_unit_test(test_models_that_cannot_be_loaded_end_it),
      cmocka_unit_test(test_replay_goes_on_after_a_lost_connection),
      cmocka_unit_test(test_open_loop_counts_what_a_lost_connection_cost),
      cmocka_unit_test(test_requests_wait_while_the_controller_initializes),
      cmocka_unit_test(test_garbage_in_the_replay_costs_a_connection),
      cmocka_unit_test(test_nothing_but_garbage_ends_it),
      cmocka_unit_test(test_a_controller_that_stays_away_is_survived),
      cmocka_unit_test(test_unanswered_requests_are_told),
      cmocka_unit_test(test_a_controller_that_answers_twice_is_told),
      cmocka_unit_test(test_right_outputs_pass),
      cmocka_unit_test(test_wrong_outputs_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
