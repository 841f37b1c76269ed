#include "backend/cpu/host_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/cpu/lower.h"
#include "backend/cpu/weights_cache.h"
#include "base/check.h"
#include "base/prng.h"
#include "os/clock.h"

enum {
  ALIGN_BYTES = 256,
  /* A batch size is measured so often, or for so long, whichever ends first; at least thrice. */
  MEASURE_RUNS_MAX = 15,
  MEASURE_RUNS_MIN = 3,
};

#define MEASURE_TIME duration_ms(400)

uint64_t host_model_output_offset(const struct program *program) {
  return (program->input_bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

void host_model_destroy(struct host_model *model) {
  if (model == NULL) {
    return;
  }
  for (uint32_t i = 0; model->runs != NULL && i < model->devices * MODEL_BATCH_KINDS; i++) {
    program_run_destroy(model->runs[i]);
  }
  for (uint32_t i = 0; model->windows != NULL && i < model->devices; i++) {
    weights_window_release(model->windows[i], model->copies * model->spec.weights_pages);
  }
  for (uint32_t i = 0; i < MODEL_BATCH_KINDS; i++) {
    program_destroy(model->programs[i]);
  }
  huge_memory_give(model->weights, (size_t)model->spec.weights_pages * MODEL_PAGE_BYTES);
  free(model->runs);
  free(model->windows);
  free(model->made_up_input);
  loader_close(&model->package);
  free(model);
}

/* ---- inputs and outputs ---------------------------------------------------------------------- */

void host_model_put_inputs(const struct host_model *model, uint32_t kind, const void *const *inputs,
                           unsigned char *place) {
  const uint32_t batch_size = model->spec.batch_sizes[kind];
  for (uint32_t i = 0; i < batch_size; i++) {
    const unsigned char *request =
        inputs == NULL || inputs[i] == NULL ? model->made_up_input : inputs[i];
    for (uint32_t j = 0; j < model->inputs_count; j++) {
      const struct host_port *port = &model->inputs[j];
      memcpy(place + port->place_offset_bytes[kind] + i * port->bytes_per_request,
             request + port->request_offset_bytes, port->bytes_per_request);
    }
  }
}

void host_model_get_outputs(const struct host_model *model, uint32_t kind,
                            const unsigned char *place, unsigned char *ret_outputs) {
  const uint32_t batch_size = model->spec.batch_sizes[kind];
  for (uint32_t i = 0; i < batch_size; i++) {
    for (uint32_t j = 0; j < model->outputs_count; j++) {
      const struct host_port *port = &model->outputs[j];
      memcpy(ret_outputs + i * model->spec.output_bytes + port->request_offset_bytes,
             place + port->place_offset_bytes[kind] + i * port->bytes_per_request,
             port->bytes_per_request);
    }
  }
}

/* Floats in [0, 1), as a normalised image has them; whole numbers are 0, which is an index into
 * anything. */
static void make_up(const struct plan *plan, unsigned char *ret_request) {
  struct prng prng;
  prng_init(&prng, 1, 0);
  uint64_t offset = 0;
  for (uint32_t i = 0; i < plan->inputs_count; i++) {
    const struct plan_port *port = &plan->inputs[i];
    for (uint64_t j = 0; port->type == PLAN_F32 && j + sizeof(float) <= port->bytes_per_request;
         j += sizeof(float)) {
      const float value = (float)prng_unit(&prng);
      memcpy(ret_request + offset + j, &value, sizeof(value));
    }
    offset += port->bytes_per_request;
  }
}

static void take_ports(const struct plan *plan, bool are_inputs, struct host_model *model) {
  const uint32_t count = are_inputs ? plan->inputs_count : plan->outputs_count;
  struct host_port *ports = are_inputs ? model->inputs : model->outputs;
  uint64_t offset = 0;
  for (uint32_t i = 0; i < count; i++) {
    const struct plan_port *port = are_inputs ? &plan->inputs[i] : &plan->outputs[i];
    ports[i] = (struct host_port){.request_offset_bytes = offset,
                                  .bytes_per_request = port->bytes_per_request};
    offset += port->bytes_per_request;
    for (uint32_t kind = 0; kind < plan->batch_kinds; kind++) {
      const struct plan_batch *batch = &plan->batches[kind];
      const struct plan_tensor *tensor =
          &batch->tensors[are_inputs ? batch->inputs[i] : batch->outputs[i]];
      ports[i].place_offset_bytes[kind] =
          batch->buffers[tensor->buffer].offset_bytes + tensor->offset_bytes;
    }
  }
}

/* ---- loading --------------------------------------------------------------------------------- */

struct loading {
  const struct host_limits *limits;
  const struct backend_load_model *job;
  dnnl_engine_t engine;
  struct weights_layout layout;
  struct host_model *model;
  struct backend_loaded_model *ret_loaded;
};

__attribute__((format(printf, 3, 4))) static bool
refuse(struct loading *loading, enum action_status status, const char *format, ...) {
  loading->ret_loaded->status = status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(loading->ret_loaded->reason, sizeof(loading->ret_loaded->reason), format, arguments);
  va_end(arguments);
  return false;
}

static bool refuse_for_memory(struct loading *loading) {
  return refuse(loading, ACTION_RUNTIME_ERROR, "%.120s: out of memory", loading->job->path);
}

static bool read_package(struct loading *loading) {
  struct error_text error;
  if (loader_open(loading->job->path, &loading->model->package, &error) != ERR_OK) {
    return refuse(loading, ACTION_INVALID_MODEL_PATH, "%s", error.text);
  }
  return true;
}

/* Batch sizes that do not fit a device are left out; batch 1 must. */
static bool lower_all(struct loading *loading) {
  const struct plan *plan = loading->model->package.plan;
  const struct host_limits *limits = loading->limits;
  struct model_spec *spec = &loading->model->spec;
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    const struct plan_batch *batch = &plan->batches[i];
    const uint32_t max_batch = loading->job->max_batch;
    if (i > 0 && max_batch != 0 && batch->batch_size > max_batch) {
      break;
    }
    struct program *program = NULL;
    const enum err error =
        lower_batch(loading->engine, plan, batch, limits->cores, &loading->layout, &program);
    if (error != ERR_OK) {
      return refuse(loading, ACTION_RUNTIME_ERROR, "%.120s: batch size %u: %s", loading->job->path,
                    batch->batch_size, err_text(error));
    }
    const uint64_t io_bytes = host_model_output_offset(program) + program->output_bytes;
    const bool fits =
        io_bytes <= limits->slot_bytes && program->workspace_bytes <= limits->workspace_bytes;
    if (!fits && i == 0) {
      refuse(loading, ACTION_RUNTIME_ERROR,
             "%.100s: needs a workspace of %llu bytes and %llu for input and output; raise "
             "workspace_pool_size or io_pool_size",
             loading->job->path, (unsigned long long)program->workspace_bytes,
             (unsigned long long)(io_bytes * BACKEND_IO_SLOTS));
      program_destroy(program);
      return false;
    }
    if (!fits) {
      program_destroy(program);
      break;
    }
    loading->model->programs[i] = program;
    spec->batch_sizes[i] = batch->batch_size;
    spec->batch_kinds = i + 1;
  }
  return true;
}

static bool convert_weights(struct loading *loading) {
  struct host_model *model = loading->model;
  struct model_spec *spec = &model->spec;
  spec->weights_bytes = loading->layout.bytes == 0 ? ALIGN_BYTES : loading->layout.bytes;
  const uint64_t pages = (spec->weights_bytes + MODEL_PAGE_BYTES - 1) / MODEL_PAGE_BYTES;
  if (pages > loading->limits->pages) {
    return refuse(loading, ACTION_RUNTIME_ERROR,
                  "%.120s: its weights need %llu pages, a device has %u; raise --pages",
                  loading->job->path, (unsigned long long)pages, loading->limits->pages);
  }
  spec->weights_pages = (uint32_t)pages;
  model->weights = huge_memory_take(pages * MODEL_PAGE_BYTES);
  if (model->weights == NULL ||
      madvise(model->weights, pages * MODEL_PAGE_BYTES, MADV_POPULATE_WRITE) != 0 ||
      weights_layout_fill(&loading->layout, loading->engine, loading->model->package.weights,
                          model->weights) != ERR_OK) {
    return refuse_for_memory(loading);
  }
  return true;
}

static int compare_durations(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a;
  const int64_t y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* The median of several executions. False: oneDNN gave up. */
static bool measure(const struct host_model *model, uint32_t kind, dnnl_engine_t engine,
                    dnnl_stream_t stream, unsigned char *workspace, unsigned char *io,
                    struct duration *ret_duration) {
  const struct program *program = model->programs[kind];
  struct program_run *run = program_run_create(program, engine);
  const struct program_bases bases = {{[PROGRAM_INPUT] = io,
                                       [PROGRAM_OUTPUT] = io + host_model_output_offset(program),
                                       [PROGRAM_WEIGHTS] = model->weights,
                                       [PROGRAM_WORKSPACE] = workspace}};
  int64_t durations[MEASURE_RUNS_MAX];
  uint32_t count = 0;
  bool is_done = run != NULL;
  host_model_put_inputs(model, kind, NULL, io);
  const struct instant begin = os_now();
  is_done = is_done && program_run_execute(run, stream, &bases) == ERR_OK; /* fills caches */
  while (is_done && count < MEASURE_RUNS_MAX &&
         (count < MEASURE_RUNS_MIN || instant_since(os_now(), begin).ns < MEASURE_TIME.ns)) {
    const struct instant before = os_now();
    is_done = program_run_execute(run, stream, &bases) == ERR_OK;
    durations[count++] = instant_since(os_now(), before).ns;
  }
  program_run_destroy(run);
  if (is_done) {
    qsort(durations, count, sizeof(durations[0]), compare_durations);
    *ret_duration = duration_ns(durations[count / 2] > 0 ? durations[count / 2] : 1);
  }
  return is_done;
}

/* Batch sizes rise, so the first that takes too long ends the list. */
static void drop_from(struct host_model *model, uint32_t first_kind) {
  for (uint32_t i = first_kind; i < MODEL_BATCH_KINDS; i++) {
    program_destroy(model->programs[i]);
    model->programs[i] = NULL;
    model->spec.batch_sizes[i] = 0;
    model->spec.execute[i] = DURATION_ZERO;
  }
  model->spec.batch_kinds = first_kind;
}

static bool measure_kinds(struct loading *loading, dnnl_stream_t stream, unsigned char *workspace,
                          unsigned char *io) {
  struct host_model *model = loading->model;
  for (uint32_t i = 0; i < model->spec.batch_kinds; i++) {
    struct duration *duration = &model->spec.execute[i];
    if (!measure(model, i, loading->engine, stream, workspace, io, duration)) {
      return refuse(loading, ACTION_RUNTIME_ERROR, "%.120s: batch size %u could not be executed",
                    loading->job->path, model->spec.batch_sizes[i]);
    }
    if (i > 0 && loading->job->max_execute.ns != 0 && duration->ns > loading->job->max_execute.ns) {
      drop_from(model, i);
    }
    if (i == 0 && loading->job->max_execute.ns != 0 &&
        duration->ns > loading->job->max_execute.ns) {
      drop_from(model, 1);
    }
  }
  return true;
}

/* What a LOAD copies, into memory that no cache holds. */
static bool measure_load(struct loading *loading) {
  const struct host_model *model = loading->model;
  const size_t bytes = (size_t)model->spec.weights_pages * MODEL_PAGE_BYTES;
  unsigned char *target = huge_memory_take(bytes);
  if (target == NULL || madvise(target, bytes, MADV_POPULATE_WRITE) != 0) {
    huge_memory_give(target, bytes);
    return refuse_for_memory(loading);
  }
  const struct instant begin = os_now();
  memcpy(target, model->weights, model->spec.weights_bytes);
  const struct duration took = instant_since(os_now(), begin);
  huge_memory_give(target, bytes);
  loading->model->spec.load = duration_ns(took.ns > 0 ? took.ns : 1);
  return true;
}

static bool measure_all(struct loading *loading) {
  struct host_model *model = loading->model;
  uint64_t workspace_bytes = ALIGN_BYTES;
  uint64_t io_bytes = ALIGN_BYTES;
  for (uint32_t i = 0; i < model->spec.batch_kinds; i++) {
    const struct program *program = model->programs[i];
    const uint64_t io = host_model_output_offset(program) + program->output_bytes;
    workspace_bytes =
        program->workspace_bytes > workspace_bytes ? program->workspace_bytes : workspace_bytes;
    io_bytes = io > io_bytes ? io : io_bytes;
  }
  unsigned char *workspace = huge_memory_take(workspace_bytes);
  unsigned char *io = huge_memory_take(io_bytes);
  dnnl_stream_t stream = NULL;
  bool is_done =
      workspace != NULL && io != NULL &&
      dnnl_stream_create(&stream, loading->engine, dnnl_stream_default_flags) == dnnl_success;
  is_done = is_done ? measure_kinds(loading, stream, workspace, io) && measure_load(loading)
                    : refuse_for_memory(loading);
  dnnl_stream_destroy(stream);
  huge_memory_give(workspace, workspace_bytes);
  huge_memory_give(io, io_bytes);
  return is_done;
}

/* What each device needs of its own. */
static bool make_runs(struct loading *loading) {
  struct host_model *model = loading->model;
  model->runs = calloc((size_t)model->devices * MODEL_BATCH_KINDS, sizeof(*model->runs));
  model->windows = calloc(model->devices, sizeof(*model->windows));
  if (model->runs == NULL || model->windows == NULL) {
    return refuse_for_memory(loading);
  }
  for (uint32_t device = 0; device < model->devices; device++) {
    model->windows[device] = weights_window_reserve(model->copies * model->spec.weights_pages);
    if (model->windows[device] == NULL) {
      return refuse_for_memory(loading);
    }
    for (uint32_t kind = 0; kind < model->spec.batch_kinds; kind++) {
      struct program_run **run = &model->runs[device * MODEL_BATCH_KINDS + kind];
      *run = program_run_create(model->programs[kind], loading->engine);
      if (*run == NULL) {
        return refuse_for_memory(loading);
      }
    }
  }
  return true;
}

static bool describe(struct loading *loading) {
  const struct plan *plan = loading->model->package.plan;
  struct host_model *model = loading->model;
  memcpy(model->spec.name, plan->name, sizeof(model->spec.name));
  model->spec.input_bytes = plan->input_bytes;
  model->spec.output_bytes = plan->output_bytes;
  model->inputs_count = plan->inputs_count;
  model->outputs_count = plan->outputs_count;
  take_ports(plan, true, model);
  take_ports(plan, false, model);
  model->made_up_input = calloc(1, plan->input_bytes + 1);
  if (model->made_up_input == NULL) {
    return refuse_for_memory(loading);
  }
  make_up(plan, model->made_up_input);
  return true;
}

struct host_model *host_model_load(const struct host_limits *limits, dnnl_engine_t engine,
                                   const struct backend_load_model *job,
                                   struct backend_loaded_model *ret_loaded) {
  struct loading loading = {
      .limits = limits, .job = job, .engine = engine, .ret_loaded = ret_loaded};
  *ret_loaded = (struct backend_loaded_model){.job_id = job->job_id, .status = ACTION_SUCCESS};
  loading.model = calloc(1, sizeof(*loading.model));
  if (loading.model == NULL) {
    refuse_for_memory(&loading);
    return NULL;
  }
  loading.model->copies = job->copies;
  loading.model->devices = limits->devices;
  const bool is_done = read_package(&loading) && describe(&loading) && lower_all(&loading) &&
                       convert_weights(&loading) && measure_all(&loading) && make_runs(&loading);
  weights_layout_finish(&loading.layout);
  if (!is_done) {
    host_model_destroy(loading.model);
    return NULL;
  }
  return loading.model;
}
