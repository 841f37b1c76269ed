#include "backend/cpu/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/cpu/host_model.h"
#include "backend/cpu/team.h"
#include "backend/cpu/weights_cache.h"
#include "base/check.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/thread.h"

enum {
  /* Of the loading thread and its team: executions go first. */
  LOADING_NICE = 4,
  CLOCK_MHZ_UNKNOWN = 1000,
};

/* A sleeping engine looks up so often even if nobody wakes it. */
#define IDLE_PERIOD duration_s(3600)

enum engine_state { ENGINE_IDLE, ENGINE_BUSY, ENGINE_DONE };

struct device;

/* One thread that does one kind of command. The owner writes command and model while it is idle and
 * makes it busy; the thread writes the completion and makes it done; poll() makes it idle. */
struct engine {
  struct device *device;
  enum backend_engine kind;
  struct os_thread thread;
  struct os_event wake;
  atomic_int state; /* enum engine_state */
  struct backend_command command;
  const struct host_model *model;
  uint32_t copy;
  struct instant submitted;
  struct backend_completion completion;
};

struct device {
  struct cpu *cpu;
  uint32_t index;
  struct engine engines[BACKEND_ENGINES];
  struct weights_cache cache; /* the LOAD engine's */
  unsigned char *io;
  unsigned char *workspace;
  dnnl_stream_t stream; /* the EXECUTE engine's */
};

/* A model being loaded, or loaded and not polled yet. */
struct job {
  struct backend_load_model wanted;
  struct backend_loaded_model loaded;
  struct host_model *model;
};

/* Jobs are taken in order: [done_first, done_first + done_count) are done, behind them stand those
 * that wait. */
struct jobs {
  pthread_mutex_t mutex; /* of all here; held for some copies only */
  struct job items[CPU_LOAD_JOBS];
  uint32_t first;
  uint32_t done_count;
  uint32_t waiting_count;
};

struct cpu {
  struct cpu_config config;
  struct host_limits limits;
  dnnl_engine_t engine;
  uint32_t clock_mhz;
  atomic_bool is_stopping;
  struct device *devices;
  struct host_model **of_model; /* by model id; NULL: none */
  uint32_t *copy_of_model;
  bool *is_taken; /* by model id: loaded or being loaded */
  struct jobs jobs;
  struct os_thread loading_thread;
  struct os_event loading_wake;
};

static void notify(const struct cpu *cpu) {
  if (cpu->config.notify != NULL) {
    cpu->config.notify(cpu->config.notify_user);
  }
}

/* ---- engines --------------------------------------------------------------------------------- */

static unsigned char *slot_of(const struct device *device, uint32_t io_slot) {
  CHECK_LT(io_slot, BACKEND_IO_SLOTS);
  return device->io + io_slot * device->cpu->limits.slot_bytes;
}

static unsigned char *window_of(const struct engine *engine) {
  const struct host_model *model = engine->model;
  return model->windows[engine->device->index] +
         (size_t)engine->copy * model->spec.weights_pages * MODEL_PAGE_BYTES;
}

static enum action_status run_load(struct engine *engine) {
  const struct host_model *model = engine->model;
  unsigned char *window = window_of(engine);
  if (weights_cache_map(&engine->device->cache, engine->command.pages, model->spec.weights_pages,
                        window) != ERR_OK) {
    return ACTION_RUNTIME_ERROR;
  }
  memcpy(window, model->weights, model->spec.weights_bytes);
  return ACTION_SUCCESS;
}

static enum action_status run_execute(struct engine *engine, uint32_t kind) {
  const struct device *device = engine->device;
  const struct host_model *model = engine->model;
  unsigned char *slot = slot_of(device, engine->command.io_slot);
  const struct program_bases bases = {
      {[PROGRAM_INPUT] = slot,
       [PROGRAM_OUTPUT] = slot + host_model_output_offset(model->programs[kind]),
       [PROGRAM_WEIGHTS] = window_of(engine),
       [PROGRAM_WORKSPACE] = device->workspace}};
  return program_run_execute(model->runs[device->index * MODEL_BATCH_KINDS + kind], device->stream,
                             &bases) == ERR_OK
             ? ACTION_SUCCESS
             : ACTION_RUNTIME_ERROR;
}

