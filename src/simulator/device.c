#include "simulator/device.h"

#include "base/arena.h"
#include "base/check.h"

/* What an engine is at. */
struct device_engine {
  struct backend_command command;
  struct backend_completion completion; /* with `has_ended`: held back until completion.end */
  uint32_t permille;
  bool is_failing;
  bool is_busy;
  bool has_ended; /* in the inner backend */
};

struct device_gpu {
  struct device_engine engines[BACKEND_ENGINES];
  uint32_t permille;
  struct duration stall;
  bool is_lost;
};

struct device {
  struct backend inner;
  uint32_t gpus_count;
  uint32_t worker_id;
  const struct instant *global_now;
  const struct observer *observer;
  struct device_gpu *gpus;
};

static struct device *carve(struct arena *arena, uint32_t gpus_count) {
  struct device *device = arena_take(arena, 1, sizeof(*device));
  struct device_gpu *gpus = arena_take(arena, gpus_count, sizeof(*gpus));
  if (device != NULL) {
    device->gpus = gpus;
  }
  return device;
}

size_t device_bytes(uint32_t gpus_count) {
  struct arena arena;
  arena_init_counting(&arena);
  carve(&arena, gpus_count);
  return arena.used_bytes;
}

static uint32_t device_gpus_count(const void *self) {
  const struct device *device = self;
  return device->inner.ops->gpus_count(device->inner.self);
}

static void device_gpu(const void *self, uint32_t gpu_index, struct backend_gpu *ret_gpu) {
  const struct device *device = self;
  device->inner.ops->gpu(device->inner.self, gpu_index, ret_gpu);
}

static uint32_t device_lost_count(const void *self) {
  const struct device *device = self;
  return device->inner.ops->lost_count(device->inner.self);
}

static enum err device_load_model(void *self, struct instant now,
                                  const struct backend_load_model *job) {
  const struct device *device = self;
  return device->inner.ops->load_model(device->inner.self, now, job);
}

static uint32_t device_poll_loaded(void *self, struct instant now,
                                   struct backend_loaded_model *ret_loaded, uint32_t capacity) {
  const struct device *device = self;
  return device->inner.ops->poll_loaded(device->inner.self, now, ret_loaded, capacity);
}

static void device_submit(void *self, struct instant now, const struct backend_command *command) {
  struct device *device = self;
  CHECK_LT(command->gpu_index, device->gpus_count);
  struct device_gpu *gpu = &device->gpus[command->gpu_index];
  struct device_engine *engine = &gpu->engines[command->engine];
  CHECK(!engine->is_busy);
  engine->command = *command;
  engine->is_busy = true;
  engine->has_ended = false;
  engine->permille = command->engine == BACKEND_ENGINE_EXECUTE ? gpu->permille : 1000;
  if (device->observer != NULL) {
    device->observer->on_submit(device->observer->self, *device->global_now, device->worker_id,
                                command);
  }
  device->inner.ops->submit(device->inner.self, now, command);
}

static void device_evict(void *self, struct instant now, uint32_t gpu_index, uint32_t model_id,
                         const uint32_t *pages, uint32_t pages_count) {
  const struct device *device = self;
  if (device->observer != NULL) {
    device->observer->on_evict(device->observer->self, *device->global_now, device->worker_id,
                               gpu_index, model_id, pages, pages_count);
  }
  device->inner.ops->evict(device->inner.self, now, gpu_index, model_id, pages, pages_count);
}

static struct device_engine *engine_of(const struct device *device, uint64_t command_id) {
  for (uint32_t i = 0; i < device->gpus_count; i++) {
    for (int j = 0; j < BACKEND_ENGINES; j++) {
      struct device_engine *engine = &device->gpus[i].engines[j];
      if (engine->is_busy && !engine->has_ended && engine->command.command_id == command_id) {
        return engine;
      }
    }
  }
  return NULL;
}

/* Of a GPU that is lost; `now` may be before it began, on a clock that has leapt. */
static void end_lost(struct device_engine *engine, struct instant now) {
  struct backend_completion *completion = &engine->completion;
  completion->status = ACTION_GPU_LOST;
  completion->end = instant_max(completion->begin, instant_min(completion->end, now));
}

