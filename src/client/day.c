#include "client/day.h"

#include <stdio.h>

#include "os/file.h"
#include "os/log.h"
#include "os/memory.h"
#include "workload/synthetic_day.h"

static const char PROGRAM[] = "client";

/* The public days are 100 to 150 MB. */
#define TRACE_FILE_BYTES_MAX ((size_t)8 << 30)

static int take_memory(struct day *day, size_t bytes) {
  void *memory = os_memory_take(bytes);
  if (memory == NULL) {
    log_warning("Out of memory: the day of calls needs %zu bytes", bytes);
    return CLIENT_EXIT_FAILED;
  }
  *day = (struct day){.memory = memory, .memory_bytes = bytes};
  return CLIENT_EXIT_OK;
}

static int read_mapped(struct day *day, const char *path, const struct file_map *map) {
  struct workload_fault fault;
  size_t bytes = 0;
  if (trace_measure((const char *)map->bytes, map->size_bytes, &bytes, &fault) != ERR_OK) {
    log_usage_error(PROGRAM, "%s: %s", path, fault.text);
    return CLIENT_EXIT_USAGE;
  }
  const int code = take_memory(day, bytes);
  if (code == CLIENT_EXIT_OK) {
    day->trace = trace_init(day->memory, (const char *)map->bytes, map->size_bytes);
    log_info("Trace: %s, %u functions, %llu calls", path, day->trace->function_count,
             (unsigned long long)day->trace->calls_count);
  }
  return code;
}

static int open_file(struct day *day, const char *folder, uint32_t trace_id) {
  char name[TRACE_FILE_NAME_BYTES];
  trace_file_name(trace_id, name);
  char path[4096];
  const int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
  if (length < 0 || (size_t)length >= sizeof(path)) {
    log_usage_error(PROGRAM, "AZURE_TRACE_DIR: the path is longer than %zu bytes", sizeof(path));
    return CLIENT_EXIT_USAGE;
  }
  struct file_map map;
  struct error_text error;
  if (file_map_open(path, TRACE_FILE_BYTES_MAX, &map, &error) != ERR_OK) {
    log_usage_error(PROGRAM,
                    "%s; AZURE_TRACE_DIR must be the folder of the uncompressed public trace, or "
                    "be unset for a synthetic day",
                    error.text);
    return CLIENT_EXIT_USAGE;
  }
  const int code = read_mapped(day, path, &map);
  file_map_close(&map);
  return code;
}

int day_open(struct day *day, const struct client_options *options, uint32_t trace_id) {
  if (options->trace_dir != NULL) {
    return open_file(day, options->trace_dir, trace_id);
  }
  struct synthetic_day_config config = synthetic_day_default(trace_id);
  config.function_count = options->synthetic_functions;
  log_info(
      "Trace: AZURE_TRACE_DIR is not set, so this is a synthetic day made by the project's own "
      "generator (make_trace): day %u of %u functions",
      trace_id, config.function_count);
  const int code = take_memory(day, synthetic_day_bytes(&config));
  if (code == CLIENT_EXIT_OK) {
    day->trace = synthetic_day_init(day->memory, &config);
  }
  return code;
}

void day_close(struct day *day) {
  if (day == NULL) {
    return;
  }
  os_memory_give(day->memory, day->memory_bytes);
  *day = (struct day){.memory = NULL};
}
