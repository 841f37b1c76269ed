#include "simulator/faults/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Processes of the trace. */
enum { PID_FAULTS = 1, PID_CONTROLLER = 2, PID_FIRST_WORKER = 10 };

enum { GPUS_MAX = 64 };

static const int64_t COUNTER_PERIOD_NS = 10 * NS_PER_MS;

struct timeline {
  FILE *file;
  const struct fault_plan *plan;
  struct instant start;
  const char *(*model_name)(const void *self, uint32_t model_id);
  const void *self;
  struct instant begun[GPUS_MAX][BACKEND_ENGINES];
  uint64_t events_count;
  uint64_t under_way;
  uint64_t answers[2]; /* since the last counters: successes, others */
  struct instant counters_at;
};

static double us_of(const struct timeline *timeline, struct instant at) {
  return (double)instant_since(at, timeline->start).ns / 1e3;
}

/* Up to the arguments; the caller adds what else there is and the closing brace. */
static void event_begin(struct timeline *timeline, const char *phase, const char *category,
                        struct instant at, uint32_t pid, uint32_t tid) {
  fprintf(timeline->file,
          "%s{\"ph\":\"%s\",\"cat\":\"%s\",\"ts\":%.3f,\"pid\":%" PRIu32 ",\"tid\":%" PRIu32,
          timeline->events_count++ == 0 ? "" : ",\n", phase, category, us_of(timeline, at), pid,
          tid);
}

/* As a JSON string, with its quotes. */
static void text_write(struct timeline *timeline, const char *text) {
  fputc('"', timeline->file);
  for (; *text != '\0'; text++) {
    const unsigned char c = (unsigned char)*text;
    if (c < ' ' || c == '"' || c == '\\') {
      fprintf(timeline->file, "\\u%04x", c);
    } else {
      fputc(c, timeline->file);
    }
  }
  fputc('"', timeline->file);
}

static void name_write(struct timeline *timeline, const char *name) {
  fputs(",\"name\":", timeline->file);
  text_write(timeline, name);
}

static void name_track(struct timeline *timeline, const char *what, uint32_t pid, uint32_t tid,
                       const char *name) {
  event_begin(timeline, "M", "meta", timeline->start, pid, tid);
  fprintf(timeline->file, ",\"name\":\"%s\",\"args\":{\"name\":", what);
  text_write(timeline, name);
  fputs("}}", timeline->file);
}

static uint32_t engine_track(uint32_t gpu_index, enum backend_engine engine) {
  return gpu_index * BACKEND_ENGINES + (uint32_t)engine + 1;
}

static void name_tracks(struct timeline *timeline) {
  char name[80];
  name_track(timeline, "process_name", PID_FAULTS, 0, "faults");
  name_track(timeline, "process_name", PID_CONTROLLER, 0, "controller and client");
  for (uint32_t i = 0; i < timeline->plan->workers; i++) {
    snprintf(name, sizeof(name), "worker %" PRIu32, i);
    name_track(timeline, "process_name", PID_FIRST_WORKER + i, 0, name);
    for (uint32_t j = 0; j < timeline->plan->gpus * BACKEND_ENGINES; j++) {
      const enum backend_engine engine = (enum backend_engine)(j % BACKEND_ENGINES);
      snprintf(name, sizeof(name), "GPU %" PRIu32 " %s", j / BACKEND_ENGINES,
               backend_engine_text(engine));
      name_track(timeline, "thread_name", PID_FIRST_WORKER + i,
                 engine_track(j / BACKEND_ENGINES, engine), name);
    }
  }
}

