#include "backend/cpu/program.h"

#include <stdlib.h>

#include "backend/cpu/team.h"
#include "base/check.h"
#include "kernels/kernels.h"
#include "os/clock.h"

struct program_run {
  const struct program *program;
  struct program_bases bases; /* what the memories point to now */
  dnnl_memory_t *memories;
  dnnl_exec_arg_t *arguments;
  unsigned char **data; /* of kernels' tensors and natives' areas */
};

void program_destroy(struct program *program) {
  if (program == NULL) {
    return;
  }
  for (uint32_t i = 0; i < program->steps_count; i++) {
    struct program_step *step = &program->steps[i];
    if (step->primitive != NULL) {
      dnnl_primitive_destroy(step->primitive);
    }
    if (step->kernel != NULL) {
      free(step->kernel->tensors);
      free(step->kernel->areas);
      free((void *)(uintptr_t)step->kernel->op.inputs);
      free(step->kernel);
    }
    if (step->native != NULL) {
      free(step->native->shape);
      free(step->native);
    }
  }
  free(program->steps);
  free(program->memories);
  free(program->arguments);
  free(program);
}

void program_run_destroy(struct program_run *run) {
  if (run == NULL) {
    return;
  }
  for (uint32_t i = 0; run->memories != NULL && i < run->program->memories_count; i++) {
    if (run->memories[i] != NULL) {
      dnnl_memory_destroy(run->memories[i]);
    }
  }
  free(run->memories);
  free(run->arguments);
  free(run->data);
  free(run);
}

/* Memories get their addresses at the first execution, by the thread that executes: oneDNN clears
 * the padding of what it is given. */
struct program_run *program_run_create(const struct program *program, dnnl_engine_t engine) {
  struct program_run *run = calloc(1, sizeof(*run));
  if (run == NULL) {
    return NULL;
  }
  run->program = program;
  run->memories = calloc(program->memories_count + 1, sizeof(*run->memories));
  run->arguments = calloc(program->arguments_count + 1, sizeof(*run->arguments));
  run->data = calloc(program->data_count + 1, sizeof(*run->data));
  if (run->memories == NULL || run->arguments == NULL || run->data == NULL) {
    program_run_destroy(run);
    return NULL;
  }
  for (uint32_t i = 0; i < program->memories_count; i++) {
    if (dnnl_memory_create(&run->memories[i], &program->memories[i].desc, engine,
                           DNNL_MEMORY_NONE) != dnnl_success) {
      run->memories[i] = NULL;
      program_run_destroy(run);
      return NULL;
    }
  }
  for (uint32_t i = 0; i < program->arguments_count; i++) {
    const struct program_argument *argument = &program->arguments[i];
    run->arguments[i] =
        (dnnl_exec_arg_t){.arg = argument->name, .memory = run->memories[argument->memory]};
  }
  return run;
}

static unsigned char *address_of(const struct program_run *run, const struct program_area *area) {
  return run->bases.at[area->place] + area->offset_bytes;
}

static enum err move_bases(struct program_run *run, const struct program_bases *bases) {
  bool has_moved[PROGRAM_PLACES];
  bool has_any = false;
  for (int place = 0; place < PROGRAM_PLACES; place++) {
    has_moved[place] = run->bases.at[place] != bases->at[place];
    has_any = has_any || has_moved[place];
  }
  if (!has_any) {
    return ERR_OK;
  }
  run->bases = *bases;
  const struct program *program = run->program;
  for (uint32_t i = 0; i < program->memories_count; i++) {
    const struct program_area *area = &program->memories[i].area;
    if (has_moved[area->place] &&
        dnnl_memory_set_data_handle(run->memories[i], address_of(run, area)) != dnnl_success) {
      run->bases = (struct program_bases){{NULL}}; /* none of them is known any more */
      return ERR_IO;
    }
  }
  for (uint32_t i = 0; i < program->steps_count; i++) {
    const struct program_kernel *kernel = program->steps[i].kernel;
    for (uint32_t j = 0; kernel != NULL && j < kernel->tensors_count; j++) {
      run->data[kernel->first_data + j] = address_of(run, &kernel->areas[j]);
    }
    const struct program_native *native = program->steps[i].native;
    for (uint32_t j = 0; native != NULL && j < native->areas_count; j++) {
      const struct program_area *area = &native->areas[j];
      run->data[native->first_data + j] =
          area->place == PROGRAM_PLACES ? NULL : address_of(run, area);
    }
  }
  return ERR_OK;
}

struct kernel_call {
  const struct program_run *run;
  const struct program_kernel *kernel;
};

static void run_kernel_part(void *user, uint32_t part, uint32_t parts) {
  const struct kernel_call *call = user;
  const struct program_kernel *kernel = call->kernel;
  kernels_run(&kernel->op, kernel->tensors, (void *const *)(call->run->data + kernel->first_data),
              address_of(call->run, &kernel->scratch) + part * kernel->scratch_bytes, part, parts);
}

struct native_call {
  const struct program_native *native;
  unsigned char **data;
};

static void run_native_part(void *user, uint32_t part, uint32_t parts) {
  const struct native_call *call = user;
  call->native->run(call->native->shape, call->data, part, parts);
}

static enum err run_step(struct program_run *run, dnnl_stream_t stream,
                         const struct program_step *step) {
  if (step->kernel != NULL) {
    struct kernel_call call = {.run = run, .kernel = step->kernel};
    team_run(run_kernel_part, &call, step->kernel->parts);
    return ERR_OK;
  }
  if (step->native != NULL) {
    struct native_call call = {.native = step->native,
                               .data = run->data + step->native->first_data};
    team_run(run_native_part, &call, step->native->parts);
    return ERR_OK;
  }
  const dnnl_status_t status = dnnl_primitive_execute(
      step->primitive, stream, (int)step->arguments_count, run->arguments + step->first_argument);
  return status == dnnl_success ? ERR_OK : ERR_IO;
}

enum err program_run_execute(struct program_run *run, dnnl_stream_t stream,
                             const struct program_bases *bases) {
  enum err error = move_bases(run, bases);
  for (uint32_t i = 0; i < run->program->steps_count && error == ERR_OK; i++) {
    error = run_step(run, stream, &run->program->steps[i]);
  }
  return error;
}

enum err program_run_profile(struct program_run *run, dnnl_stream_t stream,
                             const struct program_bases *bases, int64_t *ret_step_ns) {
  enum err error = move_bases(run, bases);
  for (uint32_t i = 0; i < run->program->steps_count && error == ERR_OK; i++) {
    const struct instant begin = os_now();
    error = run_step(run, stream, &run->program->steps[i]);
    ret_step_ns[i] += instant_since(os_now(), begin).ns;
  }
  return error;
}
