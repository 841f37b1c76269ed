#include "backend/cuda/engines.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/mapper.h"
#include "backend/cuda/relax.h"
#include "backend/pace.h"
#include "base/check.h"
#include "os/clock.h"
#include "os/thread.h"

enum {
  CLOCK_ROUNDS = 200,
  COPIES_QUEUED = 2, /* of a LOAD, in the stream at once: enough to keep the link busy */
  WORDS_APART = 16,  /* a cache line each */
  /* Looks at a mailbox between two looks at the clock. */
  LOOKS = 64,
};

/* How long a sleeping engine sleeps at most before it looks again. */
#define NAP duration_s(1)
/* An execution or a copy that takes longer has hung: its GPU is given up. */
#define PATIENCE duration_s(30)
/* Of a LOAD: until its first byte moves, and from its last until that is seen. */
#define LOAD_START duration_us(20)
/* Between two questions to the driver whether the device still lives. */
#define HEALTH_PERIOD duration_ms(1)

enum mailbox_state { MAILBOX_IDLE, MAILBOX_SUBMITTED, MAILBOX_DONE };

struct engine {
  struct engines *engines;
  enum backend_engine kind;
  _Atomic(int) state;
  _Atomic(bool) is_asleep;
  struct os_thread thread;
  struct os_event wake;
  CUstream stream;
  const uint32_t *word; /* pinned: the device writes there how much of `stream` is done */
  CUdeviceptr word_address;
  uint32_t marks; /* the value that the last engine_mark() writes */
  struct backend_command command;
  struct instant submitted;
  struct backend_completion completion;
};

struct engines {
  struct engines_config config;
  const struct library *library;
  struct engine engine[BACKEND_ENGINES];
  struct mapper *mapper;
  void *words;             /* pinned, WORDS_APART for each engine */
  int64_t clock_offset_ns; /* device's clock - ours; the EXECUTE thread's */
  struct pace pace;        /* the LOAD thread's */
  _Atomic(uint32_t) clock_mhz;
  _Atomic(bool) is_stopping;
};

static const struct instance *instance_of(const struct engines *engines, uint32_t model_id) {
  const struct instance *instance = &engines->config.models->instances[model_id];
  CHECK(instance->package != NULL);
  return instance;
}

/* A device that has failed once answers every call with its error. */
static enum action_status status_of(struct engines *engines, CUresult result) {
  if (result == CUDA_SUCCESS) {
    return ACTION_SUCCESS;
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY || result == CUDA_ERROR_INVALID_VALUE) {
    return ACTION_RUNTIME_ERROR;
  }
  device_lose(engines->config.device, result);
  return ACTION_GPU_LOST;
}

/* Of a command that takes longer than it should: what the driver says of its stream, or what the
 * device was lost with meanwhile. */
static CUresult health_of(const struct engine *engine) {
  const struct engines *engines = engine->engines;
  if (device_is_lost(engines->config.device)) {
    return (CUresult)atomic_load(&engines->config.device->failure);
  }
  const CUresult health = engines->library->driver.cuStreamQuery(engine->stream);
  return health == CUDA_ERROR_NOT_READY ? CUDA_SUCCESS : health;
}

/* Have the device say when all that is in the stream now is done. */
static CUresult mark(struct engine *engine) {
  engine->marks++;
  return engine->engines->library->driver.cuStreamWriteValue32(engine->stream, engine->word_address,
                                                               engine->marks, 0);
}

/* Until at most `left` marks are outstanding. Looks at memory, not at the driver: its calls take a
 * lock, and a thread that asked without pause held up the launches and mappings of the others. */
