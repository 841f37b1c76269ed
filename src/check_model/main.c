/* check_model: what a compiled model is, how long it takes here, and what it answers.
 *
 * Drives a backend through its contract as a worker does, one command at a time.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "check_model/open.h"
#include "loader/loader.h"
#include "model/scores.h"
#include "os/arguments.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/log.h"
#include "os/thread.h"

static const char PROGRAM[] = "check_model";

enum {
  LOADS = 20,
  EXECUTIONS_MAX = 10000,
  EXECUTIONS_MIN = 10,
  PAGES_DEFAULT = 96,
};

#define INPUT_FILE_BYTES_MAX ((size_t)1 << 31)

struct arguments {
  const char *path;
  const char *input;
  const char *output;
  const char *backend;
  const char *profile;
  uint64_t batch; /* 0: all are measured, and one request is answered */
  uint64_t pages;
  uint64_t cores;   /* 0: all */
  uint64_t seconds; /* for each batch size; 0: nothing is measured */
  bool wants_row;
  bool is_paced;
};

struct checked {
  struct arguments arguments;
  struct opened opened;
  struct backend backend; /* the opened one */
  struct backend_gpu gpu;
  struct os_event event;
  struct model_spec spec;
  uint64_t commands_count;
  uint32_t *pages;
};

static void print_help(void) {
  printf(
      "check_model: what a compiled model is, how long it takes here, and what it answers\n\n"
      "usage: check_model [options] FOLDER\n\n"
      "  --input FILE      requests, as raw bytes; without it they are made up\n"
      "  --output FILE     where the answers' raw bytes go\n"
      "  --backend NAME    %s; auto if not given: the best that runs here\n"
      "  --profile FILE    for emulated: a table of measured durations (see zoo/profiles)\n"
      "  --batch N         measure this batch size alone, and answer N requests at once\n"
      "  --seconds N       how long each batch size is measured; 2 if not given, 0: not at all\n"
      "  --cores N         for cpu: how many cores compute; all if not given\n"
      "  --pages N         weights cache in pages of 16 MiB; %d if not given\n"
      "  --row             print one line for a table of measured durations, and nothing else;\n"
      "                    with --seconds 0 what loading the model measured\n"
      "  --paced           measure only when told: every line of standard input is a number of\n"
      "                    executions of --batch (1 if not given); each is answered by one line\n"
      "                    with their durations in nanoseconds\n"
      "  -h, --help        this text\n",
      OPEN_NAMES, PAGES_DEFAULT);
}

static bool parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
                         uint64_t *ret_number) {
  char *end = NULL;
  const unsigned long long number = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < min || number > max) {
    log_usage_error(PROGRAM, "--%s: '%s' must be a whole number from %" PRIu64 " to %" PRIu64,
                    option, text, min, max);
    return false;
  }
  *ret_number = number;
  return true;
}

