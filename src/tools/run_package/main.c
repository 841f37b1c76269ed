/* run_package: one batch of a model package in plain C, from a file of inputs to a file of outputs.
 * What the kernels of kernels/ answer is what every backend is compared with. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "os/arguments.h"
#include "os/error_text.h"
#include "os/file.h"
#include "os/log.h"
#include "os/memory.h"
#include "package/format.h"
#include "package/plan.h"

static const char PROGRAM[] = "run_package";

enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  PATH_BYTES = 4096,
};

#define FILE_BYTES_MAX ((size_t)1 << 40)

static const char USAGE[] =
    "Usage: run_package FOLDER [--batch N] --input FILE --output FILE\n"
    "Run one batch of the model package in FOLDER with the reference kernels, which are exact and\n"
    "slow.\n"
    "\n"
    "  -b, --batch N       which of the package's batch sizes (default 1)\n"
    "  -i, --input FILE    N requests one after another, each the model's inputs in their order\n"
    "  -o, --output FILE   where N answers go, each the model's outputs in their order\n"
    "  -h, --help          print this\n";

struct options {
  const char *folder;
  const char *input;
  const char *output;
  uint32_t batch_size;
  bool wants_help;
};

/* The package in memory, and one area for each place that a buffer can have. */
struct run {
  struct file_map plan_file;
  struct file_map weights_file;
  void *plan_memory;
  size_t plan_memory_bytes;
  const struct plan *plan;
  const struct plan_batch *batch;
  unsigned char *input;
  unsigned char *output;
  unsigned char *workspace;
  void *scratch;
  size_t scratch_bytes;
};

static bool read_batch_size(const char *text, struct options *options) {
  char *end = NULL;
  const unsigned long size = strtoul(text, &end, 10);
  if (*text < '1' || *text > '9' || *end != '\0' || size > MODEL_BATCH_MAX) {
    log_usage_error(PROGRAM, "--batch is '%s'; give a size from 1 to %d", text, MODEL_BATCH_MAX);
    return false;
  }
  options->batch_size = (uint32_t)size;
  return true;
}