static CUresult wait_for_marks(const struct engine *engine, uint32_t left) {
  const struct instant begin = os_now();
  struct instant asked = begin;
  for (;;) {
    for (int i = 0; i < LOOKS; i++) {
      if (engine->marks - __atomic_load_n(engine->word, __ATOMIC_ACQUIRE) <= left) {
        return CUDA_SUCCESS;
      }
      relax();
    }
    const struct instant now = os_now();
    if (instant_since(now, asked).ns < HEALTH_PERIOD.ns) {
      continue;
    }
    asked = now;
    const CUresult health = health_of(engine);
    if (health != CUDA_SUCCESS) {
      return health;
    }
    if (instant_since(now, begin).ns > PATIENCE.ns) {
      return CUDA_ERROR_LAUNCH_TIMEOUT;
    }
  }
}

static CUresult wait_for(struct engine *engine) {
  const CUresult result = mark(engine);
  return result == CUDA_SUCCESS ? wait_for_marks(engine, 0) : result;
}

/* ------------------------------------------------------------------------------------------ LOAD
 */

/* The copies of page `page`, at most COPIES_QUEUED of them in the stream. */
static CUresult copy_page(struct engine *engine, CUdeviceptr to, const unsigned char *from,
                          uint64_t bytes) {
  CUresult result = CUDA_SUCCESS;
  for (uint64_t copied = 0; copied < bytes && result == CUDA_SUCCESS; copied += DEVICE_COPY_BYTES) {
    const uint64_t left = bytes - copied;
    result = wait_for_marks(engine, COPIES_QUEUED - 1);
    if (result == CUDA_SUCCESS) {
      result = engine->engines->library->driver.cuMemcpyHtoDAsync(
          to + copied, from + copied, left < DEVICE_COPY_BYTES ? left : DEVICE_COPY_BYTES,
          engine->stream);
    }
    if (result == CUDA_SUCCESS) {
      result = mark(engine);
    }
  }
  return result;
}

/* A LOAD that met few inputs waits for as long as most take: pace.h. */
static void keep_pace(struct engines *engines, uint64_t bytes, struct instant begin) {
  const struct duration own = instant_since(os_now(), begin);
  const struct instant end = instant_add(begin, pace_least(&engines->pace, bytes));
  pace_note(&engines->pace, bytes, own);
  while (instant_before(os_now(), end)) {
    relax();
  }
}

/* The window is mapped while the copies run: they go through the pool's own addresses. */
static enum action_status load(struct engine *engine) {
  struct engines *engines = engine->engines;
  const struct device *device = engines->config.device;
  const struct backend_command *command = &engine->command;
  const struct instance *instance = instance_of(engines, command->model_id);
  const unsigned char *weights = instance->package->weights.bytes;
  const uint64_t bytes = instance->package->plan->weights_bytes;
  const struct instant begin = os_now();
  CUresult result = CUDA_SUCCESS;
  for (uint32_t i = 0; i < instance->weights_pages && result == CUDA_SUCCESS; i++) {
    const uint64_t from = (uint64_t)i * MODEL_PAGE_BYTES;
    const uint64_t left = bytes - from;
    result = copy_page(engine, device_page(device, command->pages[i]), weights + from,
                       left < MODEL_PAGE_BYTES ? left : MODEL_PAGE_BYTES);
    if (i == 0) {
      mapper_map(engines->mapper, command->model_id, command->pages);
    }
  }
  const CUresult copied = wait_for_marks(engine, 0);
  const CUresult mapped = mapper_wait(engines->mapper, PATIENCE);
  result = result == CUDA_SUCCESS ? copied : result;
  if (result != CUDA_SUCCESS && mapped == CUDA_SUCCESS) {
    mapper_undo(engines->mapper, command->model_id);
  }
  result = result == CUDA_SUCCESS ? mapped : result;
  if (result == CUDA_SUCCESS && bytes > 0) {
    keep_pace(engines, bytes, begin);
  }
  return status_of(engines, result);
}

/* ---------------------------------------------------------------------------- INPUT and OUTPUT */

