/* Parameters and usage texts of workload.h. */
#include "support/cmocka.h"
#include "support/memory.h"
#include "workload/workload.h"

enum { ARGUMENTS_MAX = 16 };

static enum err parse(const char *name, const char *const *arguments,
                      struct workload_config *ret_config, struct workload_fault *ret_fault) {
  const struct workload_kind *kind = workload_find(name, ret_fault);
  assert_non_null(kind);
  uint32_t count = 0;
  while (arguments[count] != NULL) {
    count++;
  }
  return workload_parse(kind, arguments, count, ret_config, ret_fault);
}

static void defaults_are_what_the_hints_say(void **state) {
  (void)state;
  for (uint32_t i = 0; i < workload_kind_count(); i++) {
    const struct workload_kind *kind = workload_kind_at(i);
    struct workload_config config;
    struct workload_fault fault = {.text = ""};
    assert_int_equal(workload_parse(kind, NULL, 0, &config, &fault), ERR_OK);
    uint32_t count = 0;
    const struct workload_parameter *parameters = workload_kind_parameters(kind, &count);
    for (uint32_t p = 0; p < count; p++) {
      const char *stated = strstr(parameters[p].hint, "default ");
      assert_non_null(stated);
      assert_string_equal(stated + strlen("default "), parameters[p].default_text);
    }
    assert_int_equal(config.seed, WORKLOAD_SEED);
    assert_ptr_equal(config.kind, kind);
  }
}

static void all_published_workloads_are_there(void **state) {
  (void)state;
  static const char *const NAMES[] = {
      "azure",
      "azure_scalability_exp",
      "bursty_experiment",
      "simple",
      "example",
      "simple-slo-factor",
      "simple-parametric",
      "fill_memory",
      "spam",
      "single-spam",
      "poisson-open-loop",
      "scalability-exp-1",
      "slo-exp-1",
      "slo-exp-2",
      "comparison_experiment",
      "comparison_experiment2",
  };
  struct workload_fault fault;
  assert_int_equal(workload_kind_count(), sizeof(NAMES) / sizeof(NAMES[0]));
  for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
    const struct workload_kind *kind = workload_find(NAMES[i], &fault);
    assert_non_null(kind);
    assert_string_equal(workload_kind_name(kind), NAMES[i]);
  }
  assert_null(workload_find("azur", &fault));
  assert_non_null(strstr(fault.text, "'azur'"));
  assert_non_null(strstr(fault.text, "comparison_experiment2"));
  assert_null(strchr(fault.text, '\n'));
}

static void azure_takes_the_published_parameters(void **state) {
  (void)state;
  const char *const arguments[] = {"8", "0", "0.5", "2", "10", "14", "true", NULL};
  struct workload_config config;
  struct workload_fault fault = {.text = ""};
  assert_int_equal(parse("azure", arguments, &config, &fault), ERR_OK);
  const double expected[] = {8, 0, 0.5, 2, 10, 14, 1};
  for (int i = 0; i < 7; i++) {
    assert_true(config.numbers[i] == expected[i]);
  }
  uint32_t trace_id = 0;
  assert_true(workload_needs_trace(&config, &trace_id));
  assert_int_equal(trace_id, 14);
  const char *const none[] = {NULL};
  assert_int_equal(parse("azure_scalability_exp", none, &config, &fault), ERR_OK);
  assert_true(workload_needs_trace(&config, &trace_id));
  assert_int_equal(trace_id, 1);
  assert_int_equal(parse("simple", none, &config, &fault), ERR_OK);
  assert_false(workload_needs_trace(&config, &trace_id));
}

