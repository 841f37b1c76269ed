#include "recorder/recorder.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/thread.h"
#include "support/cmocka.h"

struct folder {
  char path[64];
  char requests[128];
  char actions[128];
};

static int make_folder(void **state) {
  struct folder *folder = calloc(1, sizeof(*folder));
  snprintf(folder->path, sizeof(folder->path), "/tmp/clockwork-test-XXXXXX");
  if (mkdtemp(folder->path) == NULL) {
    return -1;
  }
  snprintf(folder->requests, sizeof(folder->requests), "%s/%s", folder->path,
           telemetry_file_request());
  snprintf(folder->actions, sizeof(folder->actions), "%s/%s", folder->path,
           telemetry_file_action());
  *state = folder;
  return 0;
}

static int remove_folder(void **state) {
  struct folder *folder = *state;
  unlink(folder->requests);
  unlink(folder->actions);
  const int result = rmdir(folder->path);
  free(folder);
  return result;
}

/* The file's rows: each begins with an increasing number, is whole, and stands behind the header.
 * Returns how many; *ret_last is the last number. */
static uint64_t count_rows(const char *path, const char *header, uint64_t *ret_last) {
  char *content = NULL;
  size_t bytes = 0;
  assert_int_equal(file_read(path, (size_t)1 << 30, &content, &bytes, NULL), ERR_OK);
  const size_t header_bytes = strlen(header);
  assert_true(bytes >= header_bytes);
  assert_memory_equal(content, header, header_bytes);
  size_t columns = 1;
  for (const char *at = header; *at != '\0'; at++) {
    columns += *at == '\t';
  }
  uint64_t rows = 0;
  *ret_last = 0;
  const char *at = content + header_bytes;
  while (*at != '\0') {
    const char *end = strchr(at, '\n');
    assert_non_null(end);
    size_t tabs = 0;
    for (const char *c = at; c < end; c++) {
      tabs += *c == '\t';
    }
    assert_int_equal(tabs, columns - 1);
    const uint64_t number = strtoull(at, NULL, 10);
    assert_true(number > *ret_last);
    *ret_last = number;
    rows++;
    at = end + 1;
  }
  free(content);
  return rows;
}

static struct recorder *create(const struct folder *folder, uint32_t ring_rows) {
  const struct recorder_options options = {.folder = folder->path, .ring_rows = ring_rows};
  struct recorder *recorder = NULL;
  struct error_text error;
  assert_int_equal(recorder_create(&options, &recorder, &error), ERR_OK);
  return recorder;
}

static void push_request(const struct telemetry_sink *sink, uint64_t number) {
  const struct telemetry_request row = {.t = (int64_t)number, .request_id = number};
  sink->on_request(sink->self, &row);
}

static void push_action(const struct telemetry_sink *sink, uint64_t number) {
  const struct telemetry_action row = {.t = (int64_t)number, .action_id = number};
  sink->on_action(sink->self, &row);
}

/* ---- what is written ------------------------------------------------------------------------- */

static void every_row_is_there_after_destroy(void **state) {
  const struct folder *folder = *state;
  enum { ROWS = 50000 };
  struct recorder *recorder = create(folder, 0);
  assert_string_equal(recorder_folder(recorder), folder->path);
  const struct telemetry_sink sink = recorder_sink(recorder);
  for (uint64_t i = 1; i <= ROWS; i++) {
    push_request(&sink, i);
    push_action(&sink, i);
  }
  struct recorder_counters counters;
  recorder_destroy(recorder, &counters);
  assert_int_equal(counters.rows_written, 2 * ROWS);
  assert_int_equal(counters.rows_dropped, 0);
  assert_int_equal(counters.rows_lost, 0);
  uint64_t last;
  assert_int_equal(count_rows(folder->requests, telemetry_header_request(), &last), ROWS);
  assert_int_equal(last, ROWS);
  assert_int_equal(count_rows(folder->actions, telemetry_header_action(), &last), ROWS);
  assert_int_equal(last, ROWS);
}

static void rows_are_written_while_it_runs(void **state) {
  const struct folder *folder = *state;
  struct recorder *recorder = create(folder, 0);
  const struct telemetry_sink sink = recorder_sink(recorder);
  struct recorder_counters counters;
  for (uint64_t i = 1; i <= 3; i++) {
    push_request(&sink, i);
    const struct instant limit = instant_add(os_now(), duration_s(60));
    do {
      assert_true(instant_before(os_now(), limit));
      recorder_counters(recorder, &counters);
    } while (counters.rows_written < i);
    uint64_t last;
    assert_int_equal(count_rows(folder->requests, telemetry_header_request(), &last), i);
  }
  recorder_destroy(recorder, NULL);
}