/* Where request `request` of port `port` lies in its place. */
static uint64_t place_offset(const struct plan_batch *batch, uint32_t tensor,
                             const struct plan_port *port, uint32_t request) {
  const struct plan_tensor *t = &batch->tensors[tensor];
  return batch->buffers[t->buffer].offset_bytes + t->offset_bytes +
         (uint64_t)request * port->bytes_per_request;
}

static void gather_inputs(const struct plan *plan, const struct plan_batch *batch,
                          const void *const *inputs, unsigned char *to) {
  for (uint32_t request = 0; request < batch->batch_size; request++) {
    const unsigned char *from = inputs[request];
    for (uint32_t i = 0; from != NULL && i < plan->inputs_count; i++) {
      memcpy(to + place_offset(batch, batch->inputs[i], &plan->inputs[i], request), from,
             plan->inputs[i].bytes_per_request);
      from += plan->inputs[i].bytes_per_request;
    }
  }
}

static void scatter_outputs(const struct plan *plan, const struct plan_batch *batch,
                            const unsigned char *from, unsigned char *to) {
  for (uint32_t request = 0; request < batch->batch_size; request++) {
    for (uint32_t i = 0; i < plan->outputs_count; i++) {
      memcpy(to, from + place_offset(batch, batch->outputs[i], &plan->outputs[i], request),
             plan->outputs[i].bytes_per_request);
      to += plan->outputs[i].bytes_per_request;
    }
  }
}

static const struct plan_batch *batch_of(const struct engine *engine) {
  const struct instance *instance = instance_of(engine->engines, engine->command.model_id);
  return &instance->package->plan
              ->batches[models_kind(instance->package, engine->command.batch_size)];
}

/* By the copy engine, where it takes turns with the copies of a LOAD and so waits for COPIES_QUEUED
 * of them at most. A kernel that reads over the bus would not wait, but takes multiprocessors from
 * what executes for as long as a LOAD has the link: measured on an H100, executions beside LOADs
 * then varied by 13 to 20 % (p99), with this by 7 %. */
static enum action_status input(struct engine *engine) {
  struct engines *engines = engine->engines;
  const struct device *device = engines->config.device;
  const struct backend_command *command = &engine->command;
  const struct plan_batch *batch = batch_of(engine);
  if (command->io != NULL && command->io->inputs != NULL) {
    gather_inputs(instance_of(engines, command->model_id)->package->plan, batch,
                  command->io->inputs, device->staging_in[command->io_slot]);
  }
  CUresult result = engines->library->driver.cuMemcpyHtoDAsync(device->slots[command->io_slot],
                                                               device->staging_in[command->io_slot],
                                                               batch->input_bytes, engine->stream);
  result = result == CUDA_SUCCESS ? wait_for(engine) : result;
  return status_of(engines, result);
}

static enum action_status output(struct engine *engine) {
  struct engines *engines = engine->engines;
  const struct device *device = engines->config.device;
  const struct backend_command *command = &engine->command;
  const struct plan_batch *batch = batch_of(engine);
  unsigned char *staging = device->staging_out[command->io_slot];
  CUresult result = engines->library->driver.cuMemcpyDtoHAsync(
      staging, device->slots[command->io_slot] + device->slot_bytes, batch->output_bytes,
      engine->stream);
  result = result == CUDA_SUCCESS ? wait_for(engine) : result;
  if (result == CUDA_SUCCESS && command->io != NULL && command->io->outputs != NULL) {
    scatter_outputs(instance_of(engines, command->model_id)->package->plan, batch, staging,
                    command->io->outputs);
  }
  return status_of(engines, result);
}

/* --------------------------------------------------------------------------------------- EXECUTE
 */

/* Begin and end on our clock. A graph cannot begin before its launch nor end after that was seen: a
 * clock offset that says so has drifted, and is moved just enough. */
