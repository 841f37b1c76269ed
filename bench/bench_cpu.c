/* Where an execution's time goes on this machine's cores, step by step.
 *
 * usage: bench_cpu FOLDER [BATCH [THREADS [RUNS]]]         defaults 1, 1, 20
 *
 * Prints one line a step (mean time, what runs it, what it writes) and how long all took. `what` is
 * oneDNN's name of an implementation, "kernel" for src/kernels/, or this backend's own code.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/host_model.h"
#include "backend/cpu/team.h"
#include "backend/cpu/weights_cache.h"
#include "base/check.h"
#include "package/plan.h"

enum { PAGES = 4096, RUNS_DEFAULT = 20 };

static uint32_t number_of(const char *text) {
  const unsigned long number = strtoul(text, NULL, 10);
  CHECK_GT(number, 0);
  CHECK_LT(number, 1UL << 20);
  return (uint32_t)number;
}

static void print_dims(int rank, const dnnl_dim_t *dims) {
  for (int i = 0; i < rank; i++) {
    printf("%s%" PRId64, i == 0 ? "  " : "x", dims[i]);
  }
}

static void print_written(const struct program *program, const struct program_step *step) {
  for (uint32_t i = 0; step->primitive != NULL && i < step->arguments_count; i++) {
    const struct program_argument *argument = &program->arguments[step->first_argument + i];
    const dnnl_memory_desc_t *desc = &program->memories[argument->memory].desc;
    if (argument->name == DNNL_ARG_DST || argument->name == DNNL_ARG_SRC ||
        argument->name == DNNL_ARG_WEIGHTS) {
      print_dims(desc->ndims, desc->dims);
    }
  }
  for (uint32_t i = 0; step->kernel != NULL && i < step->kernel->tensors_count; i++) {
    const struct plan_tensor *tensor = &step->kernel->tensors[i];
    for (uint32_t j = 0; j < tensor->rank; j++) {
      printf("%s%" PRIu32, j == 0 ? "  " : "x", tensor->dims[j]);
    }
  }
}

static void report(const struct program *program, const int64_t *step_ns, uint32_t runs) {
  int64_t all_ns = 0;
  for (uint32_t i = 0; i < program->steps_count; i++) {
    const struct program_step *step = &program->steps[i];
    all_ns += step_ns[i];
    printf("%4u %10.1f us  %-14s %-20s", i, (double)step_ns[i] / runs / 1000,
           plan_op_kind_text(step->kind), step->what);
    print_written(program, step);
    printf("\n");
  }
  printf("all  %10.1f us\n", (double)all_ns / runs / 1000);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: bench_cpu FOLDER [BATCH [THREADS [RUNS]]]\n");
    return 2;
  }
  const uint32_t batch_size = argc > 2 ? number_of(argv[2]) : 1;
  const uint32_t threads = argc > 3 ? number_of(argv[3]) : 1;
  const uint32_t runs = argc > 4 ? number_of(argv[4]) : RUNS_DEFAULT;
  const struct host_limits limits = {.devices = 1,
                                     .cores = threads,
                                     .pages = PAGES,
                                     .slot_bytes = UINT64_C(1) << 32,
                                     .workspace_bytes = UINT64_C(1) << 33};
  struct backend_load_model job = {.copies = 1};
  snprintf(job.path, sizeof(job.path), "%s", argv[1]);
  dnnl_engine_t engine = NULL;
  dnnl_stream_t stream = NULL;
  CHECK_EQ(dnnl_engine_create(&engine, dnnl_cpu, 0), dnnl_success);
  CHECK_EQ(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), dnnl_success);
  team_form(threads, threads <= team_cores() ? 0 : -1);
  struct backend_loaded_model loaded;
  struct host_model *model = host_model_load(&limits, engine, &job, &loaded);
  if (model == NULL) {
    fprintf(stderr, "bench_cpu: %s\n", loaded.reason);
    return 2;
  }
  const uint32_t kind = model_batch_kind(&model->spec, batch_size);
  CHECK_LT(kind, model->spec.batch_kinds);
  const struct program *program = model->programs[kind];
  unsigned char *io =
      huge_memory_take(host_model_output_offset(program) + program->output_bytes + 1);
  unsigned char *workspace = huge_memory_take(program->workspace_bytes + 1);
  int64_t *step_ns = calloc(program->steps_count + 1, sizeof(*step_ns));
  CHECK(io != NULL && workspace != NULL && step_ns != NULL);
  host_model_put_inputs(model, kind, NULL, io);
  const struct program_bases bases = {{[PROGRAM_INPUT] = io,
                                       [PROGRAM_OUTPUT] = io + host_model_output_offset(program),
                                       [PROGRAM_WEIGHTS] = model->weights,
                                       [PROGRAM_WORKSPACE] = workspace}};
  struct program_run *run = model->runs[kind];
  CHECK_EQ(program_run_profile(run, stream, &bases, step_ns), ERR_OK); /* fills caches */
  memset(step_ns, 0, program->steps_count * sizeof(*step_ns));
  for (uint32_t i = 0; i < runs; i++) {
    CHECK_EQ(program_run_profile(run, stream, &bases, step_ns), ERR_OK);
  }
  report(program, step_ns, runs);
  free(step_ns);
  host_model_destroy(model);
  dnnl_stream_destroy(stream);
  dnnl_engine_destroy(engine);
  return 0;
}