static void nothing_reported_leaves_the_headers(void **state) {
  const struct folder *folder = *state;
  struct recorder_counters counters;
  recorder_destroy(create(folder, 0), &counters);
  assert_int_equal(counters.rows_written, 0);
  uint64_t last;
  assert_int_equal(count_rows(folder->requests, telemetry_header_request(), &last), 0);
  assert_int_equal(count_rows(folder->actions, telemetry_header_action(), &last), 0);
}

static void a_full_ring_drops_and_counts(void **state) {
  const struct folder *folder = *state;
  enum { ROWS = 200000 };
  struct recorder *recorder = create(folder, 4);
  const struct telemetry_sink sink = recorder_sink(recorder);
  for (uint64_t i = 1; i <= ROWS; i++) {
    push_action(&sink, i);
  }
  struct recorder_counters counters;
  recorder_destroy(recorder, &counters);
  assert_true(counters.rows_dropped > 0);
  assert_true(counters.rows_written >= 4);
  assert_int_equal(counters.rows_written + counters.rows_dropped, ROWS);
  uint64_t last;
  assert_int_equal(count_rows(folder->actions, telemetry_header_action(), &last),
                   counters.rows_written);
}

/* A reporter that keeps just below what the ring holds loses nothing: the half-full ring wakes the
 * writer before its period is over. */
static void a_half_full_ring_wakes_the_writer(void **state) {
  const struct folder *folder = *state;
  enum { RING = 1024, ROWS = 300 * RING };
  struct recorder *recorder = create(folder, RING);
  const struct telemetry_sink sink = recorder_sink(recorder);
  struct recorder_counters counters;
  const struct instant begin = os_now();
  for (uint64_t i = 1; i <= ROWS; i++) {
    do {
      recorder_counters(recorder, &counters);
    } while (i - counters.rows_written > RING / 2 + RING / 4);
    push_request(&sink, i);
  }
  /* 100 ms for each ring, were it not woken: 30 s. */
  assert_true(instant_since(os_now(), begin).ns < 15 * NS_PER_S);
  recorder_destroy(recorder, &counters);
  assert_int_equal(counters.rows_dropped, 0);
  assert_int_equal(counters.rows_written, ROWS);
}

/* ---- where ----------------------------------------------------------------------------------- */

static void the_fallback_folder_serves_when_the_first_does_not(void **state) {
  const struct folder *folder = *state;
  static const char *const NO_FOLDERS[] = {NULL, "/no-such-folder", "/dev/null"};
  for (size_t i = 0; i < 3; i++) {
    const struct recorder_options options = {.folder = NO_FOLDERS[i],
                                             .fallback_folder = folder->path};
    struct recorder *recorder = NULL;
    assert_int_equal(recorder_create(&options, &recorder, NULL), ERR_OK);
    assert_string_equal(recorder_folder(recorder), folder->path);
    recorder_destroy(recorder, NULL);
  }
}

static void without_any_folder_the_caller_is_told_and_can_go_on(void **state) {
  (void)state;
  struct recorder_options options = {.fallback_folder = "/no-such-folder"};
  struct recorder *recorder = NULL;
  struct error_text error;
  assert_int_equal(recorder_create(&options, &recorder, &error), ERR_NOT_FOUND);
  assert_non_null(strstr(error.text, "CLOCKWORK_LOG_DIR is not set"));
  assert_non_null(strstr(error.text, "/no-such-folder"));
  options.folder = "/nor-this";
  assert_int_equal(recorder_create(&options, &recorder, &error), ERR_NOT_FOUND);
  assert_non_null(strstr(error.text, "/nor-this"));
  assert_null(recorder);

  const struct telemetry_sink sink = recorder_sink(NULL);
  push_request(&sink, 1);
  push_action(&sink, 1);
  struct recorder_counters counters = {.rows_written = 1};
  recorder_counters(NULL, &counters);
  assert_int_equal(counters.rows_written, 0);
  assert_false(recorder_take_error(NULL, &error));
  recorder_destroy(NULL, &counters);
  recorder_destroy(NULL, NULL);
}

static void a_file_that_cannot_be_made_is_named(void **state) {
  const struct folder *folder = *state;
  CHECK_EQ(symlink("/no-such-folder/x", folder->actions), 0);
  const struct recorder_options options = {.folder = folder->path};
  struct recorder *recorder = NULL;
  struct error_text error;
  assert_int_not_equal(recorder_create(&options, &recorder, &error), ERR_OK);
  assert_non_null(strstr(error.text, telemetry_file_action()));
}