static bool options_read(int count, char **words, struct options *options) {
  static const struct option LONG_OPTIONS[] = {
      {"batch", required_argument, NULL, 'b'},
      {"input", required_argument, NULL, 'i'},
      {"output", required_argument, NULL, 'o'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  *options = (struct options){.batch_size = 1};
  opterr = 0;
  int option = 0;
  while ((option = arguments_next(count, words, ":b:i:o:h", LONG_OPTIONS)) != -1) {
    if (option == 'i') {
      options->input = optarg;
    } else if (option == 'o') {
      options->output = optarg;
    } else if (option == 'h') {
      options->wants_help = true;
    } else if (option != 'b') {
      log_usage_error(PROGRAM, "'%.60s': %s; see run_package -h", words[optind - 1],
                      option == ':' ? "needs a value" : "unknown option");
      return false;
    } else if (!read_batch_size(optarg, options)) {
      return false;
    }
  }
  if (!options->wants_help && (optind + 1 != count || !options->input || !options->output)) {
    log_usage_error(PROGRAM, "give one package's folder, --input and --output; see run_package -h");
    return false;
  }
  options->folder = optind < count ? words[optind] : NULL;
  return true;
}

static enum err open_file(const char *folder, const char *name, struct file_map *map,
                          struct error_text *error) {
  char path[PATH_BYTES];
  if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_BYTES) {
    error_text_set(error, "%.200s...: the path is too long", folder);
    return ERR_TOO_LARGE;
  }
  return file_map_open(path, FILE_BYTES_MAX, map, error);
}

static enum err decode_plan(struct run *run, const char *folder, struct error_text *error) {
  const struct file_map *file = &run->plan_file;
  struct plan_fault fault = {.text = "no plan of this version"};
  uint64_t checksum = 0;
  size_t bytes = 0;
  struct arena arena;
  enum err result = format_decoded_bytes(file->bytes, file->size_bytes, &bytes);
  if (result == ERR_OK) {
    run->plan_memory = os_memory_take(bytes);
    if (run->plan_memory == NULL) {
      error_text_set(error, "%s: no memory for %zu bytes of plan", folder, bytes);
      return ERR_NO_MEMORY;
    }
    run->plan_memory_bytes = bytes;
    arena_init(&arena, run->plan_memory, bytes);
    result = format_decode(file->bytes, file->size_bytes, &arena, &run->plan, &checksum, &fault);
  }
  if (result != ERR_OK) {
    error_text_set(error, "%s/%s: %s; compile the model again", folder, FORMAT_PLAN_FILE,
                   fault.text);
    return result;
  }
  const struct file_map *weights = &run->weights_file;
  if (weights->size_bytes < run->plan->weights_bytes ||
      format_checksum(0, weights->bytes, weights->size_bytes) != checksum) {
    error_text_set(error, "%s/%s: not the weights of this plan; compile the model again", folder,
                   FORMAT_WEIGHTS_FILE);
    return ERR_MALFORMED;
  }
  return ERR_OK;
}

static enum err choose_batch(struct run *run, const struct options *options,
                             struct error_text *error) {
  for (uint32_t i = 0; i < run->plan->batch_kinds; i++) {
    if (run->plan->batches[i].batch_size == options->batch_size) {
      run->batch = &run->plan->batches[i];
      return ERR_OK;
    }
  }
  error_text_set(error, "%s: not compiled for batch %" PRIu32 "; see --batch of compile_model",
                 options->folder, options->batch_size);
  return ERR_RANGE;
}

static enum err take_areas(struct run *run, struct error_text *error) {
  const struct plan_batch *batch = run->batch;
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    const size_t bytes = kernels_scratch_bytes(&batch->ops[i], batch->tensors);
    run->scratch_bytes = bytes > run->scratch_bytes ? bytes : run->scratch_bytes;
  }
  run->input = os_memory_take(batch->input_bytes);
  run->output = os_memory_take(batch->output_bytes);
  run->workspace = os_memory_take(batch->workspace_bytes);
  run->scratch = os_memory_take(run->scratch_bytes);
  if (!run->input || !run->output || !run->workspace || !run->scratch) {
    error_text_set(error, "no memory for a workspace of %" PRIu64 " bytes", batch->workspace_bytes);
    return ERR_NO_MEMORY;
  }
  return ERR_OK;
}

static enum err run_open(struct run *run, const struct options *options, struct error_text *error) {
  enum err result = open_file(options->folder, FORMAT_PLAN_FILE, &run->plan_file, error);
  if (result == ERR_OK) {
    result = open_file(options->folder, FORMAT_WEIGHTS_FILE, &run->weights_file, error);
  }
  if (result == ERR_OK) {
    result = decode_plan(run, options->folder, error);
  }
  if (result == ERR_OK) {
    result = choose_batch(run, options, error);
  }
  return result == ERR_OK ? take_areas(run, error) : result;
}

static void run_close(struct run *run) {
  os_memory_give(run->scratch, run->scratch_bytes);
  if (run->batch != NULL) {
    os_memory_give(run->workspace, run->batch->workspace_bytes);
    os_memory_give(run->output, run->batch->output_bytes);
    os_memory_give(run->input, run->batch->input_bytes);
  }
  os_memory_give(run->plan_memory, run->plan_memory_bytes);
  file_map_close(&run->weights_file);
  file_map_close(&run->plan_file);
}

/* The first element of a tensor. Weights lie in a read-only file: no operation writes there. */
static unsigned char *tensor_data(const struct run *run, uint32_t tensor) {
  const struct plan_tensor *t = &run->batch->tensors[tensor];
  const struct plan_buffer *buffer = &run->batch->buffers[t->buffer];
  const uint64_t offset = buffer->offset_bytes + t->offset_bytes;
  switch (buffer->place) {
  case PLAN_INPUT:
    return run->input + offset;
  case PLAN_OUTPUT:
    return run->output + offset;
  case PLAN_WEIGHTS:
    return (unsigned char *)(uintptr_t)(run->weights_file.bytes + offset);
  case PLAN_WORKSPACE:
    return run->workspace + offset;
  }
  return NULL;
}

