#include "simulator/inputs.h"

#include <stdio.h>
#include <stdlib.h>

#include "model/profile.h"
#include "os/file.h"
#include "os/memory.h"
#include "simulator/default_profile.h"
#include "simulator/memory.h"
#include "workload/synthetic_day.h"

enum { PROFILE_BYTES_MAX = 16 << 20 };

/* The public days are 100 to 150 MB. */
#define TRACE_FILE_BYTES_MAX ((size_t)8 << 30)

/* ---- profile --------------------------------------------------------------------------------- */

static enum err parse_profile(struct profile *profile, const char *name, const char *text,
                              size_t bytes, struct error_text *ret_error) {
  uint32_t capacity = 1; /* no profile has more rows than lines */
  for (size_t i = 0; i < bytes; i++) {
    capacity += text[i] == '\n';
  }
  profile->specs = calloc(capacity, sizeof(*profile->specs));
  if (profile->specs == NULL) {
    error_text_set(ret_error, "out of memory for the profile");
    return ERR_NO_MEMORY;
  }
  struct profile_fault fault;
  const enum err error =
      profile_parse(text, bytes, profile->specs, capacity, &profile->count, &fault);
  if (error != ERR_OK) {
    error_text_set(ret_error, "%.120s:%u: %s", name, fault.line, fault.message);
    return error;
  }
  if (profile->count == 0) {
    error_text_set(ret_error, "%.120s: has no model; give it a row a model", name);
    return ERR_MALFORMED;
  }
  return ERR_OK;
}

enum err profile_open(struct profile *profile, const char *path, struct error_text *ret_error) {
  *profile = (struct profile){.count = 0};
  if (path == NULL) {
    return parse_profile(profile, "the built-in profile", default_profile, default_profile_bytes,
                         ret_error);
  }
  char *content = NULL;
  size_t bytes = 0;
  enum err error = file_read(path, PROFILE_BYTES_MAX, &content, &bytes, ret_error);
  if (error == ERR_OK) {
    error = parse_profile(profile, path, content, bytes, ret_error);
    free(content);
  }
  if (error != ERR_OK) {
    profile_close(profile);
  }
  return error;
}

void profile_close(struct profile *profile) {
  if (profile != NULL) {
    free(profile->specs);
    *profile = (struct profile){.count = 0};
  }
}

/* ---- day of calls ---------------------------------------------------------------------------- */

static enum err take_memory(struct day *day, size_t bytes, struct error_text *ret_error) {
  void *memory = simulator_memory_take(bytes);
  if (memory == NULL) {
    error_text_set(ret_error, "out of memory: the day of calls needs %zu bytes", bytes);
    return ERR_NO_MEMORY;
  }
  *day = (struct day){.memory = memory, .memory_bytes = bytes};
  return ERR_OK;
}

static enum err read_mapped(struct day *day, const char *path, const struct file_map *map,
                            struct error_text *ret_error) {
  struct workload_fault fault;
  size_t bytes = 0;
  enum err error = trace_measure((const char *)map->bytes, map->size_bytes, &bytes, &fault);
  if (error != ERR_OK) {
    error_text_set(ret_error, "%.100s: %.200s", path, fault.text);
    return error;
  }
  error = take_memory(day, bytes, ret_error);
  if (error == ERR_OK) {
    day->trace = trace_init(day->memory, (const char *)map->bytes, map->size_bytes);
    snprintf(day->description, sizeof(day->description), "%.200s, %u functions, %llu calls", path,
             day->trace->function_count, (unsigned long long)day->trace->calls_count);
  }
  return error;
}

static enum err open_file(struct day *day, const char *folder, uint32_t trace_id,
                          struct error_text *ret_error) {
  char name[TRACE_FILE_NAME_BYTES];
  trace_file_name(trace_id, name);
  char path[4096];
  const int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
  if (length < 0 || (size_t)length >= sizeof(path)) {
    error_text_set(ret_error, "AZURE_TRACE_DIR: the path is longer than %zu bytes", sizeof(path));
    return ERR_NOT_FOUND;
  }
  struct file_map map;
  struct error_text fault;
  enum err error = file_map_open(path, TRACE_FILE_BYTES_MAX, &map, &fault);
  if (error != ERR_OK) {
    error_text_set(ret_error,
                   "%.150s; AZURE_TRACE_DIR must be the folder of the uncompressed public trace, "
                   "or be unset for a synthetic day",
                   fault.text);
    return error;
  }
  error = read_mapped(day, path, &map, ret_error);
  file_map_close(&map);
  return error;
}

enum err day_open(struct day *day, const char *folder, uint32_t trace_id, uint32_t functions,
                  struct error_text *ret_error) {
  *day = (struct day){.memory = NULL};
  if (folder != NULL) {
    return open_file(day, folder, trace_id, ret_error);
  }
  struct synthetic_day_config config = synthetic_day_default(trace_id);
  config.function_count = functions;
  const enum err error = take_memory(day, synthetic_day_bytes(&config), ret_error);
  if (error == ERR_OK) {
    day->trace = synthetic_day_init(day->memory, &config);
    snprintf(day->description, sizeof(day->description),
             "synthetic day %u of %u functions, %llu calls (AZURE_TRACE_DIR is not set)", trace_id,
             functions, (unsigned long long)day->trace->calls_count);
  }
  return error;
}

void day_close(struct day *day) {
  if (day != NULL) {
    os_memory_give(day->memory, day->memory_bytes);
    *day = (struct day){.memory = NULL};
  }
}