struct timeline *timeline_create(const char *path, const struct fault_plan *plan,
                                 struct instant start,
                                 const char *(*model_name)(const void *self, uint32_t model_id),
                                 const void *self, struct error_text *ret_error) {
  struct timeline *timeline = calloc(1, sizeof(*timeline));
  if (timeline == NULL) {
    error_text_set(ret_error, "out of memory");
    return NULL;
  }
  *timeline = (struct timeline){.file = fopen(path, "we"),
                                .plan = plan,
                                .start = start,
                                .model_name = model_name,
                                .self = self,
                                .counters_at = start};
  if (timeline->file == NULL) {
    error_text_set(ret_error, "%.200s: can't write: %s", path, strerror(errno));
    free(timeline);
    return NULL;
  }
  fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", timeline->file);
  name_tracks(timeline);
  return timeline;
}

static void counters_write(struct timeline *timeline, struct instant at) {
  event_begin(timeline, "C", "requests", at, PID_CONTROLLER, 0);
  fprintf(timeline->file, ",\"name\":\"requests under way\",\"args\":{\"requests\":%" PRIu64 "}}",
          timeline->under_way);
  event_begin(timeline, "C", "requests", at, PID_CONTROLLER, 0);
  fprintf(timeline->file,
          ",\"name\":\"answers in 10 ms\",\"args\":{\"success\":%" PRIu64 ",\"other\":%" PRIu64
          "}}",
          timeline->answers[0], timeline->answers[1]);
  timeline->answers[0] = 0;
  timeline->answers[1] = 0;
}

static void counters_update(struct timeline *timeline, struct instant now) {
  if (instant_since(now, timeline->counters_at).ns >= COUNTER_PERIOD_NS) {
    counters_write(timeline, now);
    timeline->counters_at = now;
  }
}

bool timeline_destroy(struct timeline *timeline) {
  if (timeline == NULL) {
    return true;
  }
  fputs("\n]}\n", timeline->file);
  const bool is_whole = ferror(timeline->file) == 0;
  const bool is_closed = fclose(timeline->file) == 0;
  free(timeline);
  return is_whole && is_closed;
}

void timeline_on_fault(struct timeline *timeline, struct instant now, const struct fault *fault,
                       bool begins) {
  if (!begins) {
    return;
  }
  char text[160];
  plan_describe_fault(fault, text, sizeof(text));
  if (fault->lasts.ns > 0) {
    event_begin(timeline, "X", "fault", now, PID_FAULTS, (uint32_t)fault->kind + 1);
    fprintf(timeline->file, ",\"dur\":%.3f", (double)fault->lasts.ns / 1e3);
    name_write(timeline, text);
    fputc('}', timeline->file);
  }
  event_begin(timeline, "i", "fault", now, PID_FAULTS, (uint32_t)fault->kind + 1);
  name_write(timeline, text);
  fputs(",\"s\":\"g\"}", timeline->file);
}

void timeline_on_request(struct timeline *timeline, struct instant now, uint64_t ticket,
                         uint32_t model_id) {
  timeline->under_way++;
  event_begin(timeline, "b", "request", now, PID_CONTROLLER, 0);
  fprintf(timeline->file, ",\"id\":\"%" PRIx64 "\"", ticket);
  name_write(timeline, "request");
  fputs(",\"args\":{\"model\":", timeline->file);
  text_write(timeline, timeline->model_name(timeline->self, model_id));
  fprintf(timeline->file, ",\"model_id\":%" PRIu32 "}}", model_id);
  counters_update(timeline, now);
}

void timeline_on_request_end(struct timeline *timeline, struct instant now, uint64_t ticket,
                             enum request_end end, enum request_result result) {
  const bool is_success = end == REQUEST_END_ANSWERED && result == REQUEST_SUCCESS;
  timeline->under_way -= end != REQUEST_END_UNCALLED;
  timeline->answers[is_success ? 0 : 1]++;
  event_begin(timeline, "e", "request", now, PID_CONTROLLER, 0);
  fprintf(timeline->file, ",\"id\":\"%" PRIx64 "\"", ticket);
  name_write(timeline, "request");
  fputs(",\"args\":{\"result\":", timeline->file);
  text_write(timeline, end == REQUEST_END_LOST ? "lost with its connection"
                                               : request_result_text((int)result));
  fputs("}}", timeline->file);
  counters_update(timeline, now);
}

