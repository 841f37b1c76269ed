#include "backend/emulated/emulated.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/prefetch.h"
#include "base/prng.h"
#include "base/ring.h"
#include "base/tournament.h"
#include "model/ranges.h"

/* Beyond this a draw is taken as this: 6 sigma is once in 500 million, and a bound makes the
 * longest possible run of a command known. */
#define JITTER_SIGMAS_MAX 6.0

/* What an engine is doing: what its completion needs. */
struct emulated_engine {
  uint64_t command_id;
  struct instant begin;
  const struct backend_io *io; /* OUTPUT */
  uint32_t model_id;
  uint32_t batch_size;
  uint32_t clock_before_mhz;
};

struct emulated_gpu {
  _Alignas(64) struct prng prng;
  struct emulated_gpu_config config;
  bool is_lost;
  uint64_t executes_count; /* begun */
  struct emulated_engine engines[BACKEND_ENGINES];
};

struct emulated {
  struct tournament ends; /* of the engines of all GPUs in their order, while under way */
  struct emulated_gpu *gpus;
  struct ring loaded;             /* struct emulated_job, done and not polled */
  struct model_ranges model_rows; /* row of the profile, by model id */
  uint32_t lost_count;
  struct emulated_config config;
};

struct emulated_job {
  struct instant end;
  struct backend_loaded_model loaded;
};

void emulated_config_defaults(struct emulated_config *config) {
  *config = (struct emulated_config){
      .seed = 1,
      .execute_jitter_ppm = 80,
      .transfer_jitter_ppm = 2000,
      .link_bytes_per_s = UINT64_C(12280000000),
  };
}

static uint32_t loads_max(const struct emulated_config *config) {
  return config->loads_max == 0 ? config->models_max : config->loads_max;
}

static struct emulated *carve(struct arena *arena, const struct emulated_config *config,
                              struct emulated *counted) {
  struct emulated *emulated = arena_take(arena, 1, sizeof(*emulated));
  if (emulated == NULL) {
    emulated = counted;
  }
  *emulated = (struct emulated){.config = *config};
  emulated->gpus = arena_take(arena, config->gpus_count, sizeof(struct emulated_gpu));
  model_ranges_init(&emulated->model_rows, arena, loads_max(config));
  CHECK_LE(config->gpus_count, UINT32_MAX / BACKEND_ENGINES);
  tournament_init(&emulated->ends, arena, config->gpus_count * BACKEND_ENGINES);
  ring_init(&emulated->loaded, arena, EMULATED_LOAD_JOBS, sizeof(struct emulated_job));
  return emulated;
}

size_t emulated_bytes(const struct emulated_config *config) {
  struct arena arena;
  struct emulated counted;
  arena_init_counting(&arena);
  carve(&arena, config, &counted);
  return arena.used_bytes;
}

static uint32_t emulated_gpus_count(const void *self) {
  return ((const struct emulated *)self)->config.gpus_count;
}

static struct emulated_gpu *gpu_at(const struct emulated *emulated, uint32_t gpu_index) {
  CHECK_LT(gpu_index, emulated->config.gpus_count);
  return &emulated->gpus[gpu_index];
}

static void emulated_gpu(const void *self, uint32_t gpu_index, struct backend_gpu *ret_gpu) {
  const struct emulated_gpu *gpu = gpu_at(self, gpu_index);
  const struct emulated_gpu_config *config = &gpu->config;
  *ret_gpu = (struct backend_gpu){.name = "emulated",
                                  .pages = config->pages,
                                  .io_bytes = config->io_bytes,
                                  .workspace_bytes = config->workspace_bytes,
                                  .clock_mhz = config->clock_mhz,
                                  .is_lost = gpu->is_lost,
                                  .lost_reason = ""};
  if (gpu->is_lost) {
    static const char REASON[] = "it was set to fail here";
    memcpy(ret_gpu->lost_reason, REASON, sizeof(REASON));
  }
}

static uint32_t emulated_lost_count(const void *self) {
  return ((const struct emulated *)self)->lost_count;
}

/* The path's last component, without trailing slashes, as a row of the profile; NULL if it is none.
 */
