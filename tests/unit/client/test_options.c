#include "client/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka.h"

enum { ARGUMENTS_MAX = 16, PRINTED_BYTES_MAX = 65536 };

struct parsed {
  struct client_options options;
  enum options_outcome outcome;
  int exit_code;
  char printed[PRINTED_BYTES_MAX]; /* to standard output and error */
  char words[512];                 /* that the options borrow from */
};

/* `client` with these words, separated by spaces. */
static void parse(struct parsed *parsed, const char *words) {
  memset(parsed, 0, sizeof(*parsed));
  snprintf(parsed->words, sizeof(parsed->words), "client %s", words);
  char *arguments[ARGUMENTS_MAX + 1] = {NULL};
  int count = 0;
  char *rest = NULL;
  for (char *word = strtok_r(parsed->words, " ", &rest); word != NULL;
       word = strtok_r(NULL, " ", &rest)) {
    arguments[count++] = word;
  }
  FILE *file = tmpfile();
  assert_non_null(file);
  fflush(stdout);
  fflush(stderr);
  const int outputs[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
  dup2(fileno(file), STDOUT_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  parsed->outcome = options_parse(count, arguments, &parsed->options, &parsed->exit_code);
  fflush(stdout);
  fflush(stderr);
  dup2(outputs[0], STDOUT_FILENO);
  dup2(outputs[1], STDERR_FILENO);
  close(outputs[0]);
  close(outputs[1]);
  rewind(file);
  parsed->printed[fread(parsed->printed, 1, PRINTED_BYTES_MAX - 1, file)] = '\0';
  fclose(file);
}

static int set_up(void **state) {
  (void)state;
  unsetenv("CLOCKWORK_DISABLE_INPUTS");
  unsetenv("CLOCKWORK_MODEL_DIR");
  unsetenv("AZURE_TRACE_DIR");
  return 0;
}

static void test_defaults(void **state) {
  (void)state;
  static struct parsed parsed;
  parse(&parsed, "127.0.0.1 azure 8");
  assert_int_equal(parsed.outcome, OPTIONS_RUN);
  assert_string_equal(parsed.options.controller.text, "127.0.0.1:12346");
  assert_string_equal(workload_kind_name(parsed.options.workload.kind), "azure");
  assert_int_equal(parsed.options.workload.seed, WORKLOAD_SEED);
  assert_int_equal(parsed.options.duration.ns, INT64_MAX);
  assert_int_equal(parsed.options.connect_timeout.ns, 60 * NS_PER_S);
  assert_int_equal(parsed.options.slo.ns, 100 * NS_PER_MS);
  assert_null(parsed.options.trace_dir);
  assert_null(parsed.options.model_dir);
  assert_true(parsed.options.sends_inputs);
  assert_false(parsed.options.wants_outputs);
  assert_string_equal(parsed.printed, "");
}

static void test_options_stand_anywhere(void **state) {
  (void)state;
  static struct parsed parsed;
  parse(&parsed, "--seed 18446744073709551615 127.0.0.1:77 --duration=1.5 simple-parametric 2 "
                 "--functions 100 3 --model-dir /zoo --connect-timeout 0 --slo-ms 25 --outputs");
  assert_int_equal(parsed.outcome, OPTIONS_RUN);
  assert_string_equal(parsed.options.controller.text, "127.0.0.1:77");
  assert_true(parsed.options.workload.seed == UINT64_MAX);
  assert_int_equal(parsed.options.duration.ns, 1500 * NS_PER_MS);
  assert_true(parsed.options.workload.numbers[0] == 2);
  assert_true(parsed.options.workload.numbers[1] == 3);
  assert_int_equal(parsed.options.synthetic_functions, 100);
  assert_string_equal(parsed.options.model_dir, "/zoo");
  assert_int_equal(parsed.options.connect_timeout.ns, 0);
  assert_int_equal(parsed.options.slo.ns, 25 * NS_PER_MS);
  assert_true(parsed.options.wants_outputs);
  assert_false(parsed.options.checks_outputs);
}

static void test_environment(void **state) {
  (void)state;
  static struct parsed parsed;
  setenv("CLOCKWORK_DISABLE_INPUTS", "1", 1);
  setenv("CLOCKWORK_MODEL_DIR", "/models", 1);
  setenv("AZURE_TRACE_DIR", "/traces", 1);
  parse(&parsed, "127.0.0.1 simple");
  assert_int_equal(parsed.outcome, OPTIONS_RUN);
  assert_false(parsed.options.sends_inputs);
  assert_string_equal(parsed.options.model_dir, "/models");
  assert_string_equal(parsed.options.trace_dir, "/traces");
  parse(&parsed, "127.0.0.1 simple --model-dir /other");
  assert_string_equal(parsed.options.model_dir, "/other");
  setenv("CLOCKWORK_DISABLE_INPUTS", "0", 1);
  setenv("CLOCKWORK_MODEL_DIR", "", 1);
  parse(&parsed, "127.0.0.1 simple");
  assert_true(parsed.options.sends_inputs);
  assert_null(parsed.options.model_dir);
}

/* One line that names what is wrong, and exit code 2. */
static void check_refused(const char *words, const char *text) {
  static struct parsed parsed;
  parse(&parsed, words);
  if (parsed.outcome != OPTIONS_EXIT || parsed.exit_code != CLIENT_EXIT_USAGE ||
      strstr(parsed.printed, text) == NULL) {
    fail_msg("'%s': exit code %d, printed: %s", words, parsed.exit_code, parsed.printed);
  }
  const char *end = strchr(parsed.printed, '\n');
  assert_non_null(end);
  assert_int_equal(end[1], '\0');
}

static void test_mistakes_have_one_line_and_exit_2(void **state) {
  (void)state;
  check_refused("", "the controller's address and a workload are needed");
  check_refused("127.0.0.1", "the controller's address and a workload are needed");
  check_refused("127.0.0.1 nope", "'nope'");
  check_refused("127.0.0.1 azure eight", "num_workers is 'eight'");
  check_refused("127.0.0.1 simple 1", "simple");
  check_refused("127.0.0.1:0 simple", "port 0");
  check_refused("127.0.0.1:x simple", "port");
  check_refused("1/2 simple", "address");
  check_refused("127.0.0.1 simple --sed 3x", "--sed");
  check_refused("127.0.0.1 simple --nope", "--nope");
  check_refused("127.0.0.1 simple -x", "-x");
  check_refused("127.0.0.1 simple --seed", "needs a value");
  check_refused("127.0.0.1 simple --seed -1", "--seed: '-1'");
  check_refused("127.0.0.1 simple --seed 18446744073709551616", "--seed");
  check_refused("127.0.0.1 simple --duration 0", "--duration: '0'");
  check_refused("127.0.0.1 simple --duration nan", "--duration");
  check_refused("127.0.0.1 simple --duration 1s", "--duration: '1s'");
  check_refused("127.0.0.1 simple --functions 0", "--functions");
  check_refused("127.0.0.1 simple --connect-timeout -1", "--connect-timeout");
  check_refused("127.0.0.1 simple --slo-ms 1e300", "--slo-ms");
  setenv("CLOCKWORK_DISABLE_INPUTS", "yes", 1);
  check_refused("127.0.0.1 simple", "CLOCKWORK_DISABLE_INPUTS: 'yes'");
  setenv("CLOCKWORK_DISABLE_INPUTS", "1", 1);
  check_refused("127.0.0.1 simple --check-outputs", "--check-outputs needs inputs");
}

static void test_help(void **state) {
  (void)state;
  static struct parsed parsed;
  parse(&parsed, "-h");
  assert_int_equal(parsed.outcome, OPTIONS_EXIT);
  assert_int_equal(parsed.exit_code, 0);
  assert_ptr_equal(strstr(parsed.printed, "Usage: client [address] [workload] [workload "
                                          "parameters (if required)]\n"
                                          "Available workloads with parameters:\n\t"),
                   parsed.printed);
  assert_non_null(strstr(parsed.printed, "\n\tbursty_experiment\n"));
  assert_non_null(strstr(parsed.printed, "--check-outputs"));
  parse(&parsed, "127.0.0.1 --help");
  assert_int_equal(parsed.exit_code, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_defaults, set_up),
      cmocka_unit_test_setup(test_options_stand_anywhere, set_up),
      cmocka_unit_test_setup(test_environment, set_up),
      cmocka_unit_test_setup(test_mistakes_have_one_line_and_exit_2, set_up),
      cmocka_unit_test_setup(test_help, set_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
