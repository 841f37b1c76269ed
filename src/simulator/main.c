/* simulate: a cluster in virtual time. Flags in, a summary out; what happens is in simulation.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "os/file.h"
#include "os/log.h"
#include "os/usage.h"
#include "simulator/bound_windows.h"
#include "simulator/inputs.h"
#include "simulator/options.h"
#include "simulator/progress.h"
#include "simulator/simulation.h"
#include "simulator/summary.h"
#include "simulator/telemetry_files.h"

static const char PROGRAM[] = "simulate";

/* Between two looks at the clock: some milliseconds. */
enum { EVENTS_AT_ONCE = 1 << 14 };

struct run {
  struct options options;
  struct profile profile;
  struct day day;
  struct telemetry_files *files; /* NULL: none are written */
  struct telemetry_files files_memory;
  struct summary summary;
  int64_t *best_ns;           /* the summary's */
  uint16_t *package_of_model; /* likewise */
  struct bound_windows bound; /* all zero unless --bound */
  struct simulation *simulation;
  struct duration real; /* what the events took, without preparations */
  struct duration cpu;
  long memory_max_kb;
};

static void on_request(void *self, const struct telemetry_request *row) {
  struct run *run = self;
  summary_on_request(&run->summary, row);
  if (run->options.wants_bound) {
    bound_windows_on_request(&run->bound, row);
  }
  if (run->files != NULL) {
    telemetry_files_on_request(run->files, row);
  }
}

static void on_action(void *self, const struct telemetry_action *row) {
  struct run *run = self;
  summary_on_action(&run->summary, row);
  if (run->files != NULL) {
    telemetry_files_on_action(run->files, row);
  }
}

/* ---- the beginning --------------------------------------------------------------------------- */

static int fail(enum err error, const char *field, const struct error_text *text) {
  const bool is_usage = error != ERR_NO_MEMORY && error != ERR_IO;
  log_usage_error(PROGRAM, "%s%s", field, text->text);
  return is_usage ? SIMULATE_EXIT_USAGE : SIMULATE_EXIT_FAILED;
}

static int open_inputs(struct run *run) {
  struct simulation_config *config = &run->options.simulation;
  struct error_text error;
  uint32_t trace_id = 0;
  enum err code = profile_open(&run->profile, run->options.profile, &error);
  if (code != ERR_OK) {
    return fail(code, "--profile: ", &error);
  }
  config->profile = run->profile.specs;
  config->profile_count = run->profile.count;
  if (workload_needs_trace(&config->workload, &trace_id)) {
    code = day_open(&run->day, run->options.trace_dir, trace_id, run->options.functions, &error);
    if (code != ERR_OK) {
      return fail(code, "", &error);
    }
    config->workload.trace = run->day.trace;
    if (!run->options.is_quiet) {
      fprintf(stderr, "%s: trace: %s\n", PROGRAM, run->day.description);
    }
  }
  return SIMULATE_EXIT_OK;
}

static int prepare_summary(struct run *run) {
  const struct simulation_config *config = &run->options.simulation;
  uint32_t packages_count = 0;
  const struct workload_model *packages =
      workload_models(simulation_client(run->simulation)->workload, &packages_count);
  CHECK_LE(packages_count, UINT16_MAX + 1);
  run->best_ns = calloc(packages_count, sizeof(*run->best_ns));
  run->package_of_model =
      calloc(simulation_models_count(run->simulation), sizeof(*run->package_of_model));
  if (run->best_ns == NULL || run->package_of_model == NULL) {
    log_usage_error(PROGRAM, "out of memory");
    return SIMULATE_EXIT_FAILED;
  }
  for (uint32_t i = 0; i < packages_count; i++) {
    const uint32_t first = packages[i].first_index;
    run->best_ns[i] =
        simulation_best_ns(simulation_model(run->simulation, first), &config->scheduler);
    for (uint32_t j = 0; j < packages[i].copies; j++) {
      run->package_of_model[first + j] = (uint16_t)i;
    }
  }
  const uint32_t gpus = config->workers_count * config->gpus_per_worker;
  run->summary.best_ns = run->best_ns;
  run->summary.package_of_model = run->package_of_model;
  run->summary.gpus = gpus < config->scheduler.max_gpus ? gpus : config->scheduler.max_gpus;
  if (run->options.leadin.ns > 0) {
    run->summary.begin_ns = SIMULATION_EPOCH_S * NS_PER_S + run->options.leadin.ns;
  }
  return SIMULATE_EXIT_OK;
}