static enum action_status run_command(struct engine *engine) {
  const struct backend_command *command = &engine->command;
  if (engine->kind == BACKEND_ENGINE_LOAD) {
    return run_load(engine);
  }
  const struct host_model *model = engine->model;
  const uint32_t kind = model_batch_kind(&model->spec, command->batch_size);
  CHECK_LT(kind, MODEL_BATCH_KINDS);
  unsigned char *slot = slot_of(engine->device, command->io_slot);
  switch (engine->kind) {
  case BACKEND_ENGINE_INPUT:
    host_model_put_inputs(model, kind, command->io == NULL ? NULL : command->io->inputs, slot);
    return ACTION_SUCCESS;
  case BACKEND_ENGINE_OUTPUT:
    if (command->io != NULL && command->io->outputs != NULL) {
      host_model_get_outputs(model, kind, slot + host_model_output_offset(model->programs[kind]),
                             command->io->outputs);
    }
    return ACTION_SUCCESS;
  default:
    return run_execute(engine, kind);
  }
}

static void *engine_main(void *user) {
  struct engine *engine = user;
  const struct cpu *cpu = engine->device->cpu;
  const uint32_t cores = cpu->limits.cores;
  if (engine->kind == BACKEND_ENGINE_EXECUTE) {
    const bool has_own_cores = cores * cpu->config.devices <= team_cores();
    team_form(cores, has_own_cores ? (int32_t)(engine->device->index * cores) : -1);
  } else {
    team_keep_off(cpu->config.devices * cores);
  }
  while (!atomic_load_explicit(&cpu->is_stopping, memory_order_acquire)) {
    if (atomic_load_explicit(&engine->state, memory_order_acquire) != ENGINE_BUSY) {
      (void)os_event_wait(&engine->wake, IDLE_PERIOD);
      continue;
    }
    const struct instant begin = os_now();
    const enum action_status status = run_command(engine);
    engine->completion = (struct backend_completion){.command_id = engine->command.command_id,
                                                     .status = status,
                                                     .begin = begin,
                                                     .end = os_now(),
                                                     .clock_before_mhz = cpu->clock_mhz,
                                                     .clock_after_mhz = cpu->clock_mhz};
    atomic_store_explicit(&engine->state, ENGINE_DONE, memory_order_release);
    notify(cpu);
  }
  return NULL;
}

/* ---- loading --------------------------------------------------------------------------------- */

static bool next_job(struct jobs *jobs, struct backend_load_model *ret_wanted) {
  CHECK_EQ(pthread_mutex_lock(&jobs->mutex), 0);
  const bool has_one = jobs->waiting_count > 0;
  if (has_one) {
    *ret_wanted = jobs->items[(jobs->first + jobs->done_count) % CPU_LOAD_JOBS].wanted;
  }
  CHECK_EQ(pthread_mutex_unlock(&jobs->mutex), 0);
  return has_one;
}

static void finish_job(struct jobs *jobs, const struct backend_loaded_model *loaded,
                       struct host_model *model) {
  CHECK_EQ(pthread_mutex_lock(&jobs->mutex), 0);
  struct job *job = &jobs->items[(jobs->first + jobs->done_count) % CPU_LOAD_JOBS];
  job->loaded = *loaded;
  job->model = model;
  jobs->done_count++;
  jobs->waiting_count--;
  CHECK_EQ(pthread_mutex_unlock(&jobs->mutex), 0);
}

/* What executions will touch becomes resident now instead of then. The kernel may refuse; then it
 * happens then. */
static void make_resident(const struct cpu *cpu, const struct host_model *model) {
  for (uint32_t i = 0; i < model->spec.batch_kinds; i++) {
    const struct program *program = model->programs[i];
    const uint64_t io_bytes = host_model_output_offset(program) + program->output_bytes;
    for (uint32_t j = 0; j < cpu->config.devices; j++) {
      const struct device *device = &cpu->devices[j];
      (void)madvise(device->workspace, program->workspace_bytes, MADV_POPULATE_WRITE);
      for (uint32_t slot = 0; slot < BACKEND_IO_SLOTS; slot++) {
        (void)madvise(slot_of(device, slot), io_bytes, MADV_POPULATE_WRITE);
      }
    }
  }
}

