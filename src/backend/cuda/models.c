#include "backend/cuda/models.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "loader/loader.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/memory.h"
#include "package/format.h"

enum {
  /* Timed runs of each program. An odd number: the median is one of them. */
  TIMED_RUNS = 15,
  TIMED_LOADS = 5,
};

/* Long enough for the GPU to leave its resting clock, and for a plan file no larger than any real
 * one. */
#define WARM_UP duration_ms(30)
#define PLAN_BYTES_MAX ((size_t)256 << 20)
/* A run that takes longer than this never ends. */
#define RUN_PATIENCE duration_s(20)

uint32_t models_kind(const struct package *package, uint32_t batch_size) {
  const struct plan *plan = package->plan;
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    if (plan->batches[i].batch_size == batch_size) {
      return i;
    }
  }
  CHECK(false);
  return 0;
}

/* --------------------------------------------------------------------------- reading a package */

/* NULL: all are lost. */
static struct device *any_that_lives(const struct models *models) {
  for (uint32_t i = 0; i < models->gpus_count; i++) {
    if (!device_is_lost(models->gpus[i].device)) {
      return models->gpus[i].device;
    }
  }
  return NULL;
}

/* For what is every GPU's: host memory is pinned through one that lives. */
static void enter_any(const struct models *models) {
  struct device *device = any_that_lives(models);
  device_enter(device == NULL ? models->gpus[0].device : device);
}

static void package_destroy(const struct models *models, struct package *package) {
  if (package == NULL) {
    return;
  }
  for (uint32_t i = 0; package->gpus != NULL && i < models->gpus_count; i++) {
    for (int kind = 0; kind < MODEL_BATCH_KINDS; kind++) {
      free(package->gpus[i].programs[kind].choices);
    }
  }
  free(package->gpus);
  enter_any(models);
  pinned_give(models->library, &package->weights);
  os_memory_give(package->plan_memory, package->plan_memory_bytes);
  free(package);
}

static struct package *find_package(struct models *models, const char *path, uint64_t checksum) {
  for (struct package *package = models->packages; package != NULL; package = package->next) {
    if (strcmp(package->path, path) == 0 && package->plan_checksum == checksum) {
      return package;
    }
  }
  return NULL;
}

static enum err checksum_of_plan(const char *package_path, uint64_t *ret_checksum,
                                 struct error_text *ret_error) {
  char path[MODEL_PATH_BYTES + sizeof(FORMAT_PLAN_FILE) + 1];
  snprintf(path, sizeof(path), "%s/%s", package_path, FORMAT_PLAN_FILE);
  struct file_map file;
  const enum err error = file_map_open(path, PLAN_BYTES_MAX, &file, ret_error);
  if (error == ERR_OK) {
    *ret_checksum = format_checksum(0, file.bytes, file.size_bytes);
    file_map_close(&file);
  }
  return error;
}

/* All but the pinning. The weights are copied, because a file's own pages can't all be pinned. */
static enum err read_package(const struct models *models, const char *package_path,
                             uint64_t checksum, struct package **ret_package,
                             struct error_text *ret_error) {
  struct package *package = calloc(1, sizeof(*package));
  struct package_gpu *gpus = calloc(models->gpus_count, sizeof(*gpus));
  if (package == NULL || gpus == NULL) {
    error_text_set(ret_error, "out of memory");
    free(package);
    free(gpus);
    return ERR_NO_MEMORY;
  }
  package->gpus = gpus;
  package->plan_checksum = checksum;
  snprintf(package->path, sizeof(package->path), "%s", package_path);
  struct loaded_package loaded;
  enum err error = loader_open(package_path, &loaded, ret_error);
  if (error == ERR_OK) {
    package->plan = loaded.plan;
    package->plan_memory = loaded.memory;
    package->plan_memory_bytes = loaded.memory_bytes;
    if (pinned_take(loaded.plan->weights_bytes, &package->weights)) {
      memcpy(package->weights.bytes, loaded.weights, loaded.plan->weights_bytes);
    } else {
      error_text_set(ret_error, "%.120s: no memory for %llu MiB of weights", package_path,
                     (unsigned long long)(loaded.plan->weights_bytes >> 20));
      error = ERR_NO_MEMORY;
    }
    loaded.memory = NULL; /* the package's now */
    loader_close(&loaded);
  }
  if (error != ERR_OK) {
    package_destroy(models, package);
    return error;
  }
  *ret_package = package;
  return ERR_OK;
}