/* After prepare_summary(): of the same requests. */
static int prepare_bound(struct run *run) {
  const struct simulation_config *config = &run->options.simulation;
  const uint32_t models_count = simulation_models_count(run->simulation);
  const struct bound_windows_config bound = {
      .begin_ns = SIMULATION_EPOCH_S * NS_PER_S + run->options.leadin.ns,
      .gpus = run->summary.gpus,
      .models_count = models_count,
      .max_exec = config->scheduler.max_exec,
      .max_batch = config->scheduler.max_batch,
      .default_slo = config->scheduler.default_slo,
      .shorter_ppm = config->execute_jitter_ppm * BOUND_WINDOWS_SIGMAS};
  if (!run->options.wants_bound) {
    return SIMULATE_EXIT_OK;
  }
  if (bound_windows_init(&run->bound, &bound) != ERR_OK) {
    log_usage_error(PROGRAM, "--bound: out of memory");
    return SIMULATE_EXIT_FAILED;
  }
  for (uint32_t i = 0; i < models_count; i++) {
    bound_windows_set_model(&run->bound, i, simulation_model(run->simulation, i));
  }
  return SIMULATE_EXIT_OK;
}

static int open_folder(struct run *run) {
  const char *folder = run->options.out;
  struct error_text error;
  if (folder == NULL) {
    return SIMULATE_EXIT_OK;
  }
  if (os_make_directories(folder, &error) != ERR_OK) {
    return fail(ERR_NOT_FOUND, "--out: ", &error);
  }
  if (run->options.writes_telemetry) {
    const enum telemetry_form form =
        run->options.writes_columns ? TELEMETRY_COLUMNS : TELEMETRY_TSV;
    const enum err err = telemetry_files_open(&run->files_memory, folder, form, &error);
    if (err != ERR_OK) {
      return fail(err, "--out: ", &error);
    }
    run->files = &run->files_memory;
  }
  return SIMULATE_EXIT_OK;
}