static void *loading_main(void *user) {
  struct cpu *cpu = user;
  /* Of this thread alone, and of those that it starts. */
  const int before = getpriority(PRIO_PROCESS, (id_t)gettid());
  (void)setpriority(PRIO_PROCESS, (id_t)gettid(), before + LOADING_NICE);
  /* Where the cores that are left are fewer than a device has, a measurement needs more of them. */
  const uint32_t used = cpu->config.devices * cpu->limits.cores;
  if (used + cpu->limits.cores <= team_cores()) {
    team_keep_off(used);
  }
  team_form(cpu->limits.cores, -1);
  while (!atomic_load_explicit(&cpu->is_stopping, memory_order_acquire)) {
    struct backend_load_model wanted;
    if (!next_job(&cpu->jobs, &wanted)) {
      (void)os_event_wait(&cpu->loading_wake, IDLE_PERIOD);
      continue;
    }
    struct backend_loaded_model loaded = {.job_id = wanted.job_id,
                                          .status = ACTION_INVALID_MODEL_ID};
    struct host_model *model = NULL;
    if (wanted.copies > 0) {
      model = host_model_load(&cpu->limits, cpu->engine, &wanted, &loaded);
    }
    if (model != NULL) {
      make_resident(cpu, model);
      model->spec.clock_mhz = cpu->clock_mhz;
      loaded.spec = model->spec;
    }
    team_dismiss();
    finish_job(&cpu->jobs, &loaded, model);
    notify(cpu);
  }
  return NULL;
}

static bool ids_are_free(const struct cpu *cpu, const struct backend_load_model *job) {
  const uint32_t models_max = cpu->config.models_max;
  if (job->copies == 0 || job->first_model_id >= models_max ||
      job->copies > models_max - job->first_model_id) {
    return false;
  }
  for (uint32_t i = 0; i < job->copies; i++) {
    if (cpu->is_taken[job->first_model_id + i]) {
      return false;
    }
  }
  return true;
}

static void mark_ids(struct cpu *cpu, const struct backend_load_model *job, bool is_taken) {
  for (uint32_t i = 0; i < job->copies; i++) {
    cpu->is_taken[job->first_model_id + i] = is_taken;
  }
}

static enum err cpu_load_model(void *self, struct instant now,
                               const struct backend_load_model *job) {
  struct cpu *cpu = self;
  struct jobs *jobs = &cpu->jobs;
  (void)now;
  CHECK_EQ(pthread_mutex_lock(&jobs->mutex), 0);
  const uint32_t count = jobs->done_count + jobs->waiting_count;
  const bool is_full = count == CPU_LOAD_JOBS;
  if (!is_full) {
    struct job *place = &jobs->items[(jobs->first + count) % CPU_LOAD_JOBS];
    *place = (struct job){.wanted = *job};
    place->wanted.path[MODEL_PATH_BYTES - 1] = '\0';
    if (ids_are_free(cpu, job)) {
      mark_ids(cpu, job, true);
    } else {
      place->wanted.copies = 0; /* the loading thread answers in its turn */
    }
    jobs->waiting_count++;
  }
  CHECK_EQ(pthread_mutex_unlock(&jobs->mutex), 0);
  if (is_full) {
    return ERR_FULL;
  }
  os_event_set(&cpu->loading_wake);
  return ERR_OK;
}

/* The instances exist from now on. */
static void adopt(struct cpu *cpu, const struct job *job) {
  if (job->model == NULL) {
    mark_ids(cpu, &job->wanted, false);
    return;
  }
  for (uint32_t i = 0; i < job->wanted.copies; i++) {
    cpu->of_model[job->wanted.first_model_id + i] = job->model;
    cpu->copy_of_model[job->wanted.first_model_id + i] = i;
  }
}

static uint32_t cpu_poll_loaded(void *self, struct instant now,
                                struct backend_loaded_model *ret_loaded, uint32_t capacity) {
  struct cpu *cpu = self;
  struct jobs *jobs = &cpu->jobs;
  uint32_t count = 0;
  (void)now;
  CHECK_EQ(pthread_mutex_lock(&jobs->mutex), 0);
  while (count < capacity && jobs->done_count > 0) {
    const struct job *job = &jobs->items[jobs->first];
    adopt(cpu, job);
    ret_loaded[count++] = job->loaded;
    jobs->first = (jobs->first + 1) % CPU_LOAD_JOBS;
    jobs->done_count--;
  }
  CHECK_EQ(pthread_mutex_unlock(&jobs->mutex), 0);
  return count;
}