static const struct model_spec *row_of_path(const struct emulated *emulated, const char *path) {
  size_t end = strnlen(path, MODEL_PATH_BYTES);
  if (end == MODEL_PATH_BYTES) {
    return NULL;
  }
  while (end > 0 && path[end - 1] == '/') {
    end--;
  }
  size_t begin = end;
  while (begin > 0 && path[begin - 1] != '/') {
    begin--;
  }
  for (uint32_t i = 0; i < emulated->config.profile_count; i++) {
    const struct model_spec *row = &emulated->config.profile[i];
    if (strlen(row->name) == end - begin && memcmp(row->name, path + begin, end - begin) == 0) {
      return row;
    }
  }
  return NULL;
}

static bool ids_are_free(const struct emulated *emulated, const struct backend_load_model *job) {
  const uint32_t models_max = emulated->config.models_max;
  return job->copies > 0 && job->first_model_id < models_max &&
         job->copies <= models_max - job->first_model_id &&
         !model_ranges_have(&emulated->model_rows, job->first_model_id, job->copies);
}

/* The row without the batch sizes that the job does not want. */
static void spec_for_job(const struct model_spec *row, const struct backend_load_model *job,
                         struct model_spec *ret_spec) {
  *ret_spec = *row;
  ret_spec->batch_kinds = 0;
  for (uint32_t i = 0; i < row->batch_kinds; i++) {
    const bool is_too_large = job->max_batch != 0 && row->batch_sizes[i] > job->max_batch;
    const bool is_too_long = job->max_execute.ns != 0 && row->execute[i].ns > job->max_execute.ns;
    if (i == 0 || (!is_too_large && !is_too_long)) {
      ret_spec->batch_sizes[ret_spec->batch_kinds] = row->batch_sizes[i];
      ret_spec->execute[ret_spec->batch_kinds] = row->execute[i];
      ret_spec->batch_kinds++;
    }
  }
  for (uint32_t i = ret_spec->batch_kinds; i < MODEL_BATCH_KINDS; i++) {
    ret_spec->batch_sizes[i] = 0;
    ret_spec->execute[i] = DURATION_ZERO;
  }
}

static enum err emulated_load_model(void *self, struct instant now,
                                    const struct backend_load_model *job) {
  struct emulated *emulated = self;
  if (emulated->loaded.count == emulated->loaded.capacity ||
      emulated->model_rows.count == emulated->model_rows.capacity) {
    return ERR_FULL;
  }
  struct emulated_job done = {.end = now, .loaded = {.job_id = job->job_id}};
  const struct model_spec *row = row_of_path(emulated, job->path);
  if (emulated->lost_count == emulated->config.gpus_count) {
    done.loaded.status = ACTION_GPU_LOST;
  } else if (row == NULL) {
    done.loaded.status = ACTION_INVALID_MODEL_PATH;
  } else if (!ids_are_free(emulated, job)) {
    done.loaded.status = ACTION_INVALID_MODEL_ID;
  } else {
    done.loaded.status = ACTION_SUCCESS;
    spec_for_job(row, job, &done.loaded.spec);
    model_ranges_add(&emulated->model_rows, job->first_model_id, job->copies,
                     (uint32_t)(row - emulated->config.profile));
  }
  CHECK(ring_push(&emulated->loaded, &done));
  return ERR_OK;
}

static uint32_t emulated_poll_loaded(void *self, struct instant now,
                                     struct backend_loaded_model *ret_loaded, uint32_t capacity) {
  struct emulated *emulated = self;
  uint32_t count = 0;
  while (count < capacity) {
    const struct emulated_job *first = ring_peek(&emulated->loaded, 0);
    if (first == NULL || instant_after(first->end, now)) {
      break;
    }
    struct emulated_job done;
    CHECK(ring_pop(&emulated->loaded, &done));
    ret_loaded[count++] = done.loaded;
  }
  return count;
}

static const struct model_spec *row_of_model(const struct emulated *emulated, uint32_t model_id) {
  const uint32_t row = model_ranges_get(&emulated->model_rows, model_id);
  CHECK_NE(row, MODEL_RANGES_NONE);
  return &emulated->config.profile[row];
}