static void take_times(struct engines *engines, const struct kernel_cell *cell,
                       struct instant launched, struct instant seen,
                       struct backend_completion *completion) {
  const int64_t begin_ns = (int64_t)cell->begin_ns;
  const int64_t end_ns = (int64_t)cell->end_ns;
  if (end_ns - engines->clock_offset_ns > seen.ns) {
    engines->clock_offset_ns = end_ns - seen.ns;
  }
  if (begin_ns - engines->clock_offset_ns < launched.ns) {
    engines->clock_offset_ns = begin_ns - launched.ns;
  }
  completion->begin.ns = begin_ns - engines->clock_offset_ns;
  completion->end.ns = end_ns - engines->clock_offset_ns;
  if (completion->end.ns > seen.ns) { /* the two clocks' steps together */
    completion->end = seen;
  }
  if (completion->begin.ns > completion->end.ns) {
    completion->begin = completion->end;
  }
}

static CUresult wait_for_end(const struct engine *engine, const struct kernel_cell *cell,
                             uint32_t sequence, struct instant launched, struct instant *ret_seen) {
  struct instant asked = launched;
  for (;;) {
    for (int i = 0; i < LOOKS; i++) {
      if (__atomic_load_n(&cell->is_done, __ATOMIC_ACQUIRE) == sequence) {
        *ret_seen = os_now();
        return CUDA_SUCCESS;
      }
      relax();
    }
    const struct instant now = os_now();
    if (instant_since(now, asked).ns < HEALTH_PERIOD.ns) {
      continue;
    }
    asked = now;
    *ret_seen = now;
    const CUresult health = health_of(engine);
    if (health != CUDA_SUCCESS) {
      return health;
    }
    if (instant_since(now, launched).ns > PATIENCE.ns) {
      return CUDA_ERROR_LAUNCH_TIMEOUT;
    }
  }
}

static enum action_status execute(struct engine *engine) {
  struct engines *engines = engine->engines;
  const struct device *device = engines->config.device;
  const struct backend_command *command = &engine->command;
  const struct instance *instance = instance_of(engines, command->model_id);
  const uint32_t kind = models_kind(instance->package, command->batch_size);
  CUgraphExec graph = instance->gpus[engines->config.gpu_index].graphs[kind];
  CHECK(graph != NULL);
  struct kernel_cell *cell = device->serve.cell;
  const uint32_t sequence = ++cell->sequence;
  cell->input_address = device->slots[command->io_slot];
  cell->output_address = device->slots[command->io_slot] + device->slot_bytes;
  atomic_thread_fence(memory_order_seq_cst);
  const struct instant launched = os_now();
  struct instant seen = launched;
  CUresult result = engines->library->driver.cuGraphLaunch(graph, engine->stream);
  if (result == CUDA_SUCCESS) {
    result = wait_for_end(engine, cell, sequence, launched, &seen);
  }
  if (result == CUDA_SUCCESS) {
    take_times(engines, cell, launched, seen, &engine->completion);
  }
  return status_of(engines, result);
}

/* ------------------------------------------------------------------------------------ the threads
 */

static enum action_status run(struct engine *engine) {
  if (device_is_lost(engine->engines->config.device)) {
    return ACTION_GPU_LOST;
  }
  switch (engine->kind) {
  case BACKEND_ENGINE_LOAD:
    return load(engine);
  case BACKEND_ENGINE_INPUT:
    return input(engine);
  case BACKEND_ENGINE_EXECUTE:
    return execute(engine);
  default:
    return output(engine);
  }
}

static void serve(struct engine *engine) {
  struct engines *engines = engine->engines;
  struct backend_completion *completion = &engine->completion;
  const struct instant last_end = completion->end;
  const struct instant begin = os_now();
  completion->command_id = engine->command.command_id;
  completion->clock_before_mhz = engines_clock(engines);
  completion->begin = begin;
  completion->end = INSTANT_NEVER;
  completion->status = run(engine);
  if (completion->end.ns == INSTANT_NEVER.ns) {
    completion->end = os_now();
  }
  completion->clock_after_mhz = engines_clock(engines);
  completion->begin = instant_max(completion->begin, instant_max(last_end, engine->submitted));
  completion->end = instant_max(completion->end, completion->begin);
  atomic_store(&engine->state, MAILBOX_DONE);
  engines->config.notify(engines->config.notify_user);
}