/* ---- commands -------------------------------------------------------------------------------- */

static uint32_t cpu_gpus_count(const void *self) {
  return ((const struct cpu *)self)->config.devices;
}

static void cpu_gpu(const void *self, uint32_t gpu_index, struct backend_gpu *ret_gpu) {
  const struct cpu *cpu = self;
  CHECK_LT(gpu_index, cpu->config.devices);
  *ret_gpu = (struct backend_gpu){.pages = cpu->config.pages,
                                  .io_bytes = cpu->config.io_bytes,
                                  .workspace_bytes = cpu->config.workspace_bytes,
                                  .clock_mhz = cpu->clock_mhz};
  snprintf(ret_gpu->name, sizeof(ret_gpu->name), "CPU, %u core%s", cpu->limits.cores,
           cpu->limits.cores == 1 ? "" : "s");
}

/* A core that fails takes the machine with it. */
static uint32_t cpu_lost_count(const void *self) {
  (void)self;
  return 0;
}

static void cpu_submit(void *self, struct instant now, const struct backend_command *command) {
  struct cpu *cpu = self;
  CHECK_LT(command->gpu_index, cpu->config.devices);
  CHECK_LT(command->engine, BACKEND_ENGINES);
  CHECK_LT(command->model_id, cpu->config.models_max);
  struct engine *engine = &cpu->devices[command->gpu_index].engines[command->engine];
  CHECK_EQ(atomic_load_explicit(&engine->state, memory_order_acquire), ENGINE_IDLE);
  CHECK(cpu->of_model[command->model_id] != NULL);
  engine->command = *command;
  engine->model = cpu->of_model[command->model_id];
  engine->copy = cpu->copy_of_model[command->model_id];
  engine->submitted = now;
  atomic_store_explicit(&engine->state, ENGINE_BUSY, memory_order_release);
  os_event_set(&engine->wake);
}

/* Pages stay where they are until a LOAD wants them elsewhere. */
static void cpu_evict(void *self, struct instant now, uint32_t gpu_index, uint32_t model_id,
                      const uint32_t *pages, uint32_t pages_count) {
  const struct cpu *cpu = self;
  (void)now;
  CHECK_LT(gpu_index, cpu->config.devices);
  CHECK_LT(model_id, cpu->config.models_max);
  CHECK(cpu->of_model[model_id] != NULL);
  CHECK_EQ(pages_count, cpu->of_model[model_id]->spec.weights_pages);
  for (uint32_t i = 0; i < pages_count; i++) {
    CHECK_LT(pages[i], cpu->config.pages);
  }
}

/* The engine that is done and ended first, by `now`; NULL: none. */
static struct engine *first_done(struct cpu *cpu, struct instant now) {
  struct engine *first = NULL;
  for (uint32_t i = 0; i < cpu->config.devices; i++) {
    for (int j = 0; j < BACKEND_ENGINES; j++) {
      struct engine *engine = &cpu->devices[i].engines[j];
      if (atomic_load_explicit(&engine->state, memory_order_acquire) == ENGINE_DONE &&
          !instant_after(engine->completion.end, now) &&
          (first == NULL || instant_before(engine->completion.end, first->completion.end))) {
        first = engine;
      }
    }
  }
  return first;
}

static uint32_t cpu_poll(void *self, struct instant now, struct backend_completion *ret_completions,
                         uint32_t capacity) {
  struct cpu *cpu = self;
  uint32_t count = 0;
  struct engine *engine = NULL;
  while (count < capacity && (engine = first_done(cpu, now)) != NULL) {
    /* One that ended earlier and said so only now: the next poll's, which cpu_wakeup() asks for. */
    if (count > 0 && instant_before(engine->completion.end, ret_completions[count - 1].end)) {
      break;
    }
    ret_completions[count] = engine->completion;
    /* `now` of the submit may be a little ahead of the thread that began at once. */
    struct backend_completion *completion = &ret_completions[count++];
    completion->begin = instant_max(completion->begin, engine->submitted);
    completion->end = instant_max(completion->end, completion->begin);
    atomic_store_explicit(&engine->state, ENGINE_IDLE, memory_order_release);
  }
  return count;
}