/* Without jitter. */
static int64_t nominal_ns(const struct emulated *emulated, const struct emulated_gpu *gpu,
                          const struct backend_command *command) {
  const struct model_spec *row = row_of_model(emulated, command->model_id);
  if (command->engine == BACKEND_ENGINE_LOAD) {
    return row->load.ns;
  }
  if (command->engine == BACKEND_ENGINE_EXECUTE) {
    const uint32_t kind = model_batch_kind(row, command->batch_size);
    CHECK_LT(kind, MODEL_BATCH_KINDS);
    return row->execute[kind].ns * row->clock_mhz / gpu->config.clock_mhz;
  }
  CHECK_LE(command->batch_size, MODEL_BATCH_MAX);
  const uint64_t bytes =
      command->batch_size *
      (command->engine == BACKEND_ENGINE_INPUT ? row->input_bytes : row->output_bytes);
  return (int64_t)((double)bytes * (double)NS_PER_S / (double)emulated->config.link_bytes_per_s);
}

static struct duration draw_duration(const struct emulated *emulated, struct emulated_gpu *gpu,
                                     const struct backend_command *command) {
  const uint32_t jitter_ppm = command->engine == BACKEND_ENGINE_EXECUTE
                                  ? emulated->config.execute_jitter_ppm
                                  : emulated->config.transfer_jitter_ppm;
  double sigmas = prng_normal(&gpu->prng);
  sigmas = sigmas > JITTER_SIGMAS_MAX    ? JITTER_SIGMAS_MAX
           : sigmas < -JITTER_SIGMAS_MAX ? -JITTER_SIGMAS_MAX
                                         : sigmas;
  const double ns =
      (double)nominal_ns(emulated, gpu, command) * (1.0 + sigmas * (double)jitter_ppm * 1e-6);
  return (struct duration){ns < 1.0 ? 1 : (int64_t)ns};
}

/* What is under way ends now, not when it would have. */
static void lose(struct emulated *emulated, struct instant now, uint32_t gpu_index) {
  struct emulated_gpu *gpu = gpu_at(emulated, gpu_index);
  if (gpu->is_lost) {
    return;
  }
  gpu->is_lost = true;
  emulated->lost_count++;
  for (uint32_t engine = 0; engine < BACKEND_ENGINES; engine++) {
    const uint32_t number = gpu_index * BACKEND_ENGINES + engine;
    const int64_t end_ns = tournament_key(&emulated->ends, number);
    if (end_ns != INT64_MAX && end_ns > now.ns) {
      tournament_set(&emulated->ends, number, now.ns);
    }
  }
}

static void emulated_submit(void *self, struct instant now, const struct backend_command *command) {
  struct emulated *emulated = self;
  struct emulated_gpu *gpu = gpu_at(emulated, command->gpu_index);
  CHECK_LT(command->engine, BACKEND_ENGINES);
  struct emulated_engine *engine = &gpu->engines[command->engine];
  const uint32_t number = command->gpu_index * BACKEND_ENGINES + command->engine;
  CHECK_EQ(tournament_key(&emulated->ends, number), INT64_MAX);
  *engine = (struct emulated_engine){.command_id = command->command_id,
                                     .begin = now,
                                     .io = command->io,
                                     .model_id = command->model_id,
                                     .batch_size = command->batch_size,
                                     .clock_before_mhz = gpu->config.clock_mhz};
  if (command->engine == BACKEND_ENGINE_EXECUTE && gpu->config.lose_after > 0 &&
      gpu->executes_count++ == gpu->config.lose_after) {
    lose(emulated, now, command->gpu_index);
  }
  const struct instant end =
      gpu->is_lost ? now : instant_add(now, draw_duration(emulated, gpu, command));
  tournament_set(&emulated->ends, number, end.ns);
}

/* Nothing is kept for an instance's pages here; the ids are looked at, as a real device would. */
static void emulated_evict(void *self, struct instant now, uint32_t gpu_index, uint32_t model_id,
                           const uint32_t *pages, uint32_t pages_count) {
  const struct emulated_gpu *gpu = gpu_at(self, gpu_index);
  (void)now;
  CHECK_EQ(pages_count, row_of_model(self, model_id)->weights_pages);
  for (uint32_t i = 0; i < pages_count; i++) {
    CHECK_LT(pages[i], gpu->config.pages);
  }
}

static void write_outputs(const struct emulated *emulated, const struct emulated_engine *engine) {
  const struct backend_io *io = engine->io;
  if (io == NULL || io->outputs == NULL) {
    return;
  }
  const struct model_spec *row = row_of_model(emulated, engine->model_id);
  for (uint32_t i = 0; i < engine->batch_size; i++) {
    const void *input = io->inputs == NULL ? NULL : io->inputs[i];
    emulated_output(row->name, input, (size_t)row->input_bytes,
                    (unsigned char *)io->outputs + (size_t)row->output_bytes * i,
                    (size_t)row->output_bytes);
  }
}

