/* compile_model: an ONNX file into a model package. Files and flags; the compiler itself is pure.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/compiler.h"
#include "os/file.h"
#include "os/log.h"
#include "os/memory.h"
#include "tools/compile_model/options.h"
#include "tools/compile_model/print.h"
#include "tools/compile_model/write_package.h"

enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  PATH_BYTES = 4096,
};

/* Larger than any model of today, and small enough that sums of sizes can't overflow. */
#define FILE_BYTES_MAX ((size_t)1 << 40)

struct job {
  const struct options *options;
  struct file_map model;
  struct file_map *externals;
  uint32_t externals_count;
  void *memory;
  size_t memory_bytes;
};

static int operators_print(void) {
  struct compile_operator op;
  for (uint32_t i = 0; compiler_operator(i, &op); i++) {
    printf("%-26s %-28s opset %2" PRIu32 " to ", op.family, op.name, op.opset_first);
    if (op.opset_last == 0) {
      printf("newest");
    } else {
      printf("%" PRIu32, op.opset_last);
    }
    printf("%s%s\n", op.domain[0] == '\0' ? "" : "   ", op.domain);
  }
  return EXIT_DONE;
}

/* A refusal of the input is the user's to mend; running out of memory is the machine's. */
static int say_fault(const struct options *options, enum err error,
                     const struct compile_fault *fault) {
  log_usage_error(OPTIONS_PROGRAM, "%s: %s", options->input, fault->text);
  return error == ERR_NO_MEMORY ? EXIT_FAILED : EXIT_USAGE;
}

/* Maps the files beside the model that hold its weights. */
static bool open_externals(struct job *job, struct compiler *compiler) {
  const uint32_t count = compiler_externals_count(compiler);
  const char *slash = strrchr(job->options->input, '/');
  const int folder = slash != NULL ? (int)(slash - job->options->input) + 1 : 0;
  job->externals = calloc(count + 1, sizeof(job->externals[0]));
  if (job->externals == NULL) {
    log_warning("Out of memory: %" PRIu32 " files of external data", count);
    return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    char path[PATH_BYTES];
    struct error_text error;
    const int length = snprintf(path, sizeof(path), "%.*s%s", folder, job->options->input,
                                compiler_external_path(compiler, i));
    if (length < 0 || length >= PATH_BYTES) {
      log_usage_error(OPTIONS_PROGRAM, "%s: the path of its external data is too long",
                      job->options->input);
      return false;
    }
    if (file_map_open(path, FILE_BYTES_MAX, &job->externals[i], &error) != ERR_OK) {
      log_usage_error(OPTIONS_PROGRAM, "%s: its weights can't be read: %s", job->options->input,
                      error.text);
      return false;
    }
    job->externals_count = i + 1;
    compiler_set_external(compiler, i, job->externals[i].bytes, job->externals[i].size_bytes);
  }
  return true;
}

static void report(const struct job *job, const struct compile_result *result) {
  const struct plan *plan = result->plan;
  printf("%s: %" PRIu32 " nodes, weights %.1f MiB, input %" PRIu64 " and output %" PRIu64
         " bytes a request\n",
         plan->name, result->nodes_count, (double)plan->weights_bytes / (1 << 20),
         plan->input_bytes, plan->output_bytes);
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    const struct plan_batch *batch = &plan->batches[i];
    printf("  batch %2" PRIu32 ": %4" PRIu32
           " operations, workspace %.2f MiB planned, %.2f naive\n",
           batch->batch_size, batch->ops_count, (double)batch->workspace_bytes / (1 << 20),
           (double)batch->naive_bytes / (1 << 20));
  }
  if (result->batch_reduced) {
    printf("  the model has no batch dimension that can grow: compiled for batch size 1 alone\n");
  }
  (void)job;
}

static int finish(const struct job *job, const struct compile_result *result) {
  if (job->options->wants_print) {
    print_plan(stdout, result->plan);
  }
  if (job->options->output == NULL) {
    return EXIT_DONE;
  }
  struct error_text error;
  if (os_make_directories(job->options->output, &error) != ERR_OK) {
    log_usage_error(OPTIONS_PROGRAM, "-o: %s", error.text);
    return EXIT_USAGE;
  }
  if (write_package(job->options->output, result, &error) != ERR_OK) {
    log_warning("%s", error.text);
    return EXIT_FAILED;
  }
  report(job, result);
  return EXIT_DONE;
}

static int compile(struct job *job) {
  const struct options *options = job->options;
  struct error_text error;
  if (file_map_open(options->input, FILE_BYTES_MAX, &job->model, &error) != ERR_OK) {
    log_usage_error(OPTIONS_PROGRAM, "%s", error.text);
    return EXIT_USAGE;
  }
  /* External weights are read where they are; what is made of them needs memory once more. The
   * memory becomes resident as it is touched. */
  job->memory_bytes = compiler_arena_bytes(job->model.size_bytes) + ((size_t)64 << 30);
  job->memory = os_memory_take(job->memory_bytes);
  if (job->memory == NULL) {
    log_warning("Out of memory: %zu MiB of address space are needed", job->memory_bytes >> 20);
    return EXIT_FAILED;
  }
  struct arena arena;
  struct compiler *compiler = NULL;
  struct compile_fault fault;
  const struct compile_result *result = NULL;
  arena_init(&arena, job->memory, job->memory_bytes);
  enum err failed =
      compiler_open(&arena, job->model.bytes, job->model.size_bytes, &compiler, &fault);
  if (failed != ERR_OK) {
    return say_fault(options, failed, &fault);
  }
  if (!open_externals(job, compiler)) {
    return EXIT_USAGE;
  }
  failed = compiler_run(compiler, &options->compile, &result, &fault);
  return failed != ERR_OK ? say_fault(options, failed, &fault) : finish(job, result);
}

int main(int argc, char **argv) {
  struct options options;
  if (!options_read(argc, argv, &options)) {
    return EXIT_USAGE;
  }
  if (options.wants_help) {
    fputs(OPTIONS_USAGE, stdout);
    return EXIT_DONE;
  }
  if (options.wants_operators) {
    return operators_print();
  }
  struct job job = {.options = &options};
  const int code = compile(&job);
  for (uint32_t i = 0; i < job.externals_count; i++) {
    file_map_close(&job.externals[i]);
  }
  free(job.externals);
  os_memory_give(job.memory, job.memory_bytes);
  file_map_close(&job.model);
  return code;
}