/* Done engines whose end lies behind the `now` that poll() was given are due at once. */
static struct instant cpu_wakeup(const void *self) {
  const struct cpu *cpu = self;
  struct instant next = INSTANT_NEVER;
  for (uint32_t i = 0; i < cpu->config.devices; i++) {
    for (int j = 0; j < BACKEND_ENGINES; j++) {
      const struct engine *engine = &cpu->devices[i].engines[j];
      if (atomic_load_explicit(&engine->state, memory_order_acquire) == ENGINE_DONE) {
        next = instant_min(next, engine->completion.end);
      }
    }
  }
  return next;
}

/* ---- the beginning and the end --------------------------------------------------------------- */

static void stop_threads(struct cpu *cpu) {
  atomic_store_explicit(&cpu->is_stopping, true, memory_order_release);
  for (uint32_t i = 0; cpu->devices != NULL && i < cpu->config.devices; i++) {
    for (int j = 0; j < BACKEND_ENGINES; j++) {
      struct engine *engine = &cpu->devices[i].engines[j];
      if (engine->thread.is_running) {
        os_event_set(&engine->wake);
        os_thread_join(&engine->thread);
      }
      os_event_finish(&engine->wake);
    }
  }
  if (cpu->loading_thread.is_running) {
    os_event_set(&cpu->loading_wake);
    os_thread_join(&cpu->loading_thread);
  }
  os_event_finish(&cpu->loading_wake);
}

static void destroy_models(struct cpu *cpu) {
  const struct jobs *jobs = &cpu->jobs;
  for (uint32_t i = 0; i < jobs->done_count; i++) {
    host_model_destroy(jobs->items[(jobs->first + i) % CPU_LOAD_JOBS].model);
  }
  for (uint32_t i = 0; cpu->of_model != NULL && i < cpu->config.models_max; i++) {
    if (cpu->of_model[i] != NULL && cpu->copy_of_model[i] == 0) {
      host_model_destroy(cpu->of_model[i]);
    }
  }
}

static void cpu_destroy(void *self) {
  struct cpu *cpu = self;
  if (cpu == NULL) {
    return;
  }
  stop_threads(cpu);
  destroy_models(cpu);
  for (uint32_t i = 0; cpu->devices != NULL && i < cpu->config.devices; i++) {
    struct device *device = &cpu->devices[i];
    dnnl_stream_destroy(device->stream);
    weights_cache_finish(&device->cache);
    huge_memory_give(device->io, cpu->config.io_bytes);
    huge_memory_give(device->workspace, cpu->config.workspace_bytes);
  }
  dnnl_engine_destroy(cpu->engine);
  CHECK_EQ(pthread_mutex_destroy(&cpu->jobs.mutex), 0);
  free(cpu->devices);
  free(cpu->of_model);
  free(cpu->copy_of_model);
  free(cpu->is_taken);
  free(cpu);
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .gpus_count = cpu_gpus_count,
    .gpu = cpu_gpu,
    .lost_count = cpu_lost_count,
    .load_model = cpu_load_model,
    .poll_loaded = cpu_poll_loaded,
    .submit = cpu_submit,
    .evict = cpu_evict,
    .poll = cpu_poll,
    .wakeup = cpu_wakeup,
    .destroy = cpu_destroy,
};

/* What the kernel says of the first core, or a round number where it says nothing. */
static uint32_t read_clock_mhz(void) {
  char *text = NULL;
  size_t bytes = 0;
  uint32_t clock_mhz = CLOCK_MHZ_UNKNOWN;
  if (file_read("/proc/cpuinfo", (size_t)16 << 20, &text, &bytes, NULL) != ERR_OK) {
    return clock_mhz;
  }
  const char *line = strstr(text, "cpu MHz");
  const char *colon = line == NULL ? NULL : strchr(line, ':');
  const double mhz = colon == NULL ? 0.0 : strtod(colon + 1, NULL);
  if (mhz >= 1.0 && mhz < MODEL_CLOCK_MAX_MHZ) {
    clock_mhz = (uint32_t)mhz;
  }
  free(text);
  return clock_mhz;
}