static int start(struct run *run) {
  struct error_text error;
  const struct telemetry_sink sink = {
      .self = run, .on_request = on_request, .on_action = on_action};
  int code = open_inputs(run);
  if (code != SIMULATE_EXIT_OK) {
    return code;
  }
  const enum err err = simulation_create(&run->options.simulation, &sink, &run->simulation, &error);
  if (err != ERR_OK) {
    return fail(err, err == ERR_NOT_FOUND ? "--profile: " : "", &error);
  }
  code = prepare_summary(run);
  if (code == SIMULATE_EXIT_OK) {
    code = prepare_bound(run);
  }
  return code == SIMULATE_EXIT_OK ? open_folder(run) : code;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void print_summary(const struct run *run, FILE *file) {
  const struct options *options = &run->options;
  const struct simulation_config *config = &options->simulation;
  struct simulation_counts counts;
  simulation_counts(run->simulation, &counts);
  const double real_s = (double)run->real.ns / 1e9;
  const double cpu_s = (double)run->cpu.ns / 1e9;
  summary_print(&run->summary, file);
  if (options->wants_bound) {
    bound_windows_print(&run->bound, summary_duration_s(&run->summary), run->summary.met, file);
  }
  fprintf(file, "client_latency_p50_ms: %.3f\n",
          (double)histogram_quantile(counts.client_latency, 0.5) / 1e6);
  fprintf(file, "client_latency_p99_ms: %.3f\n",
          (double)histogram_quantile(counts.client_latency, 0.99) / 1e6);
  fprintf(file, "workload: %s\n", options->workload_text);
  fprintf(file, "policy: %s\n", options->policy);
  fprintf(file, "workers: %" PRIu32 "\n", config->workers_count);
  fprintf(file, "gpus_per_worker: %" PRIu32 "\n", config->gpus_per_worker);
  fprintf(file, "models: %" PRIu32 "\n", simulation_models_count(run->simulation));
  fprintf(file, "seed: %" PRIu64 "\n", config->seed);
  fprintf(file, "simulated_s: %.3f\n", (double)config->duration.ns / 1e9);
  fprintf(file, "real_s: %.3f\n", real_s);
  fprintf(file, "cpu_s: %.3f\n", cpu_s);
  fprintf(file, "requests_per_cpu_s: %.0f\n", (double)counts.requests_sent / cpu_s);
  fprintf(file, "events: %" PRIu64 "\n", counts.events);
  fprintf(file, "memory_max_mb: %.0f\n", (double)run->memory_max_kb / 1000);
  fprintf(file, "trace_hash: %016" PRIx64 "\n", counts.trace_hash);
}

static int write_summary(const struct run *run) {
  char path[4096];
  const int length = snprintf(path, sizeof(path), "%s/summary.txt", run->options.out);
  FILE *file = length > 0 && (size_t)length < sizeof(path) ? fopen(path, "we") : NULL;
  if (file == NULL) {
    log_usage_error(PROGRAM, "--out: can't write summary.txt into %.200s", run->options.out);
    return SIMULATE_EXIT_FAILED;
  }
  print_summary(run, file);
  if (fclose(file) != 0) {
    log_usage_error(PROGRAM, "--out: can't write summary.txt into %.200s", run->options.out);
    return SIMULATE_EXIT_FAILED;
  }
  return SIMULATE_EXIT_OK;
}

static void go(struct run *run) {
  struct progress progress;
  struct simulation_counts counts;
  struct usage before;
  struct usage after;
  progress_init(&progress, run->options.is_quiet);
  os_usage(&before);
  while (simulation_run(run->simulation, EVENTS_AT_ONCE)) {
    simulation_counts(run->simulation, &counts);
    progress_update(&progress, simulation_elapsed(run->simulation),
                    run->options.simulation.duration, counts.requests_sent);
  }
  os_usage(&after);
  run->cpu = duration_ns(after.cpu_ns - before.cpu_ns);
  run->real = progress_finish(&progress);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  run->memory_max_kb = usage.ru_maxrss;
}

static int finish(struct run *run) {
  struct error_text error;
  int code = SIMULATE_EXIT_OK;
  if (run->files != NULL && telemetry_files_close(run->files, &error) != ERR_OK) {
    code = fail(ERR_IO, "--out: telemetry is incomplete: ", &error);
  }
  if (run->summary.requests == 0) {
    log_usage_error(PROGRAM, "the workload sent no request in this time; raise --seconds");
    return SIMULATE_EXIT_USAGE;
  }
  if (run->options.wants_bound && bound_windows_close(&run->bound) != ERR_OK) {
    log_usage_error(PROGRAM, "--bound: out of memory");
    return SIMULATE_EXIT_FAILED;
  }
  print_summary(run, stdout);
  if (run->options.out != NULL && write_summary(run) != SIMULATE_EXIT_OK) {
    code = SIMULATE_EXIT_FAILED;
  }
  return code;
}

int main(int argc, char **argv) {
  int code = SIMULATE_EXIT_OK;
  struct run *run = calloc(1, sizeof(*run));
  if (run == NULL) {
    log_usage_error(PROGRAM, "out of memory");
    return SIMULATE_EXIT_FAILED;
  }
  if (options_parse(PROGRAM, duration_s(60), argc, argv, &run->options, &code) == OPTIONS_RUN) {
    code = start(run);
    if (code == SIMULATE_EXIT_OK) {
      go(run);
      code = finish(run);
    }
    simulation_destroy(run->simulation);
    day_close(&run->day);
    profile_close(&run->profile);
    bound_windows_finish(&run->bound);
    free(run->best_ns);
    free(run->package_of_model);
  }
  free(run);
  return code;
}