static void window_edge(struct timeline *timeline, const char *phase, struct instant at,
                        uint32_t run, const struct scheduler_action *action) {
  static const char *const NAMES[] = {"?", "window of LOAD", "window of INFER", "window of EVICT"};
  event_begin(timeline, phase, "window", at, PID_FIRST_WORKER + action->worker_id, 0);
  fprintf(timeline->file, ",\"id\":\"%" PRIu32 ".%" PRIx64 "\"", run, action->action_id);
  name_write(timeline, NAMES[action->type]);
  fprintf(timeline->file,
          ",\"args\":{\"gpu\":%" PRIu32 ",\"model_id\":%" PRIu32 ",\"batch\":%" PRIu32
          ",\"requests\":%" PRIu32 "}}",
          action->gpu_index, action->model_id, action->batch_size, action->requests_count);
}

void timeline_on_action(struct timeline *timeline, uint32_t run,
                        const struct scheduler_action *action) {
  window_edge(timeline, "b", action->earliest, run, action);
  window_edge(timeline, "e", action->latest, run, action);
}

void timeline_on_worker(struct timeline *timeline, struct instant now, uint32_t worker_id,
                        const char *what) {
  char text[120];
  snprintf(text, sizeof(text), "worker %" PRIu32 ": %.80s", worker_id, what);
  event_begin(timeline, "i", "worker", now, PID_CONTROLLER, 1);
  name_write(timeline, text);
  fputs(",\"s\":\"p\"}", timeline->file);
}

static size_t gpu_of(const struct timeline *timeline, uint32_t worker_id, uint32_t gpu_index) {
  return ((size_t)worker_id * timeline->plan->gpus + gpu_index) % GPUS_MAX;
}

void timeline_on_submit(struct timeline *timeline, struct instant now, uint32_t worker_id,
                        const struct backend_command *command) {
  timeline->begun[gpu_of(timeline, worker_id, command->gpu_index)][command->engine] = now;
}

void timeline_on_completion(struct timeline *timeline, struct instant now, uint32_t worker_id,
                            const struct backend_command *command,
                            const struct backend_completion *completion) {
  const struct instant begin =
      timeline->begun[gpu_of(timeline, worker_id, command->gpu_index)][command->engine];
  event_begin(timeline, "X", backend_engine_text(command->engine), begin,
              PID_FIRST_WORKER + worker_id, engine_track(command->gpu_index, command->engine));
  fprintf(timeline->file, ",\"dur\":%.3f", (double)instant_since(now, begin).ns / 1e3);
  name_write(timeline, timeline->model_name(timeline->self, command->model_id));
  fprintf(timeline->file,
          ",\"args\":{\"model_id\":%" PRIu32 ",\"batch\":%" PRIu32 ",\"status\":%d,\"mhz\":%" PRIu32
          "}}",
          command->model_id, command->batch_size, (int)completion->status,
          completion->clock_after_mhz);
}

void timeline_on_evict(struct timeline *timeline, struct instant now, uint32_t worker_id,
                       uint32_t gpu_index, uint32_t model_id) {
  event_begin(timeline, "i", "evict", now, PID_FIRST_WORKER + worker_id,
              engine_track(gpu_index, BACKEND_ENGINE_LOAD));
  name_write(timeline, "evict");
  fprintf(timeline->file, ",\"s\":\"t\",\"args\":{\"model_id\":%" PRIu32 "}}", model_id);
}

void timeline_on_finding(struct timeline *timeline, struct instant now, const char *checker,
                         const char *text) {
  event_begin(timeline, "i", "finding", now, PID_FAULTS, 0);
  name_write(timeline, checker);
  fputs(",\"s\":\"g\",\"args\":{\"text\":", timeline->file);
  text_write(timeline, text);
  fputs("}}", timeline->file);
}