static enum err init_device(struct cpu *cpu, uint32_t index, struct error_text *ret_error) {
  struct device *device = &cpu->devices[index];
  device->cpu = cpu;
  device->index = index;
  device->io = huge_memory_take(cpu->config.io_bytes);
  device->workspace = huge_memory_take(cpu->config.workspace_bytes);
  if (device->io == NULL || device->workspace == NULL ||
      weights_cache_init(&device->cache, cpu->config.pages) != ERR_OK ||
      dnnl_stream_create(&device->stream, cpu->engine, dnnl_stream_default_flags) != dnnl_success) {
    error_text_set(ret_error,
                   "out of memory for device %u: %u pages of %d MiB for weights; lower --pages or "
                   "--gpus",
                   index, cpu->config.pages, MODEL_PAGE_BYTES >> 20);
    return ERR_NO_MEMORY;
  }
  static const char *const NAMES[BACKEND_ENGINES] = {"cpu load", "cpu input", "cpu execute",
                                                     "cpu output"};
  for (int i = 0; i < BACKEND_ENGINES; i++) {
    struct engine *engine = &device->engines[i];
    engine->device = device;
    engine->kind = (enum backend_engine)i;
    if (os_event_init(&engine->wake) != ERR_OK ||
        os_thread_start(&engine->thread, NAMES[i], engine_main, engine) != ERR_OK) {
      error_text_set(ret_error, "no thread for device %u; raise ulimit -n and -u", index);
      return ERR_IO;
    }
  }
  return ERR_OK;
}

static enum err init_all(struct cpu *cpu, struct error_text *ret_error) {
  const struct cpu_config *config = &cpu->config;
  cpu->devices = calloc(config->devices, sizeof(*cpu->devices));
  cpu->of_model = calloc(config->models_max, sizeof(*cpu->of_model));
  cpu->copy_of_model = calloc(config->models_max, sizeof(*cpu->copy_of_model));
  cpu->is_taken = calloc(config->models_max, sizeof(*cpu->is_taken));
  if (cpu->devices == NULL || cpu->of_model == NULL || cpu->copy_of_model == NULL ||
      cpu->is_taken == NULL || dnnl_engine_create(&cpu->engine, dnnl_cpu, 0) != dnnl_success) {
    error_text_set(ret_error, "out of memory for %u models; lower --models", config->models_max);
    return ERR_NO_MEMORY;
  }
  for (uint32_t i = 0; i < config->devices; i++) {
    for (int j = 0; j < BACKEND_ENGINES; j++) {
      cpu->devices[i].engines[j].wake.fd = -1;
    }
  }
  for (uint32_t i = 0; i < config->devices; i++) {
    const enum err error = init_device(cpu, i, ret_error);
    if (error != ERR_OK) {
      return error;
    }
  }
  if (os_event_init(&cpu->loading_wake) != ERR_OK ||
      os_thread_start(&cpu->loading_thread, "cpu models", loading_main, cpu) != ERR_OK) {
    error_text_set(ret_error, "no thread to load models with; raise ulimit -n and -u");
    return ERR_IO;
  }
  return ERR_OK;
}

bool cpu_is_usable(void) {
  return dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx2;
}

uint32_t cpu_cores(void) {
  return team_cores();
}

void cpu_keep_off(const struct cpu_config *config) {
  team_keep_off(config->devices * config->cores);
}

enum err cpu_create(const struct cpu_config *config, struct backend *ret_backend,
                    struct error_text *ret_error) {
  CHECK_GT(config->devices, 0);
  CHECK_LE(config->devices, CPU_DEVICES_MAX);
  CHECK_GT(config->cores, 0);
  CHECK_GT(config->pages, 0);
  struct cpu *cpu = calloc(1, sizeof(*cpu));
  if (cpu == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  cpu->config = *config;
  cpu->limits = (struct host_limits){
      .devices = config->devices,
      .cores = config->cores,
      .pages = config->pages,
      .slot_bytes = config->io_bytes / BACKEND_IO_SLOTS / 4096 * 4096,
      .workspace_bytes = config->workspace_bytes,
  };
  cpu->clock_mhz = read_clock_mhz();
  cpu->loading_wake.fd = -1;
  CHECK_EQ(pthread_mutex_init(&cpu->jobs.mutex, NULL), 0);
  const enum err error = init_all(cpu, ret_error);
  if (error != ERR_OK) {
    cpu_destroy(cpu);
    return error;
  }
  *ret_backend = (struct backend){.ops = &cpu_ops, .self = cpu};
  return ERR_OK;
}