/* Until a command is there; false: the end has come. */
static bool wait_for_command(struct engine *engine) {
  struct engines *engines = engine->engines;
  const struct instant begin = os_now();
  for (;;) {
    for (int i = 0; i < LOOKS; i++) {
      if (atomic_load_explicit(&engine->state, memory_order_acquire) == MAILBOX_SUBMITTED) {
        return true;
      }
      relax();
    }
    if (atomic_load(&engines->is_stopping)) {
      return false;
    }
    if (instant_since(os_now(), begin).ns < engines->config.spin.ns) {
      continue;
    }
    /* Said first, looked once more, then slept: a submit in between sets the event. */
    atomic_store(&engine->is_asleep, true);
    if (atomic_load(&engine->state) != MAILBOX_SUBMITTED && !atomic_load(&engines->is_stopping)) {
      os_event_wait(&engine->wake, NAP);
    }
    atomic_store(&engine->is_asleep, false);
    if (atomic_load(&engine->state) == MAILBOX_SUBMITTED) {
      return true;
    }
  }
}

static void *engine_main(void *user) {
  struct engine *engine = user;
  device_enter(engine->engines->config.device);
  while (wait_for_command(engine)) {
    serve(engine);
  }
  return NULL;
}

static void wake(struct engine *engine) {
  if (atomic_load(&engine->is_asleep)) {
    os_event_set(&engine->wake);
  }
}

/* ----------------------------------------------------------------------------------- the interface
 */

static enum err start(struct engines *engines, enum backend_engine kind) {
  static const char *const names[BACKEND_ENGINES] = {"load", "input", "execute", "output"};
  struct engine *engine = &engines->engine[kind];
  engine->engines = engines;
  engine->kind = kind;
  enum err error = os_event_init(&engine->wake);
  if (error != ERR_OK) {
    engine->wake.fd = -1;
    return error;
  }
  int least = 0;
  int greatest = 0;
  /* Weights give way to whatever a request waits for. */
  engines->library->driver.cuCtxGetStreamPriorityRange(&least, &greatest);
  if (engines->library->driver.cuStreamCreateWithPriority(
          &engine->stream, CU_STREAM_NON_BLOCKING,
          kind == BACKEND_ENGINE_LOAD ? least : greatest) != CUDA_SUCCESS) {
    return ERR_IO;
  }
  char name[16];
  snprintf(name, sizeof(name), "gpu%u-%s", engines->config.gpu_index % 1000, names[kind]);
  return os_thread_start(&engine->thread, name, engine_main, engine);
}

static enum err take_words(struct engines *engines) {
  const struct library *library = engines->library;
  CUdeviceptr address = 0;
  const size_t bytes = (size_t)BACKEND_ENGINES * WORDS_APART * sizeof(uint32_t);
  if (library->driver.cuMemHostAlloc(&engines->words, bytes, CU_MEMHOSTALLOC_DEVICEMAP) !=
          CUDA_SUCCESS ||
      library->driver.cuMemHostGetDevicePointer(&address, engines->words, 0) != CUDA_SUCCESS) {
    return ERR_NO_MEMORY;
  }
  memset(engines->words, 0, bytes);
  for (int i = 0; i < BACKEND_ENGINES; i++) {
    engines->engine[i].word = (const uint32_t *)engines->words + (size_t)i * WORDS_APART;
    engines->engine[i].word_address = address + (uint64_t)i * WORDS_APART * sizeof(uint32_t);
  }
  return ERR_OK;
}