static void faults_say_what_and_how_to_mend(void **state) {
  (void)state;
  static const struct {
    const char *workload;
    const char *arguments[ARGUMENTS_MAX];
    enum err error;
    const char *text;
  } CASES[] = {
      {"azure", {"x"}, ERR_MALFORMED, "azure: num_workers is 'x'; give a whole number from 1 to"},
      {"azure", {"1.5"}, ERR_MALFORMED, "num_workers is '1.5'"},
      {"azure", {""}, ERR_MALFORMED, "num_workers is ''"},
      {"azure", {"0x8"}, ERR_MALFORMED, "num_workers is '0x8'"},
      {"azure", {"8 "}, ERR_MALFORMED, "num_workers is '8 '"},
      {"azure", {"0"}, ERR_RANGE, "num_workers is '0'"},
      {"azure", {"-8"}, ERR_RANGE, "num_workers is '-8'"},
      {"azure", {"8", "yes"}, ERR_MALFORMED, "use_all_models is 'yes'; give 0, 1, false or true"},
      {"azure", {"8", "1", "nan"}, ERR_MALFORMED, "load_factor is 'nan'; give a number from"},
      {"azure", {"8", "1", "inf"}, ERR_MALFORMED, "load_factor is 'inf'"},
      {"azure", {"8", "1", "1e400"}, ERR_MALFORMED, "load_factor is '1e400'"},
      {"azure", {"8", "1", "0"}, ERR_RANGE, "from 0.000001 to 10000"},
      {"azure",
       {"8", "1", "1", "5"},
       ERR_RANGE,
       "memory_load_factor is '5'; give a whole number "
       "from 1 to 4"},
      {"azure", {"8", "1", "1", "4", "60", "15"}, ERR_RANGE, "trace is '15'"},
      {"azure",
       {"1", "1", "1", "4", "60", "1", "1", "9"},
       ERR_MALFORMED,
       "azure takes at most 7 parameters; leave out '9'"},
      {"simple", {"2"}, ERR_MALFORMED, "simple takes at most 0 parameters; leave out '2'"},
      {"spam", {""}, ERR_MALFORMED, "model is ''; give the name of a model"},
      {"spam", {"a", "b\nc"}, ERR_MALFORMED, "takes at most 1 parameter; leave out 'b?c'"},
      {"slo-exp-1",
       {"m", "12", "uniform"},
       ERR_MALFORMED,
       "dist is 'uniform'; give poisson or "
       "fixed"},
      {"slo-exp-1",
       {"m", "12", "fixed", "600", "1", "100", "0.5"},
       ERR_RANGE,
       "slo-exp-1: slo-start, slo-end, slo-factor, slo-op: from 1 by multiplying with 0.5 the end "
       "100 is not reached"},
      {"scalability-exp-1", {"1", "1", "5", "0", "add"}, ERR_RANGE, "by adding 0"},
      {"azure_scalability_exp", {"1", "1", "4", "1"}, ERR_RANGE, "load_factor_inc"},
      {"simple-parametric", {"1", "10000", "10000"}, ERR_RANGE, "clients times concurrency"},
      {"comparison_experiment2", {"100000", "10000"}, ERR_RANGE, "num_models times concurrency"},
  };
  for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
    struct workload_config config = {.seed = 77};
    struct workload_fault fault = {.text = ""};
    assert_int_equal(parse(CASES[i].workload, CASES[i].arguments, &config, &fault), CASES[i].error);
    if (strstr(fault.text, CASES[i].text) == NULL) {
      fail_msg("'%s' lacks '%s'", fault.text, CASES[i].text);
    }
    assert_null(strchr(fault.text, '\n'));
    assert_int_equal(config.seed, 77);
  }
}

static void usage_has_the_published_lines(void **state) {
  (void)state;
  const size_t bytes = workload_usage(NULL, 0);
  char *usage = malloc(bytes + 1);
  assert_non_null(usage);
  assert_int_equal(workload_usage(usage, bytes + 1), bytes);
  assert_int_equal(strlen(usage), bytes);
  static const char *const LINES[] = {
      "\tazure\n\t\t Description: ",
      "\t\t Workload parameters:\n\t\t\t num_workers: (int, default 1) the number of workers",
      "\t\t\t use_all_models: (bool, default 1) load all models or just resnet50_v2\n",
      "\t\t\t load_factor: (float, default 1.0) ",
      "\t\t\t memory_load_factor: (1, 2, 3, or 4; default 4):\n\t\t\t\t 1: loads approx. 200 "
      "models\n\t\t\t\t 2: loads approx. 800 models\n\t\t\t\t 3: loads approx. 1800 "
      "models\n\t\t\t\t 4: loads approx. 4000 models\n",
      "\t\t\t interval: (int, default 60) interval duration in seconds\n",
      "\t\t\t trace: (int, 1 to 13 inclusive, default 1) trace ID to replay\n",
      "\t\t\t randomise: (bool, default false) ",
      "\tbursty_experiment\n",
      "\t\t\t num_models: (int, default 3600) number of 'major' workload models\n",
  };
  for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
    if (strstr(usage, LINES[i]) == NULL) {
      fail_msg("the usage text lacks '%s'", LINES[i]);
    }
  }
  char small[64];
  assert_int_equal(workload_usage(small, sizeof(small)), bytes);
  assert_int_equal(strlen(small), sizeof(small) - 1);
  assert_memory_equal(small, usage, sizeof(small) - 1);
  free(usage);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_are_what_the_hints_say),
      cmocka_unit_test(all_published_workloads_are_there),
      cmocka_unit_test(azure_takes_the_published_parameters),
      cmocka_unit_test(faults_say_what_and_how_to_mend),
      cmocka_unit_test(usage_has_the_published_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