struct package *models_read_ahead(const struct models *models, const char *package_path) {
  uint64_t checksum = 0;
  struct package *package = NULL;
  struct error_text error;
  if (checksum_of_plan(package_path, &checksum, &error) != ERR_OK ||
      read_package(models, package_path, checksum, &package, &error) != ERR_OK) {
    return NULL;
  }
  return package;
}

void models_forget(const struct models *models, struct package *ahead) {
  package_destroy(models, ahead);
}

bool models_has_read(const struct models *models, const char *package_path) {
  for (const struct package *package = models->packages; package != NULL; package = package->next) {
    if (strcmp(package->path, package_path) == 0) {
      return true;
    }
  }
  return false;
}

/* One that was read before is shared, unless its file has changed; `*ahead` is used if it is the
 * one, and NULL then. */
static enum err open_package(struct models *models, const char *package_path,
                             struct package **ahead, struct package **ret_package,
                             struct error_text *ret_error) {
  uint64_t checksum = 0;
  enum err error = checksum_of_plan(package_path, &checksum, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  struct package *package = find_package(models, package_path, checksum);
  if (package != NULL) {
    *ret_package = package;
    return ERR_OK;
  }
  if (*ahead != NULL && (*ahead)->plan_checksum == checksum &&
      strcmp((*ahead)->path, package_path) == 0) {
    package = *ahead;
    *ahead = NULL;
  } else {
    error = read_package(models, package_path, checksum, &package, ret_error);
    if (error != ERR_OK) {
      return error;
    }
  }
  enter_any(models);
  const CUresult result = pinned_pin(models->library, &package->weights);
  if (result != CUDA_SUCCESS) {
    error_text_set(ret_error, "%.120s: no pinned memory for %llu MiB of weights: %.80s",
                   package->path, (unsigned long long)(package->plan->weights_bytes >> 20),
                   library_driver_text(models->library, result));
    package_destroy(models, package);
    return ERR_NO_MEMORY;
  }
  package->next = models->packages;
  models->packages = package;
  *ret_package = package;
  return ERR_OK;
}

/* ------------------------------------------------------------------------ choosing and measuring
 */

/* A graph of the program for the emitter's area and weights. */
static enum err capture(const struct emit *emit, const struct device_area *area,
                        CUgraphExec *ret_graph, struct error_text *ret_error) {
  const struct library *library = emit->device->library;
  CUresult result =
      library->driver.cuStreamBeginCapture(emit->stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  if (result == CUDA_SUCCESS) {
    CUgraph graph = NULL;
    const enum err emitted = emit_program(emit, area, ret_error);
    result = library->driver.cuStreamEndCapture(emit->stream, &graph);
    if (emitted == ERR_OK && result == CUDA_SUCCESS) {
      result = library->driver.cuGraphInstantiate(ret_graph, graph, 0);
    }
    if (graph != NULL) {
      library->driver.cuGraphDestroy(graph);
    }
    if (emitted != ERR_OK) {
      return emitted;
    }
  }
  if (result != CUDA_SUCCESS) {
    error_text_set(ret_error, "batch size %u: no graph: %.80s", emit->batch->batch_size,
                   library_driver_text(library, result));
    return result == CUDA_ERROR_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_IO;
  }
  return ERR_OK;
}

static int compare_ns(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a;
  const int64_t y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* One run on the bench; the device's own begin and end. Negative: it failed. */
static int64_t run_once(const struct device *device, CUgraphExec graph) {
  struct kernel_cell *cell = device->bench.cell;
  const uint32_t sequence = ++cell->sequence;
  cell->input_address = device->slots[0];
  cell->output_address = device->bench.output;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (device->library->driver.cuGraphLaunch(graph, device->stream) != CUDA_SUCCESS) {
    return -1;
  }
  const struct instant begin = os_now();
  while (__atomic_load_n(&cell->is_done, __ATOMIC_ACQUIRE) != sequence) {
    if (instant_since(os_now(), begin).ns > RUN_PATIENCE.ns ||
        device->library->driver.cuStreamQuery(device->stream) > CUDA_ERROR_NOT_READY) {
      return -1;
    }
  }
  return (int64_t)(cell->end_ns - cell->begin_ns);
}

static enum err time_program(const struct emit *emit, bool is_cold, struct duration *ret_execute,
                             struct error_text *ret_error) {
  const struct device *device = emit->device;
  CUgraphExec graph = NULL;
  const enum err error = capture(emit, &device->bench, &graph, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  int64_t runs[TIMED_RUNS];
  int64_t ns = 0;
  const struct instant begin = os_now();
  do {
    ns = run_once(device, graph);
  } while (is_cold && ns >= 0 && instant_since(os_now(), begin).ns < WARM_UP.ns);
  for (int i = 0; i < TIMED_RUNS && ns >= 0; i++) {
    ns = run_once(device, graph);
    runs[i] = ns;
  }
  device->library->driver.cuStreamSynchronize(device->stream);
  device->library->driver.cuGraphExecDestroy(graph);
  if (ns < 0) {
    error_text_set(ret_error, "batch size %u: the GPU failed while it ran",
                   emit->batch->batch_size);
    return ERR_IO;
  }
  qsort(runs, TIMED_RUNS, sizeof(runs[0]), compare_ns);
  /* A program of a few moves may end within the clock's step. */
  ret_execute->ns = runs[TIMED_RUNS / 2] > 0 ? runs[TIMED_RUNS / 2] : 1;
  return ERR_OK;
}

/* The first `ops_count` operations in a graph of their own; negative: it failed. */
static int64_t time_begin(const struct emit *emit, uint32_t ops_count) {
  struct plan_batch begin = *emit->batch;
  begin.ops_count = ops_count;
  struct emit part = *emit;
  part.batch = &begin;
  struct duration execute = DURATION_ZERO;
  struct error_text error;
  return time_program(&part, false, &execute, &error) == ERR_OK ? execute.ns : -1;
}

/* Bytes that an operation must move at least: each tensor once. */
static uint64_t bytes_of(const struct emit *emit, const struct plan_op *op) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < op->inputs_count + op->outputs_count; i++) {
    const uint32_t tensor =
        i < op->inputs_count ? op->inputs[i] : op->outputs[i - op->inputs_count];
    if (tensor != PLAN_NONE) {
      const struct plan_tensor *t = emit_tensor(emit, tensor);
      bytes += plan_tensor_elements(t) * plan_type_bytes(t->type);
    }
  }
  return bytes;
}

/* Multiplications and additions of a convolution or product, else 0. */
static uint64_t work_of(const struct emit *emit, const struct plan_op *op) {
  if (op->kind != PLAN_OP_CONV && op->kind != PLAN_OP_MATMUL) {
    return 0;
  }
  const uint64_t outputs = plan_tensor_elements(emit_tensor(emit, op->outputs[0]));
  const struct plan_tensor *w = emit_tensor(emit, op->inputs[1]);
  const uint64_t terms = op->kind == PLAN_OP_CONV
                             ? plan_tensor_elements(w) / w->dims[0]
                             : w->dims[w->rank - (op->matmul.transpose_b ? 1 : 2)];
  return 2 * outputs * terms;
}

/* A line per operation: how it runs, what it adds to the program's time and what it takes alone
 * when repeated, and what it has to move and to compute. */
static void report_operations(const struct models *models, const struct emit *emit) {
  int64_t before = models->on_timed == NULL ? 0 : time_begin(emit, 0);
  for (uint32_t i = 0; models->on_timed != NULL && i < emit->batch->ops_count; i++) {
    const struct plan_op *op = &emit->batch->ops[i];
    const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
    const int64_t with = time_begin(emit, i + 1);
    char line[240];
    snprintf(line, sizeof(line),
             "%.40s batch %u op %u %s form %d: adds %.2f us, alone %.2f us, %.3f MB, %.3f GFLOP, "
             "%ux%ux%ux%u %.60s",
             emit->plan->name, emit->batch->batch_size, i, plan_op_kind_text(op->kind),
             (int)emit->choices[i].form, (double)(with - before) / 1e3,
             (double)choice_time(emit, i) / 1e3, (double)bytes_of(emit, op) / 1e6,
             (double)work_of(emit, op) / 1e9, out->dims[0], out->dims[1], out->dims[2],
             out->dims[3], op->name);
    models->on_timed(models->on_timed_user, line);
    before = with;
  }
}

static bool fits(const struct device *device, const struct plan_batch *batch) {
  return batch->input_bytes + DEVICE_IO_ALIGN_BYTES <= device->slot_bytes &&
         batch->output_bytes + DEVICE_IO_ALIGN_BYTES <= device->slot_bytes &&
         batch->workspace_bytes <= device->workspace_bytes;
}

static enum err prepare_program(const struct models *models, struct models_gpu *gpu,
                                const struct package *package, uint32_t kind, CUdeviceptr weights,
                                struct program *program, uint32_t *measured_count,
                                struct error_text *ret_error) {
  const struct plan_batch *batch = &package->plan->batches[kind];
  program->is_fit = fits(gpu->device, batch);
  if (!program->is_fit) {
    return ERR_OK;
  }
  free(program->choices); /* of an attempt that failed */
  program->choices = calloc(batch->ops_count + 1, sizeof(*program->choices));
  if (program->choices == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  struct emit emit;
  emit_init(&emit, gpu->device, gpu->device->stream, package->plan, batch, &gpu->device->bench,
            weights, program->choices);
  enum err error = choose(gpu->store, &emit, program->choices, measured_count, ret_error);
  if (error == ERR_OK) {
    /* In the open once: what a library loads or refuses must not happen inside a capture. */
    gpu->device->bench.cell->input_address = gpu->device->slots[0];
    gpu->device->bench.cell->output_address = gpu->device->bench.output;
    error = emit_program(&emit, &gpu->device->bench, ret_error);
  }
  const CUresult result = gpu->device->library->driver.cuStreamSynchronize(gpu->device->stream);
  if (error == ERR_OK && result != CUDA_SUCCESS) {
    error_text_set(ret_error, "batch size %u: %.80s", batch->batch_size,
                   library_driver_text(gpu->device->library, result));
    error = ERR_IO;
  }
  if (error == ERR_OK) {
    report_operations(models, &emit);
    error = time_program(&emit, kind == 0, &program->execute, ret_error);
  }
  return error;
}

/* In the pieces of a LOAD (engines.c), each with a word written behind it. */
static CUresult copy_in_pieces(const struct device *device, const struct package *package,
                               CUdeviceptr to) {
  const uint64_t bytes = package->plan->weights_bytes;
  const CUdeviceptr word = device->bench.cell_address + offsetof(struct kernel_cell, copied);
  CUresult result = CUDA_SUCCESS;
  for (uint64_t copied = 0; copied < bytes && result == CUDA_SUCCESS; copied += DEVICE_COPY_BYTES) {
    const uint64_t left = bytes - copied;
    result = device->library->driver.cuMemcpyHtoDAsync(
        to + copied, package->weights.bytes + copied,
        left < DEVICE_COPY_BYTES ? left : DEVICE_COPY_BYTES, device->stream);
    if (result == CUDA_SUCCESS) {
      result = device->library->driver.cuStreamWriteValue32(device->stream, word, 1, 0);
    }
  }
  return result;
}

/* Copies the weights to `to` a few times; the shortest counts. */
static CUresult time_load(const struct device *device, const struct package *package,
                          CUdeviceptr to, struct duration *ret_load) {
  int64_t best_ns = INT64_MAX;
  for (int i = 0; i < TIMED_LOADS; i++) {
    const struct instant begin = os_now();
    CUresult result = copy_in_pieces(device, package, to);
    result = result == CUDA_SUCCESS ? device->library->driver.cuStreamSynchronize(device->stream)
                                    : result;
    if (result != CUDA_SUCCESS) {
      return result;
    }
    const int64_t ns = instant_since(os_now(), begin).ns;
    best_ns = ns < best_ns ? ns : best_ns;
  }
  ret_load->ns = best_ns;
  return CUDA_SUCCESS;
}

static enum err prepare_on(struct models *models, struct package *package, uint32_t gpu_index,
                           struct error_text *ret_error) {
  struct models_gpu *gpu = &models->gpus[gpu_index];
  struct package_gpu *prepared = &package->gpus[gpu_index];
  if (prepared->is_prepared) {
    return ERR_OK;
  }
  const struct device *device = gpu->device;
  CUdeviceptr weights = 0;
  CUresult result = device->library->driver.cuMemAlloc(&weights, package->plan->weights_bytes);
  if (result != CUDA_SUCCESS) {
    error_text_set(ret_error,
                   "GPU %.40s: no room to measure %llu MiB of weights in: %.60s; lower --pages",
                   device->name, (unsigned long long)(package->plan->weights_bytes >> 20),
                   library_driver_text(device->library, result));
    return ERR_NO_MEMORY;
  }
  enum err error = ERR_OK;
  result = time_load(device, package, weights, &prepared->load);
  if (result != CUDA_SUCCESS) {
    error_text_set(ret_error, "GPU %.40s: %.80s", device->name,
                   library_driver_text(device->library, result));
    error = ERR_IO;
  }
  uint32_t measured = 0;
  choice_store_read(gpu->store, device, package->path);
  for (uint32_t kind = 0; kind < package->plan->batch_kinds && error == ERR_OK; kind++) {
    error = prepare_program(models, gpu, package, kind, weights, &prepared->programs[kind],
                            &measured, ret_error);
  }
  prepared->clock_mhz = models->clock_mhz(models->clock_user, gpu_index);
  device->library->driver.cuMemFree(weights);
  if (error == ERR_OK && !prepared->programs[0].is_fit) {
    error_text_set(ret_error,
                   "needs %llu MiB of workspace, %llu of io on GPU %.40s; raise "
                   "workspace_pool_size or io_pool_size in the config file",
                   (unsigned long long)(package->plan->batches[0].workspace_bytes >> 20),
                   (unsigned long long)((package->plan->batches[0].input_bytes +
                                         package->plan->batches[0].output_bytes) >>
                                        20),
                   device->name);
    error = ERR_TOO_LARGE;
  }
  if (error == ERR_OK && measured > 0) {
    choice_store_write(gpu->store, device, package->path);
  }
  prepared->is_prepared = error == ERR_OK;
  return error;
}

/* ------------------------------------------------------------------------------------- instances
 */

static size_t reserved_bytes(const struct instance *instance) {
  return (size_t)instance->weights_pages * MODEL_PAGE_BYTES + (size_t)2 * DEVICE_GUARD_BYTES;
}

/* A window with something readable on either side, the same physical memory for all: an engine of
 * cuDNN was seen to read in front of its filters (and to ignore what it read), which ends the
 * context where nothing is mapped. */
static CUresult open_window(const struct device *device, const struct instance *instance,
                            struct instance_gpu *gpu) {
  const struct library *library = device->library;
  const size_t bytes = reserved_bytes(instance);
  CUdeviceptr reserved = 0;
  CUresult result = library->driver.cuMemAddressReserve(&reserved, bytes, MODEL_PAGE_BYTES, 0, 0);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  const CUdeviceptr ends[2] = {reserved, reserved + bytes - DEVICE_GUARD_BYTES};
  int mapped = 0;
  while (mapped < 2 && result == CUDA_SUCCESS) {
    result = library->driver.cuMemMap(ends[mapped], DEVICE_GUARD_BYTES, 0, device->guard, 0);
    if (result == CUDA_SUCCESS) {
      mapped++;
      result = device_allow_access(device, ends[mapped - 1], DEVICE_GUARD_BYTES);
    }
  }
  if (result != CUDA_SUCCESS) {
    while (mapped > 0) {
      mapped--;
      library->driver.cuMemUnmap(ends[mapped], DEVICE_GUARD_BYTES);
    }
    library->driver.cuMemAddressFree(reserved, bytes);
    return result;
  }
  gpu->reserved = reserved;
  gpu->window = reserved + DEVICE_GUARD_BYTES;
  return CUDA_SUCCESS;
}

static void instance_clear(struct models *models, struct instance *instance) {
  for (uint32_t i = 0; instance->gpus != NULL && i < models->gpus_count; i++) {
    struct instance_gpu *gpu = &instance->gpus[i];
    device_enter(models->gpus[i].device);
    if (device_is_lost(models->gpus[i].device)) {
      continue;
    }
    for (int kind = 0; kind < MODEL_BATCH_KINDS; kind++) {
      if (gpu->graphs[kind] != NULL) {
        models->library->driver.cuGraphExecDestroy(gpu->graphs[kind]);
      }
    }
    if (gpu->reserved != 0) {
      const CUdeviceptr ends[2] = {gpu->reserved, gpu->window + (size_t)instance->weights_pages *
                                                                    MODEL_PAGE_BYTES};
      for (int end = 0; end < 2; end++) {
        models->library->driver.cuMemUnmap(ends[end], DEVICE_GUARD_BYTES);
      }
      models->library->driver.cuMemAddressFree(gpu->reserved, reserved_bytes(instance));
    }
  }
  free(instance->gpus);
  memset(instance, 0, sizeof(*instance));
}

static enum err instance_build_on(struct models *models, struct instance *instance,
                                  struct package *package, uint32_t gpu_index, const bool *is_kept,
                                  struct error_text *ret_error) {
  struct device *device = models->gpus[gpu_index].device;
  struct instance_gpu *gpu = &instance->gpus[gpu_index];
  device_enter(device);
  CUresult result = open_window(device, instance, gpu);
  if (result != CUDA_SUCCESS) {
    error_text_set(ret_error, "GPU %.40s: no addresses for a window: %.80s", device->name,
                   library_driver_text(models->library, result));
    return ERR_NO_MEMORY;
  }
  for (uint32_t kind = 0; kind < package->plan->batch_kinds; kind++) {
    if (!is_kept[kind]) {
      continue;
    }
    struct emit emit;
    emit_init(&emit, device, device->stream, package->plan, &package->plan->batches[kind],
              &device->serve, gpu->window, package->gpus[gpu_index].programs[kind].choices);
    const enum err error = capture(&emit, &device->serve, &gpu->graphs[kind], ret_error);
    if (error != ERR_OK) {
      return error;
    }
    result = models->library->driver.cuGraphUpload(gpu->graphs[kind], device->stream);
    if (result != CUDA_SUCCESS) {
      error_text_set(ret_error, "GPU %.40s: no room for a graph: %.80s; lower --pages",
                     device->name, library_driver_text(models->library, result));
      return ERR_NO_MEMORY;
    }
  }
  result = models->library->driver.cuStreamSynchronize(device->stream);
  return result == CUDA_SUCCESS ? ERR_OK : ERR_IO;
}

static enum err instance_build(struct models *models, struct instance *instance,
                               struct package *package, const bool *is_kept,
                               struct error_text *ret_error) {
  instance->package = package;
  instance->weights_pages = model_pages_of(package->plan->weights_bytes);
  instance->gpus = calloc(models->gpus_count, sizeof(*instance->gpus));
  enum err error = ERR_OK;
  if (instance->gpus == NULL) {
    error_text_set(ret_error, "out of memory");
    error = ERR_NO_MEMORY;
  }
  for (uint32_t i = 0; i < models->gpus_count && error == ERR_OK; i++) {
    struct device *device = models->gpus[i].device;
    if (!device_is_lost(device)) {
      error = instance_build_on(models, instance, package, i, is_kept, ret_error);
    }
    if (error != ERR_OK && !device_still_lives(device)) {
      error = ERR_OK;
    }
  }
  if (error != ERR_OK) {
    instance_clear(models, instance);
  }
  return error;
}

/* ------------------------------------------------------------------------------------------ jobs
 */

static bool ids_are_free(const struct models *models, const struct backend_load_model *job) {
  if (job->copies == 0 || job->first_model_id >= models->capacity ||
      job->copies > models->capacity - job->first_model_id) {
    return false;
  }
  for (uint32_t i = 0; i < job->copies; i++) {
    if (models->instances[job->first_model_id + i].package != NULL) {
      return false;
    }
  }
  return true;
}

/* The spec of the batch sizes that the job wants, with the slowest GPU's durations. What a GPU that
 * is lost by now was measured with counts for nothing. */
static void describe(const struct models *models, const struct package *package,
                     const struct backend_load_model *job, struct model_spec *ret_spec,
                     bool *ret_is_kept) {
  const struct plan *plan = package->plan;
  struct model_spec spec;
  memset(&spec, 0, sizeof(spec));
  memcpy(spec.name, plan->name, sizeof(spec.name));
  spec.input_bytes = plan->input_bytes;
  spec.output_bytes = plan->output_bytes;
  spec.weights_bytes = plan->weights_bytes;
  spec.weights_pages = model_pages_of(plan->weights_bytes);
  for (uint32_t i = models->gpus_count; i-- > 0;) {
    if (!device_is_lost(models->gpus[i].device)) {
      spec.load = duration_max(spec.load, package->gpus[i].load);
      spec.clock_mhz = package->gpus[i].clock_mhz; /* the first one's */
    }
  }
  for (uint32_t kind = 0; kind < plan->batch_kinds; kind++) {
    struct duration execute = DURATION_ZERO;
    bool is_fit = true;
    for (uint32_t i = 0; i < models->gpus_count; i++) {
      if (device_is_lost(models->gpus[i].device)) {
        continue;
      }
      is_fit = is_fit && package->gpus[i].programs[kind].is_fit;
      execute = duration_max(execute, package->gpus[i].programs[kind].execute);
    }
    ret_is_kept[kind] =
        kind == 0 ||
        (is_fit && (job->max_batch == 0 || plan->batches[kind].batch_size <= job->max_batch) &&
         (job->max_execute.ns == 0 || execute.ns <= job->max_execute.ns));
    if (ret_is_kept[kind]) {
      spec.batch_sizes[spec.batch_kinds] = plan->batches[kind].batch_size;
      spec.execute[spec.batch_kinds] = execute;
      spec.batch_kinds++;
    }
  }
  *ret_spec = spec;
}

static enum err load(struct models *models, const struct backend_load_model *job,
                     struct package **ahead, struct model_spec *ret_spec,
                     struct error_text *ret_error) {
  struct package *package = NULL;
  enum err error = open_package(models, job->path, ahead, &package, ret_error);
  for (uint32_t i = 0; i < models->gpus_count && error == ERR_OK; i++) {
    struct device *device = models->gpus[i].device;
    device_enter(device);
    if (!device_is_lost(device)) {
      error = prepare_on(models, package, i, ret_error);
    }
    if (error != ERR_OK && !device_still_lives(device)) {
      error = ERR_OK;
    }
  }
  if (error != ERR_OK) {
    return error;
  }
  bool is_kept[MODEL_BATCH_KINDS] = {false};
  describe(models, package, job, ret_spec, is_kept);
  uint32_t built = 0;
  while (built < job->copies && error == ERR_OK) {
    error = instance_build(models, &models->instances[job->first_model_id + built], package,
                           is_kept, ret_error);
    built += error == ERR_OK;
  }
  if (error == ERR_OK && any_that_lives(models) == NULL) {
    error = ERR_IO;
  }
  while (error != ERR_OK && built > 0) {
    built--;
    instance_clear(models, &models->instances[job->first_model_id + built]);
  }
  return error;
}

void models_load(struct models *models, const struct backend_load_model *job, struct package *ahead,
                 struct backend_loaded_model *ret_loaded) {
  memset(ret_loaded, 0, sizeof(*ret_loaded));
  ret_loaded->job_id = job->job_id;
  if (!ids_are_free(models, job)) {
    package_destroy(models, ahead);
    ret_loaded->status = ACTION_INVALID_MODEL_ID;
    return;
  }
  struct error_text reason = {.text = ""};
  const enum err error = load(models, job, &ahead, &ret_loaded->spec, &reason);
  package_destroy(models, ahead);
  if (error != ERR_OK && any_that_lives(models) == NULL) {
    ret_loaded->status = ACTION_GPU_LOST;
    return;
  }
  switch (error) {
  case ERR_OK:
    ret_loaded->status = ACTION_SUCCESS;
    return;
  case ERR_NOT_FOUND:
  case ERR_MALFORMED:
  case ERR_VERSION:
  case ERR_TOO_LARGE:
    ret_loaded->status = ACTION_INVALID_MODEL_PATH;
    break;
  default:
    ret_loaded->status = ACTION_RUNTIME_ERROR;
    break;
  }
  snprintf(ret_loaded->reason, sizeof(ret_loaded->reason), "%.*s",
           (int)sizeof(ret_loaded->reason) - 1, reason.text);
}

void models_clear(struct models *models) {
  for (uint32_t i = 0; models->instances != NULL && i < models->capacity; i++) {
    if (models->instances[i].package != NULL) {
      instance_clear(models, &models->instances[i]);
    }
  }
  while (models->packages != NULL) {
    struct package *package = models->packages;
    models->packages = package->next;
    package_destroy(models, package);
  }
}