enum err engines_create(const struct engines_config *config, struct engines **ret_engines,
                        struct error_text *ret_error) {
  struct engines *engines = calloc(1, sizeof(*engines));
  if (engines == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  engines->config = *config;
  engines->library = config->device->library;
  pace_init(&engines->pace, LOAD_START);
  for (int i = 0; i < BACKEND_ENGINES; i++) {
    engines->engine[i].wake.fd = -1;
  }
  device_enter(config->device);
  enum err error =
      mapper_create(config->device, config->gpu_index, config->models, &engines->mapper);
  int64_t uncertainty_ns = 0;
  if (error == ERR_OK) {
    error = device_compare_clocks(config->device, CLOCK_ROUNDS, &engines->clock_offset_ns,
                                  &uncertainty_ns);
  }
  error = error == ERR_OK ? take_words(engines) : error;
  for (int i = 0; i < BACKEND_ENGINES && error == ERR_OK; i++) {
    error = start(engines, (enum backend_engine)i);
  }
  if (error != ERR_OK) {
    error_text_set(ret_error, "GPU %.40s: its engines did not start: %s", config->device->name,
                   err_text(error));
    engines_destroy(engines);
    return error;
  }
  *ret_engines = engines;
  return ERR_OK;
}

void engines_destroy(struct engines *engines) {
  if (engines == NULL) {
    return;
  }
  atomic_store(&engines->is_stopping, true);
  for (int i = 0; i < BACKEND_ENGINES; i++) {
    if (engines->engine[i].wake.fd >= 0) {
      os_event_set(&engines->engine[i].wake);
    }
    os_thread_join(&engines->engine[i].thread);
  }
  device_enter(engines->config.device);
  mapper_destroy(engines->mapper);
  const bool lives = !device_is_lost(engines->config.device);
  for (int i = 0; i < BACKEND_ENGINES; i++) {
    if (lives && engines->engine[i].stream != NULL) {
      engines->library->driver.cuStreamDestroy(engines->engine[i].stream);
    }
    os_event_finish(&engines->engine[i].wake);
  }
  if (lives) {
    engines->library->driver.cuMemFreeHost(engines->words);
  }
  free(engines);
}

void engines_submit(struct engines *engines, struct instant now,
                    const struct backend_command *command) {
  struct engine *engine = &engines->engine[command->engine];
  CHECK_EQ(atomic_load(&engine->state), MAILBOX_IDLE);
  CHECK_LT(command->model_id, engines->config.models->capacity);
  CHECK(engines->config.models->instances[command->model_id].package != NULL);
  CHECK_LT(command->io_slot, BACKEND_IO_SLOTS);
  engine->command = *command;
  engine->submitted = now;
  atomic_store(&engine->state, MAILBOX_SUBMITTED);
  wake(engine);
}

void engines_evict(struct engines *engines, uint32_t model_id) {
  mapper_evict(engines->mapper, model_id);
}

bool engines_peek(const struct engines *engines, enum backend_engine engine, struct instant now,
                  struct backend_completion *ret_completion) {
  const struct engine *its = &engines->engine[engine];
  if (atomic_load_explicit(&its->state, memory_order_acquire) != MAILBOX_DONE ||
      instant_after(its->completion.end, now)) {
    return false;
  }
  *ret_completion = its->completion;
  return true;
}

void engines_take(struct engines *engines, enum backend_engine engine) {
  CHECK_EQ(atomic_load(&engines->engine[engine].state), MAILBOX_DONE);
  atomic_store(&engines->engine[engine].state, MAILBOX_IDLE);
}

void engines_set_clock(struct engines *engines, uint32_t clock_mhz) {
  atomic_store(&engines->clock_mhz, clock_mhz);
}

uint32_t engines_clock(const struct engines *engines) {
  const uint32_t clock_mhz = atomic_load(&engines->clock_mhz);
  return clock_mhz == 0 ? 1 : clock_mhz;
}
