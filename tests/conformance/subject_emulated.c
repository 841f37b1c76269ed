/* The emulated backend in virtual time: two unequal GPUs with few pages, default jitter. */
#include "backend/emulated/emulated.h"
#include "conformance/subject.h"
#include "support/memory.h"

static const struct model_spec profile[2] = {
    {.name = "wide",
     .input_bytes = 4096,
     .output_bytes = 400,
     .weights_bytes = 5ULL * MODEL_PAGE_BYTES - 100,
     .weights_pages = 5,
     .batch_kinds = 4,
     .batch_sizes = {1, 2, 4, 8},
     .load = {6000000},
     .execute = {{2000000}, {3000000}, {5000000}, {9000000}},
     .clock_mhz = 1380},
    {.name = "narrow",
     .input_bytes = 1024,
     .output_bytes = 40,
     .weights_bytes = 2ULL * MODEL_PAGE_BYTES,
     .weights_pages = 2,
     .batch_kinds = 3,
     .batch_sizes = {1, 4, 16},
     .load = {2500000},
     .execute = {{1000000}, {2000000}, {6000000}},
     .clock_mhz = 1380},
};

static const struct emulated_gpu_config gpus[2] = {
    {.pages = 64, .io_bytes = 1 << 20, .workspace_bytes = 1 << 20, .clock_mhz = 1380},
    {.pages = 23, .io_bytes = 1 << 18, .workspace_bytes = 1 << 20, .clock_mhz = 1200},
};

struct virtual_time {
  struct instant now;
  void *memory;
};

static struct instant virtual_now(struct conformance_subject *subject) {
  return ((struct virtual_time *)subject->state)->now;
}

static void virtual_wait(struct conformance_subject *subject, struct instant until) {
  struct virtual_time *time = subject->state;
  const struct instant next =
      instant_min(until, subject->backend.ops->wakeup(subject->backend.self));
  CHECK_NE(next.ns, INT64_MAX); /* or the suite would wait for ever */
  time->now = instant_max(time->now, next);
}

static void virtual_lose(struct conformance_subject *subject, uint32_t gpu_index) {
  emulated_lose(&subject->backend, virtual_now(subject), gpu_index);
}

static void virtual_close(struct conformance_subject *subject) {
  struct virtual_time *time = subject->state;
  subject->backend.ops->destroy(subject->backend.self);
  free(time->memory);
  free(time);
}

bool conformance_open_emulated(struct conformance_subject *ret_subject) {
  struct emulated_config config;
  emulated_config_defaults(&config);
  config.gpus = gpus;
  config.gpus_count = 2;
  config.profile = profile;
  config.profile_count = 2;
  config.models_max = 1024;
  struct virtual_time *time = malloc(sizeof(*time));
  CHECK(time != NULL);
  *time =
      (struct virtual_time){.now = {NS_PER_S}, .memory = test_memory_take(emulated_bytes(&config))};
  *ret_subject = (struct conformance_subject){.backend = emulated_init(time->memory, &config),
                                              .paths = {"/models/wide", "/models/narrow"},
                                              .models_max = config.models_max,
                                              .now = virtual_now,
                                              .wait = virtual_wait,
                                              .lose = virtual_lose,
                                              .close = virtual_close,
                                              .state = time};
  return true;
}