/* 0: run; else exit status + 1. */
static int parse(int argc, char *const *argv, struct arguments *ret) {
  static const struct option OPTIONS[] = {
      {"input", required_argument, NULL, 'i'},   {"output", required_argument, NULL, 'o'},
      {"backend", required_argument, NULL, 'b'}, {"profile", required_argument, NULL, 'p'},
      {"batch", required_argument, NULL, 'n'},   {"seconds", required_argument, NULL, 's'},
      {"cores", required_argument, NULL, 'c'},   {"pages", required_argument, NULL, 'g'},
      {"row", no_argument, NULL, 'r'},           {"paced", no_argument, NULL, 'a'},
      {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
  *ret = (struct arguments){.backend = "auto", .pages = PAGES_DEFAULT, .seconds = 2};
  bool is_right = true;
  opterr = 0;
  int option = 0;
  while (is_right && (option = arguments_next(argc, argv, ":h", OPTIONS)) != -1) {
    switch (option) {
    case 'i':
      ret->input = optarg;
      break;
    case 'o':
      ret->output = optarg;
      break;
    case 'b':
      ret->backend = optarg;
      break;
    case 'p':
      ret->profile = optarg;
      break;
    case 'n':
      is_right = parse_number("batch", optarg, 1, MODEL_BATCH_MAX, &ret->batch);
      break;
    case 's':
      is_right = parse_number("seconds", optarg, 0, 3600, &ret->seconds);
      break;
    case 'c':
      is_right = parse_number("cores", optarg, 1, 1024, &ret->cores);
      break;
    case 'g':
      is_right = parse_number("pages", optarg, 1, 65536, &ret->pages);
      break;
    case 'r':
      ret->wants_row = true;
      break;
    case 'a':
      ret->is_paced = true;
      break;
    case 'h':
      print_help();
      return 1;
    default:
      log_usage_error(PROGRAM, "'%.60s': %s; -h explains", argv[optind - 1],
                      option == ':' ? "needs a value" : "unknown option");
      return 3;
    }
  }
  if (is_right && argc - optind != 1) {
    log_usage_error(PROGRAM, "give one folder that compile_model wrote; -h explains");
    is_right = false;
  }
  if (!is_right) {
    return 3;
  }
  ret->path = argv[optind];
  return 0;
}

/* ---- the backend ----------------------------------------------------------------------------- */

static void on_notify(void *user) {
  struct checked *checked = user;
  os_event_set(&checked->event);
}

/* Until the backend may have something new. */
static void wait_for_backend(struct checked *checked) {
  const struct instant next = checked->backend.ops->wakeup(checked->backend.self);
  const struct duration left = next.ns == INT64_MAX ? duration_s(1) : instant_since(next, os_now());
  if (left.ns > 0) {
    (void)os_event_wait(&checked->event, left);
  }
}

static bool load_model(struct checked *checked, struct error_text *error) {
  struct backend_load_model job = {.job_id = 1, .copies = 1};
  if (strlen(checked->arguments.path) >= sizeof(job.path)) {
    error_text_set(error, "the folder's path has %zu characters, may have %zu",
                   strlen(checked->arguments.path), sizeof(job.path) - 1);
    return false;
  }
  snprintf(job.path, sizeof(job.path), "%s", checked->arguments.path);
  const struct backend_ops *ops = checked->backend.ops;
  CHECK_EQ(ops->load_model(checked->backend.self, os_now(), &job), ERR_OK);
  struct backend_loaded_model loaded;
  while (ops->poll_loaded(checked->backend.self, os_now(), &loaded, 1) == 0) {
    wait_for_backend(checked);
  }
  if (loaded.status != ACTION_SUCCESS) {
    error_text_set(error, "%s",
                   loaded.reason[0] != '\0' ? loaded.reason
                                            : action_status_text((int)loaded.status));
    return false;
  }
  checked->spec = loaded.spec;
  return true;
}

/* One command, to its end. False: it failed. */
static bool run(struct checked *checked, enum backend_engine engine, uint32_t batch_size,
                const struct backend_io *io, struct duration *ret_duration) {
  const struct backend_command command = {.command_id = ++checked->commands_count,
                                          .engine = engine,
                                          .batch_size = batch_size,
                                          .pages = checked->pages,
                                          .io = io};
  const struct backend_ops *ops = checked->backend.ops;
  ops->submit(checked->backend.self, os_now(), &command);
  struct backend_completion completion;
  while (ops->poll(checked->backend.self, os_now(), &completion, 1) == 0) {
    wait_for_backend(checked);
  }
  *ret_duration = instant_since(completion.end, completion.begin);
  return completion.status == ACTION_SUCCESS;
}

/* ---- measurements ---------------------------------------------------------------------------- */

struct durations {
  int64_t ns[EXECUTIONS_MAX];
  uint32_t count;
};

static int compare(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a;
  const int64_t y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Sorted by now; the smallest that so large a share does not exceed. */
static double percentile_ms(const struct durations *durations, double share) {
  const double rank = ceil(share * (double)durations->count);
  const uint32_t index = rank < 1.0 ? 0 : (uint32_t)rank - 1;
  return (double)durations->ns[index] / (double)NS_PER_MS;
}

static bool measure_load(struct checked *checked, struct durations *ret) {
  const struct backend_ops *ops = checked->backend.ops;
  const uint32_t loads = checked->arguments.seconds == 0 ? 1 : LOADS;
  ret->count = 0;
  for (uint32_t i = 0; i < loads; i++) {
    struct duration duration;
    if (i > 0) {
      ops->evict(checked->backend.self, os_now(), 0, 0, checked->pages,
                 checked->spec.weights_pages);
    }
    if (!run(checked, BACKEND_ENGINE_LOAD, 0, NULL, &duration)) {
      return false;
    }
    ret->ns[ret->count++] = duration.ns;
  }
  qsort(ret->ns, ret->count, sizeof(ret->ns[0]), compare);
  return true;
}

static bool measure_execute(struct checked *checked, uint32_t batch_size, struct durations *ret) {
  const struct backend_io io = {.inputs = NULL};
  struct duration duration;
  ret->count = 0;
  if (!run(checked, BACKEND_ENGINE_INPUT, batch_size, &io, &duration)) {
    return false;
  }
  const struct instant begin = os_now();
  const struct duration limit = duration_s((int64_t)checked->arguments.seconds);
  while (ret->count < EXECUTIONS_MAX &&
         (ret->count < EXECUTIONS_MIN || instant_since(os_now(), begin).ns < limit.ns)) {
    if (!run(checked, BACKEND_ENGINE_EXECUTE, batch_size, NULL, &duration)) {
      return false;
    }
    ret->ns[ret->count++] = duration.ns;
  }
  qsort(ret->ns, ret->count, sizeof(ret->ns[0]), compare);
  return run(checked, BACKEND_ENGINE_OUTPUT, batch_size, &io, &duration);
}

/* Another program measures something else in between: what varies with the hour is then the same
 * for both. */
static bool measure_paced(struct checked *checked, struct error_text *error) {
  const uint32_t batch_size =
      checked->arguments.batch == 0 ? 1 : (uint32_t)checked->arguments.batch;
  const struct backend_io io = {.inputs = NULL};
  struct duration duration;
  char line[32];
  bool is_done = run(checked, BACKEND_ENGINE_LOAD, 0, NULL, &duration) &&
                 run(checked, BACKEND_ENGINE_INPUT, batch_size, &io, &duration);
  while (is_done && fgets(line, sizeof(line), stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    uint64_t count = 0;
    if (!parse_number("paced", line, 1, EXECUTIONS_MAX, &count)) {
      error_text_set(error, "standard input: a line is no number of executions");
      return false;
    }
    for (uint64_t i = 0; i < count && is_done; i++) {
      is_done = run(checked, BACKEND_ENGINE_EXECUTE, batch_size, NULL, &duration);
      printf("%" PRId64 "%c", duration.ns, i + 1 < count ? ' ' : '\n');
    }
    (void)fflush(stdout);
  }
  if (!is_done) {
    error_text_set(error, "%s: an execution failed", checked->arguments.path);
  }
  return is_done;
}

/* In the order in which their numbers lie in a file, as compile_model --print shows them. */
static void print_ports(const struct plan_port *ports, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    const struct plan_port *port = &ports[i];
    printf("    %s: %s", port->name, plan_type_text(port->type));
    for (uint32_t j = 0; j < port->rank; j++) {
      printf("%c%" PRIu32, j == 0 ? ' ' : 'x', port->dims[j]);
    }
    printf("%s, %" PRIu64 " bytes\n", port->batched ? " a request" : "", port->bytes_per_request);
  }
}

/* The sums of the spec, and what a package says that a spec does not; where there is none (an
 * emulated model) the sums alone. */
static void print_sizes(const struct checked *checked) {
  const struct model_spec *spec = &checked->spec;
  struct loaded_package package;
  const bool is_open = loader_open(checked->arguments.path, &package, NULL) == ERR_OK;
  printf("  input         %" PRIu64 " bytes\n", spec->input_bytes);
  if (is_open) {
    print_ports(package.plan->inputs, package.plan->inputs_count);
  }
  printf("  output        %" PRIu64 " bytes\n", spec->output_bytes);
  if (!is_open) {
    return;
  }
  print_ports(package.plan->outputs, package.plan->outputs_count);
  for (uint32_t i = 0; i < package.plan->batch_kinds; i++) {
    const struct plan_batch *batch = &package.plan->batches[i];
    printf("  workspace b%-3u planned %" PRIu64 " bytes, %" PRIu64 " without sharing\n",
           batch->batch_size, batch->workspace_bytes, batch->naive_bytes);
  }
  loader_close(&package);
}

/* The line of a table or the lines of a report, up to the executions. */
static void print_head(const struct checked *checked, const struct durations *loads) {
  const struct model_spec *spec = &checked->spec;
  if (checked->arguments.wants_row) {
    printf("%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%.6f", spec->name, spec->input_bytes,
           spec->output_bytes, spec->weights_bytes, percentile_ms(loads, 0.5));
    return;
  }
  printf("%s on %s (%s)\n", spec->name, checked->gpu.name, checked->backend.ops->name);
  print_sizes(checked);
  printf("  weights       %" PRIu64 " bytes in %u pages\n", spec->weights_bytes,
         spec->weights_pages);
  printf("  transfer      p50 %.3f ms, worst of %u %.3f ms, %.2f GB/s\n", percentile_ms(loads, 0.5),
         loads->count, percentile_ms(loads, 1.0),
         (double)spec->weights_bytes / 1e6 / percentile_ms(loads, 0.5));
}

/* What the backend found when it loaded the model: the estimates that a controller begins with. */
static void print_row_of_spec(const struct model_spec *spec) {
  printf("%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%.6f", spec->name, spec->input_bytes,
         spec->output_bytes, spec->weights_bytes, (double)spec->load.ns / (double)NS_PER_MS);
  for (uint32_t i = 0; i < spec->batch_kinds; i++) {
    printf("\t%.6f", (double)spec->execute[i].ns / (double)NS_PER_MS);
  }
  printf("\n");
}

static bool report(struct checked *checked) {
  static struct durations durations;
  const struct model_spec *spec = &checked->spec;
  const bool is_table = checked->arguments.wants_row;
  if (!measure_load(checked, &durations)) {
    return false;
  }
  if (checked->arguments.seconds == 0) {
    if (is_table) {
      print_row_of_spec(spec);
    }
    return true;
  }
  print_head(checked, &durations);
  for (uint32_t i = 0; i < spec->batch_kinds; i++) {
    const uint32_t batch_size = spec->batch_sizes[i];
    if (checked->arguments.batch != 0 && checked->arguments.batch != batch_size) {
      continue;
    }
    if (!measure_execute(checked, batch_size, &durations)) {
      return false;
    }
    if (is_table) {
      printf("\t%.6f", percentile_ms(&durations, 0.5));
    } else {
      printf("  execute b%-3u  p50 %.3f ms, p99 %.3f ms, p99.99 %.3f ms of %u, %.1f requests/s\n",
             batch_size, percentile_ms(&durations, 0.5), percentile_ms(&durations, 0.99),
             percentile_ms(&durations, 0.9999), durations.count,
             1000.0 * batch_size / percentile_ms(&durations, 0.5));
    }
  }
  if (is_table) {
    printf("\n");
  }
  return true;
}

/* ---- an answer ------------------------------------------------------------------------------- */

static void print_top(const struct checked *checked, const unsigned char *output) {
  struct scores scores;
  scores_read(output, checked->spec.output_bytes, &scores);
  if (scores.classes == 0) {
    return;
  }
  printf("  top %d        ", SCORES_TOP);
  for (uint32_t i = 0; i < scores.count; i++) {
    printf("%s%" PRIu64 " (%g)", i == 0 ? "" : ", ", scores.top[i].class_index,
           (double)scores.top[i].value);
  }
  if (scores.nans_count > 0) {
    printf("%s%" PRIu64 " of %" PRIu64 " are no numbers (NaN)", scores.count == 0 ? "" : "; ",
           scores.nans_count, scores.classes);
  }
  printf("\n");
}

/* All requests of `path`; NULL and ERR_OK: no file was given, the backend makes inputs up. */
static enum err read_input(const struct checked *checked, uint32_t batch_size, char **ret_input,
                           struct error_text *error) {
  const char *path = checked->arguments.input;
  size_t bytes = 0;
  *ret_input = NULL;
  if (path == NULL) {
    return ERR_OK;
  }
  const enum err result = file_read(path, INPUT_FILE_BYTES_MAX, ret_input, &bytes, error);
  if (result != ERR_OK) {
    return result;
  }
  if (bytes != checked->spec.input_bytes * batch_size) {
    error_text_set(error, "%s: has %zu bytes; %" PRIu32 " requests of this model have %" PRIu64,
                   path, bytes, batch_size, checked->spec.input_bytes * batch_size);
    free(*ret_input);
    *ret_input = NULL;
    return ERR_RANGE;
  }
  return ERR_OK;
}

static bool execute(struct checked *checked, uint32_t batch_size, const struct backend_io *io,
                    struct error_text *error) {
  for (int engine = BACKEND_ENGINE_INPUT; engine <= BACKEND_ENGINE_OUTPUT; engine++) {
    struct duration duration;
    if (!run(checked, (enum backend_engine)engine, batch_size, io, &duration)) {
      error_text_set(error, "%s: the execution failed", checked->arguments.path);
      return false;
    }
  }
  return true;
}

static bool answer(struct checked *checked, struct error_text *error) {
  const struct arguments *arguments = &checked->arguments;
  const uint32_t batch_size = arguments->batch == 0 ? 1 : (uint32_t)arguments->batch;
  const uint64_t output_bytes = checked->spec.output_bytes * batch_size;
  char *input = NULL;
  if (read_input(checked, batch_size, &input, error) != ERR_OK) {
    return false;
  }
  const void *inputs[MODEL_BATCH_MAX];
  for (uint32_t i = 0; i < batch_size; i++) {
    inputs[i] = input == NULL ? NULL : input + i * checked->spec.input_bytes;
  }
  unsigned char *output = calloc(1, output_bytes + 1);
  CHECK(output != NULL);
  const struct backend_io io = {.inputs = inputs, .outputs = output};
  bool is_done = execute(checked, batch_size, &io, error);
  if (is_done && arguments->output != NULL) {
    is_done = file_write_atomically(arguments->output, output, output_bytes, error) == ERR_OK;
  }
  if (is_done && !arguments->wants_row) {
    print_top(checked, output);
  }
  free(output);
  free(input);
  return is_done;
}

static bool check(struct checked *checked, struct error_text *error) {
  const struct open_request request = {.name = checked->arguments.backend,
                                       .profile = checked->arguments.profile,
                                       .cores = (uint32_t)checked->arguments.cores,
                                       .pages = (uint32_t)checked->arguments.pages,
                                       .notify = on_notify,
                                       .notify_user = checked};
  if (open_backend(&request, &checked->opened, error) != ERR_OK) {
    return false;
  }
  checked->backend = checked->opened.backend;
  checked->backend.ops->gpu(checked->backend.self, 0, &checked->gpu);
  if (!load_model(checked, error)) {
    return false;
  }
  const uint64_t batch_size = checked->arguments.batch;
  if (batch_size != 0 &&
      model_batch_kind(&checked->spec, (uint32_t)batch_size) >= checked->spec.batch_kinds) {
    error_text_set(error,
                   "--batch: %s was not compiled for batch size %" PRIu64 ", or it does not fit",
                   checked->arguments.path, batch_size);
    return false;
  }
  checked->pages = calloc(checked->spec.weights_pages + 1, sizeof(*checked->pages));
  CHECK(checked->pages != NULL);
  if (checked->spec.weights_pages > checked->gpu.pages) {
    error_text_set(error, "%s: its weights need %u pages; raise --pages", checked->arguments.path,
                   checked->spec.weights_pages);
    return false;
  }
  for (uint32_t i = 0; i < checked->spec.weights_pages; i++) {
    checked->pages[i] = i;
  }
  if (checked->arguments.is_paced) {
    return measure_paced(checked, error);
  }
  if (!report(checked)) {
    error_text_set(error, "%s: an execution failed", checked->arguments.path);
    return false;
  }
  const bool wants_answer = checked->arguments.input != NULL || checked->arguments.output != NULL;
  return !wants_answer || answer(checked, error);
}

int main(int argc, char **argv) {
  struct checked checked = {.event = {.fd = -1}};
  const int outcome = parse(argc, argv, &checked.arguments);
  if (outcome != 0) {
    return outcome - 1;
  }
  struct error_text error = {.text = ""};
  if (os_event_init(&checked.event) != ERR_OK) {
    log_usage_error(PROGRAM, "no descriptor left; raise ulimit -n");
    return 1;
  }
  const bool is_done = check(&checked, &error);
  if (!is_done) {
    log_usage_error(PROGRAM, "%s", error.text);
  }
  open_close(&checked.opened);
  free(checked.pages);
  os_event_finish(&checked.event);
  return is_done ? 0 : 2;
}
