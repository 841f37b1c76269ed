/* What telemetry costs: formatting a row against snprintf in the same run, reporting one (the
 * scheduler's thread), and turning it into a file (the recorder's thread).
 *
 * usage: bench_recorder [ROWS]         default 1,000,000
 *
 * Budget: 150 ns to format an action, 1 us of all threads together for a row.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "os/clock.h"
#include "os/thread.h"
#include "os/usage.h"
#include "recorder/recorder.h"

static struct telemetry_action make_action(uint64_t number) {
  return (struct telemetry_action){.t = INT64_C(1598832443793706631) + (int64_t)number * 1000,
                                   .action_id = number,
                                   .action_type = 2,
                                   .worker_id = 3,
                                   .model_id = (uint32_t)(number % 4026),
                                   .batch_size = 8,
                                   .expected_exec_duration = 9930000,
                                   .worker_exec_duration = 9930000 + (int64_t)(number % 977),
                                   .expected_exec_complete = 12345678,
                                   .worker_exec_complete = 12345999,
                                   .expected_gpu_clock = 1380,
                                   .worker_gpu_clock_before = 1380,
                                   .worker_gpu_clock = 1380,
                                   .worker_copy_output_complete = 12399999,
                                   .worker_action_received = 234567,
                                   .worker_result_sent = 12411111,
                                   .controller_result_enqueue = 12655555,
                                   .controller_action_duration = 12666666,
                                   .goodput = 9930000,
                                   .requests_queued = 17,
                                   .copies_loaded = 2};
}

static size_t print_action(const struct telemetry_action *row, char *text, size_t bytes) {
  return (size_t)snprintf(
      text, bytes,
      "%" PRId64 "\t%" PRIu64 "\t%u\t%u\t%u\t%u\t%u\t%u\t%" PRId64 "\t%" PRId64 "\t%" PRId64
      "\t%" PRId64 "\t%u\t%u\t%u\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%" PRId64
      "\t%" PRId64 "\t%u\t%u\n",
      row->t, row->action_id, row->action_type, row->status, row->worker_id, row->gpu_id,
      row->model_id, row->batch_size, row->expected_exec_duration, row->worker_exec_duration,
      row->expected_exec_complete, row->worker_exec_complete, row->expected_gpu_clock,
      row->worker_gpu_clock_before, row->worker_gpu_clock, row->worker_copy_output_complete,
      row->worker_action_received, row->worker_result_sent, row->controller_result_enqueue,
      row->controller_action_duration, row->goodput, row->requests_queued, row->copies_loaded);
}

static double format_ns(uint64_t rows,
                        size_t (*format)(const struct telemetry_action *, char *, size_t)) {
  char text[TELEMETRY_ROW_BYTES_MAX_action];
  size_t bytes = 0;
  const struct instant begin = os_now();
  for (uint64_t i = 0; i < rows; i++) {
    const struct telemetry_action row = make_action(i);
    bytes += format(&row, text, sizeof(text));
  }
  const struct duration taken = instant_since(os_now(), begin);
  CHECK_GT(bytes, rows);
  return (double)taken.ns / (double)rows;
}

static void measure_recorder(const char *folder, uint64_t rows) {
  enum { RING = 1 << 16, BURST = 256 };
  const struct recorder_options options = {.folder = folder, .ring_rows = RING};
  struct recorder *recorder = NULL;
  struct error_text error;
  if (recorder_create(&options, &recorder, &error) != ERR_OK) {
    fprintf(stderr, "bench_recorder: %s\n", error.text);
    exit(1);
  }
  const struct telemetry_sink sink = recorder_sink(recorder);
  struct os_event pace; /* never set */
  CHECK_EQ(os_event_init(&pace), ERR_OK);
  struct usage before;
  struct usage after;
  struct recorder_counters counters;
  int64_t reporting_ns = 0;
  os_usage(&before);
  for (uint64_t i = 0; i < rows; i += BURST) {
    do {
      recorder_counters(recorder, &counters);
    } while (i - counters.rows_written > RING - BURST && !os_event_wait(&pace, duration_ms(1)));
    const struct instant begin = os_now();
    for (uint64_t j = i; j < i + BURST; j++) {
      const struct telemetry_action row = make_action(j);
      sink.on_action(sink.self, &row);
    }
    reporting_ns += instant_since(os_now(), begin).ns;
  }
  recorder_destroy(recorder, &counters);
  os_usage(&after);
  CHECK_EQ(counters.rows_dropped, 0);
  const double written = (double)counters.rows_written;
  printf("report_action_ns: %.0f\n", (double)reporting_ns / written);
  printf("row_cpu_ns_all_threads: %.0f\n", (double)(after.cpu_ns - before.cpu_ns) / written);
  os_event_finish(&pace);
}

static void measure_idle(const char *folder) {
  const struct recorder_options options = {.folder = folder};
  struct recorder *recorder = NULL;
  struct os_event pace;
  struct usage before;
  struct usage after;
  CHECK_EQ(recorder_create(&options, &recorder, NULL), ERR_OK);
  CHECK_EQ(os_event_init(&pace), ERR_OK);
  os_usage(&before);
  const struct instant begin = os_now();
  os_event_wait(&pace, duration_s(3));
  os_usage(&after);
  printf("idle_cpu_percent: %.3f\n", 100.0 * (double)(after.cpu_ns - before.cpu_ns) /
                                         (double)instant_since(os_now(), begin).ns);
  recorder_destroy(recorder, NULL);
  os_event_finish(&pace);
}

int main(int argc, char **argv) {
  char *end = NULL;
  const uint64_t rows = argc > 1 ? strtoull(argv[1], &end, 10) : 1000000;
  if (argc > 2 || rows == 0 || (end != NULL && *end != '\0')) {
    fprintf(stderr, "usage: bench_recorder [ROWS]\n");
    return 2;
  }
  const double own_ns = format_ns(rows, telemetry_format_action);
  const double printf_ns = format_ns(rows, print_action);
  printf("format_action_ns: %.0f\n", own_ns);
  printf("format_action_ns_snprintf: %.0f\n", printf_ns);
  printf("format_ratio: %.2f\n", own_ns / printf_ns);
  char folder[] = "/tmp/clockwork-bench-XXXXXX";
  if (mkdtemp(folder) == NULL) {
    perror("bench_recorder: cannot make a folder in /tmp");
    return 1;
  }
  measure_recorder(folder, rows);
  measure_idle(folder);
  char path[256];
  snprintf(path, sizeof(path), "%s/%s", folder, telemetry_file_request());
  unlink(path);
  snprintf(path, sizeof(path), "%s/%s", folder, telemetry_file_action());
  unlink(path);
  rmdir(folder);
  return 0;
}