/* ---- disks that are full --------------------------------------------------------------------- */

static void push_until_lost(struct recorder *recorder, const struct telemetry_sink *sink,
                            uint64_t *number, uint64_t lost_wanted) {
  struct recorder_counters counters;
  do {
    push_request(sink, ++*number);
    recorder_counters(recorder, &counters);
  } while (counters.rows_lost < lost_wanted);
}

/* In a child, because the limit of a file's size is the process's. The limit lies within a row. */
static void a_full_disk_loses_rows_and_nothing_else(void **state) {
  const struct folder *folder = *state;
  enum { FILE_BYTES_MAX = 40001 };
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct recorder *recorder = create(folder, 0);
    const struct telemetry_sink sink = recorder_sink(recorder);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {FILE_BYTES_MAX, RLIM_INFINITY};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t number = 0;
    push_until_lost(recorder, &sink, &number, 1);
    struct error_text error;
    while (!recorder_take_error(recorder, &error)) {
    }
    CHECK(strstr(error.text, telemetry_file_request()) != NULL);
    push_until_lost(recorder, &sink, &number, 5000);
    CHECK(!recorder_take_error(recorder, &error)); /* told once */
    const struct rlimit large = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &large), 0);
    struct recorder_counters counters;
    recorder_counters(recorder, &counters);
    const uint64_t written = counters.rows_written;
    do { /* there is room again: it goes on by itself */
      push_request(&sink, ++number);
      recorder_counters(recorder, &counters);
    } while (counters.rows_written == written);
    recorder_destroy(recorder, &counters);
    CHECK_EQ(counters.rows_written + counters.rows_lost + counters.rows_dropped, number);
    uint64_t last;
    CHECK_EQ(count_rows(folder->requests, telemetry_header_request(), &last),
             counters.rows_written);
    _exit(0);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- processes that are killed --------------------------------------------------------------- */

enum { KILL_LOG_MAX = 1 << 20 };

/* Shared with the child: when it reported which row. */
struct kill_log {
  atomic_uint_fast64_t reported;
  int64_t reported_at_ns[KILL_LOG_MAX];
};

static void sigkill_loses_less_than_a_second(void **state) {
  const struct folder *folder = *state;
  struct kill_log *log =
      mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(log, MAP_FAILED);
  const struct instant begin = os_now();
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct recorder *recorder = create(folder, 0);
    const struct telemetry_sink sink = recorder_sink(recorder);
    struct os_event pace; /* never set: rows at a pace that a disk keeps up with */
    CHECK_EQ(os_event_init(&pace), ERR_OK);
    for (uint64_t i = 1; i < KILL_LOG_MAX; i++) {
      push_action(&sink, i);
      log->reported_at_ns[i] = os_now().ns;
      atomic_store(&log->reported, i);
      if (i % 50 == 0) {
        os_event_wait(&pace, duration_ms(1));
      }
    }
    _exit(1);
  }
  /* Long enough that rows are older than a second. */
  struct os_event pace;
  CHECK_EQ(os_event_init(&pace), ERR_OK);
  uint64_t reported;
  do {
    os_event_wait(&pace, duration_ms(5));
    reported = atomic_load(&log->reported);
  } while (reported == 0 || log->reported_at_ns[reported] - begin.ns < 1800 * NS_PER_MS);
  const int64_t killed_at_ns = os_now().ns;
  CHECK_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  os_event_finish(&pace);

  uint64_t last;
  const uint64_t rows = count_rows(folder->actions, telemetry_header_action(), &last);
  assert_true(rows > 0);
  assert_int_equal(rows, last); /* no gap */
  reported = atomic_load(&log->reported);
  uint64_t old_count = 0; /* rows that were a second old */
  while (old_count < reported && log->reported_at_ns[old_count + 1] < killed_at_ns - NS_PER_S) {
    old_count++;
  }
  assert_true(old_count > 0);
  assert_true(rows >= old_count);
  munmap(log, sizeof(*log));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_row_is_there_after_destroy, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(rows_are_written_while_it_runs, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(nothing_reported_leaves_the_headers, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(a_full_ring_drops_and_counts, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(a_half_full_ring_wakes_the_writer, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(the_fallback_folder_serves_when_the_first_does_not,
                                      make_folder, remove_folder),
      cmocka_unit_test(without_any_folder_the_caller_is_told_and_can_go_on),
      cmocka_unit_test_setup_teardown(a_file_that_cannot_be_made_is_named, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(a_full_disk_loses_rows_and_nothing_else, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(sigkill_loses_less_than_a_second, make_folder, remove_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
