#include "base/check.h"

#include <string.h>

#include "base/error.h"
#include "support/cmocka.h"
#include "support/death.h"

static void compare(void *value) {
  CHECK_EQ(*(int *)value, 7);
}

static void condition(void *value) {
  CHECK(*(int *)value == 7);
}

static void a_check_that_holds_has_no_effect(void **state) {
  (void)state;
  int value = 7;
  assert_false(test_dies(compare, &value));
  assert_false(test_dies(condition, &value));
}

static void a_check_that_fails_aborts(void **state) {
  (void)state;
  int value = 8;
  assert_true(test_dies(compare, &value));
  assert_true(test_dies(condition, &value));
}

/* The child's standard error goes to a pipe instead of nowhere. */
static void both_values_are_shown(void **state) {
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL);
    dup2(ends[1], STDERR_FILENO);
    const int64_t smallest = INT64_MIN;
    CHECK_GE(smallest, 42);
    _exit(0);
  }
  close(ends[1]);
  char text[600] = "";
  size_t length = 0;
  ssize_t got = 0;
  while ((got = read(ends[0], text + length, sizeof(text) - 1 - length)) > 0) {
    length += (size_t)got;
  }
  close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  assert_non_null(strstr(text, "smallest >= 42 (-9223372036854775808 against 42)\n"));
  assert_non_null(strstr(text, "test_check.c:"));
}

static void arguments_are_evaluated_once(void **state) {
  (void)state;
  int count = 0;
  CHECK_EQ(++count, 1);
  CHECK(++count == 2);
  assert_int_equal(count, 2);
}

static void every_error_has_a_text(void **state) {
  (void)state;
  assert_string_equal(err_text(ERR_OK), "ok");
  assert_string_equal(err_text(ERR_FULL), "full");
  assert_string_equal(err_text((enum err) - 12345), "unknown error");
  for (int code = ERR_UNSUPPORTED; code < 0; code++) {
    assert_string_not_equal(err_text((enum err)code), "unknown error");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_check_that_holds_has_no_effect),
      cmocka_unit_test(a_check_that_fails_aborts),
      cmocka_unit_test(both_values_are_shown),
      cmocka_unit_test(arguments_are_evaluated_once),
      cmocka_unit_test(every_error_has_a_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