static enum err read_inputs(struct run *run, const char *path, struct error_text *error) {
  struct file_map file = {0};
  const enum err result = file_map_open(path, FILE_BYTES_MAX, &file, error);
  if (result != ERR_OK) {
    return result;
  }
  const struct plan *plan = run->plan;
  const uint64_t wanted = plan->input_bytes * run->batch->batch_size;
  if (file.size_bytes != wanted) {
    error_text_set(error, "%s: has %zu bytes; %" PRIu32 " requests of this model have %" PRIu64,
                   path, file.size_bytes, run->batch->batch_size, wanted);
    file_map_close(&file);
    return ERR_RANGE;
  }
  const unsigned char *at = file.bytes;
  for (uint32_t request = 0; request < run->batch->batch_size; request++) {
    for (uint32_t i = 0; i < plan->inputs_count; i++) {
      const uint64_t bytes = plan->inputs[i].bytes_per_request;
      memcpy(tensor_data(run, run->batch->inputs[i]) + request * bytes, at, bytes);
      at += bytes;
    }
  }
  file_map_close(&file);
  return ERR_OK;
}

static enum err write_outputs(const struct run *run, const char *path, struct error_text *error) {
  const struct plan *plan = run->plan;
  const uint64_t bytes_count = plan->output_bytes * run->batch->batch_size;
  unsigned char *content = os_memory_take(bytes_count);
  if (content == NULL) {
    error_text_set(error, "no memory for %" PRIu64 " bytes of answers", bytes_count);
    return ERR_NO_MEMORY;
  }
  unsigned char *at = content;
  for (uint32_t request = 0; request < run->batch->batch_size; request++) {
    for (uint32_t i = 0; i < plan->outputs_count; i++) {
      const uint64_t bytes = plan->outputs[i].bytes_per_request;
      memcpy(at, tensor_data(run, run->batch->outputs[i]) + request * bytes, bytes);
      at += bytes;
    }
  }
  const enum err result = file_write_atomically(path, content, bytes_count, error);
  os_memory_give(content, bytes_count);
  return result;
}

static enum err execute(struct run *run, struct error_text *error) {
  const struct plan_batch *batch = run->batch;
  void **data = calloc(batch->tensors_count, sizeof(data[0]));
  if (data == NULL) {
    error_text_set(error, "no memory for %" PRIu32 " tensors", batch->tensors_count);
    return ERR_NO_MEMORY;
  }
  for (uint32_t i = 0; i < batch->tensors_count; i++) {
    data[i] = tensor_data(run, i);
  }
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    kernels_run(&batch->ops[i], batch->tensors, data, run->scratch, 0, 1);
  }
  free(data);
  return ERR_OK;
}

int main(int count, char **words) {
  struct options options;
  if (!options_read(count, words, &options)) {
    return EXIT_USAGE;
  }
  if (options.wants_help) {
    fputs(USAGE, stdout);
    return EXIT_DONE;
  }
  struct run run = {0};
  struct error_text error;
  enum err result = run_open(&run, &options, &error);
  if (result == ERR_OK) {
    result = read_inputs(&run, options.input, &error);
  }
  if (result == ERR_OK) {
    result = execute(&run, &error);
  }
  if (result == ERR_OK) {
    result = write_outputs(&run, options.output, &error);
  }
  run_close(&run);
  if (result == ERR_OK) {
    return EXIT_DONE;
  }
  log_usage_error(PROGRAM, "%s", error.text);
  return result == ERR_NO_MEMORY || result == ERR_IO ? EXIT_FAILED : EXIT_USAGE;
}