static uint32_t emulated_poll(void *self, struct instant now,
                              struct backend_completion *ret_completions, uint32_t capacity) {
  struct emulated *emulated = self;
  uint32_t count = 0;
  while (count < capacity && tournament_first_key(&emulated->ends) <= now.ns) {
    const struct instant end = {tournament_first_key(&emulated->ends)};
    const uint32_t number = tournament_first(&emulated->ends);
    tournament_set(&emulated->ends, number, INT64_MAX);
    const struct emulated_gpu *gpu = &emulated->gpus[number / BACKEND_ENGINES];
    const struct emulated_engine *engine = &gpu->engines[number % BACKEND_ENGINES];
    if (number % BACKEND_ENGINES == BACKEND_ENGINE_OUTPUT && !gpu->is_lost) {
      write_outputs(emulated, engine);
    }
    ret_completions[count++] = (struct backend_completion){
        .command_id = engine->command_id,
        .status = gpu->is_lost ? ACTION_GPU_LOST : ACTION_SUCCESS,
        .begin = engine->begin,
        .end = end,
        .clock_before_mhz = engine->clock_before_mhz,
        .clock_after_mhz = gpu->config.clock_mhz,
    };
  }
  return count;
}

static struct instant emulated_wakeup(const void *self) {
  const struct emulated *emulated = self;
  const struct emulated_job *job = ring_peek(&emulated->loaded, 0);
  const struct instant end = {tournament_first_key(&emulated->ends)};
  return job == NULL ? end : instant_min(job->end, end);
}

static void emulated_destroy(void *self) {
  (void)self;
}

static const struct backend_ops emulated_ops = {
    .name = "emulated",
    .gpus_count = emulated_gpus_count,
    .gpu = emulated_gpu,
    .lost_count = emulated_lost_count,
    .load_model = emulated_load_model,
    .poll_loaded = emulated_poll_loaded,
    .submit = emulated_submit,
    .evict = emulated_evict,
    .poll = emulated_poll,
    .wakeup = emulated_wakeup,
    .destroy = emulated_destroy,
};

struct backend emulated_init(void *memory, const struct emulated_config *config) {
  CHECK_GT(config->link_bytes_per_s, 0);
  for (uint32_t i = 0; i < config->profile_count; i++) {
    CHECK(model_spec_is_valid(&config->profile[i]));
  }
  struct arena arena;
  arena_init(&arena, memory, emulated_bytes(config));
  struct emulated *emulated = carve(&arena, config, NULL);
  for (uint32_t i = 0; i < config->gpus_count; i++) {
    CHECK_GT(config->gpus[i].clock_mhz, 0);
    emulated->gpus[i].config = config->gpus[i];
    prng_init(&emulated->gpus[i].prng, config->seed, i);
  }
  emulated->config.gpus = NULL; /* the caller's array need not outlive this call */
  return (struct backend){.ops = &emulated_ops, .self = emulated};
}

bool emulated_expect(const struct backend *backend, uint32_t *ret_gpu_index,
                     enum backend_engine *ret_engine) {
  CHECK(backend->ops == &emulated_ops);
  const struct emulated *emulated = backend->self;
  if (tournament_first_key(&emulated->ends) == INT64_MAX) {
    return false;
  }
  const uint32_t number = tournament_first(&emulated->ends);
  *ret_gpu_index = number / BACKEND_ENGINES;
  *ret_engine = (enum backend_engine)(number % BACKEND_ENGINES);
  struct emulated_gpu *gpu = &emulated->gpus[*ret_gpu_index];
  prefetch(gpu, sizeof(*gpu));
  tournament_expect(&emulated->ends, number);
  return true;
}

void emulated_set_clock(struct backend *backend, uint32_t gpu_index, uint32_t clock_mhz) {
  CHECK(backend->ops == &emulated_ops);
  CHECK_GT(clock_mhz, 0);
  gpu_at(backend->self, gpu_index)->config.clock_mhz = clock_mhz;
}

void emulated_lose(struct backend *backend, struct instant now, uint32_t gpu_index) {
  CHECK(backend->ops == &emulated_ops);
  lose(backend->self, now, gpu_index);
}