/* The inner backend's completion, as this device would have it. */
static void hold_back(struct device *device, const struct backend_completion *from) {
  struct device_engine *engine = engine_of(device, from->command_id);
  CHECK(engine != NULL);
  struct device_gpu *gpu = &device->gpus[engine->command.gpu_index];
  engine->completion = *from;
  engine->has_ended = true;
  if (gpu->is_lost) {
    end_lost(engine, from->end);
    return;
  }
  const int64_t took_ns = instant_since(from->end, from->begin).ns;
  struct instant *end = &engine->completion.end;
  *end = instant_add(from->begin, duration_ns(took_ns * engine->permille / 1000));
  if (engine->command.engine == BACKEND_ENGINE_LOAD) {
    *end = instant_add(*end, gpu->stall);
    gpu->stall = DURATION_ZERO;
  }
  if (engine->is_failing && from->status == ACTION_SUCCESS) {
    engine->completion.status = ACTION_RUNTIME_ERROR;
  }
}

/* The engine whose held completion comes first; NULL: none is held. */
static struct device_engine *first_held(const struct device *device) {
  struct device_engine *first = NULL;
  for (uint32_t i = 0; i < device->gpus_count; i++) {
    for (int j = 0; j < BACKEND_ENGINES; j++) {
      struct device_engine *engine = &device->gpus[i].engines[j];
      if (engine->is_busy && engine->has_ended &&
          (first == NULL || instant_before(engine->completion.end, first->completion.end))) {
        first = engine;
      }
    }
  }
  return first;
}

static uint32_t device_poll(void *self, struct instant now,
                            struct backend_completion *ret_completions, uint32_t capacity) {
  struct device *device = self;
  struct backend_completion inner;
  while (device->inner.ops->poll(device->inner.self, now, &inner, 1) == 1) {
    hold_back(device, &inner);
  }
  uint32_t count = 0;
  while (count < capacity) {
    struct device_engine *engine = first_held(device);
    if (engine == NULL || instant_after(engine->completion.end, now)) {
      break;
    }
    engine->is_busy = false;
    ret_completions[count++] = engine->completion;
    if (device->observer != NULL) {
      device->observer->on_completion(device->observer->self, *device->global_now,
                                      device->worker_id, &engine->command, &engine->completion);
    }
  }
  return count;
}

static struct instant device_wakeup(const void *self) {
  const struct device *device = self;
  const struct device_engine *held = first_held(device);
  const struct instant inner = device->inner.ops->wakeup(device->inner.self);
  return held == NULL ? inner : instant_min(inner, held->completion.end);
}

static void device_destroy(void *self) {
  const struct device *device = self;
  if (device != NULL) {
    device->inner.ops->destroy(device->inner.self);
  }
}

static const struct backend_ops device_ops = {
    .name = "device",
    .gpus_count = device_gpus_count,
    .gpu = device_gpu,
    .lost_count = device_lost_count,
    .load_model = device_load_model,
    .poll_loaded = device_poll_loaded,
    .submit = device_submit,
    .evict = device_evict,
    .poll = device_poll,
    .wakeup = device_wakeup,
    .destroy = device_destroy,
};

struct backend device_init(void *memory, struct backend inner, uint32_t gpus_count,
                           uint32_t worker_id, const struct instant *global_now,
                           const struct observer *observer) {
  struct arena arena;
  arena_init(&arena, memory, device_bytes(gpus_count));
  struct device *device = carve(&arena, gpus_count);
  device->inner = inner;
  device->gpus_count = gpus_count;
  device->worker_id = worker_id;
  device->global_now = global_now;
  device->observer = observer;
  for (uint32_t i = 0; i < gpus_count; i++) {
    device->gpus[i].permille = 1000;
  }
  return (struct backend){.ops = &device_ops, .self = device};
}

static struct device_gpu *gpu_at(struct backend *backend, uint32_t gpu_index) {
  CHECK(backend->ops == &device_ops);
  struct device *device = backend->self;
  CHECK_LT(gpu_index, device->gpus_count);
  return &device->gpus[gpu_index];
}

void device_set_speed(struct backend *backend, uint32_t gpu_index, uint32_t permille) {
  CHECK_GE(permille, 1000); /* the inner backend tells of an end no sooner */
  gpu_at(backend, gpu_index)->permille = permille;
}

void device_stall_load(struct backend *backend, uint32_t gpu_index, struct duration by) {
  gpu_at(backend, gpu_index)->stall = by;
}

void device_set_failing(struct backend *backend, uint32_t gpu_index, enum backend_engine engine,
                        bool is_failing) {
  gpu_at(backend, gpu_index)->engines[engine].is_failing = is_failing;
}

void device_lose(struct backend *backend, struct instant now, uint32_t gpu_index) {
  struct device_gpu *gpu = gpu_at(backend, gpu_index);
  gpu->is_lost = true;
  for (int i = 0; i < BACKEND_ENGINES; i++) {
    if (gpu->engines[i].is_busy && gpu->engines[i].has_ended) {
      end_lost(&gpu->engines[i], now);
    }
  }
}
