/* What the CUDA backend makes of model packages on the first GPU: how long each batch size runs,
 * alone, while weights of other instances stream in back to back, and how long those take; and for
 * comparison how long plain copies of the same bytes from pinned memory take in their place.
 *
 *   bench_cuda [--runs N] [--compiled 1] [--ops 1] [--profile FILE]
 *              [--input FILE --output FILE] PACKAGE...
 *
 * Lines of "PACKAGE batch B alone|beside loads|beside copies: ..." in microseconds. "run" is what
 * the device took, "answer" from submitting the execution until its completion was polled. With
 * --input, the file's bytes are the input of each batch size in turn (repeated from its begin where
 * it is too short), and the outputs of all batch sizes are written to FILE.MODEL.bB. With
 * --profile, a row for each package is added to FILE, in the format of model/profile.h: what
 * simulate and emulated workers read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef CLOCKWORK_HAS_CUDA

#include "backend/cuda/cuda.h"
#include "backend/cuda/pinned.h"
#include "base/check.h"
#include "os/clock.h"
#include "os/file.h"

enum {
  COPIES = 6, /* of each package: one executes, the others are loaded and evicted in turns */
  MODELS_MAX = 4096,
  RUNS = 2000,
  INPUT_BYTES_MAX = 1 << 30,
};

struct sample {
  uint32_t count;
  uint32_t capacity;
  int64_t *ns;
};

enum company { ALONE, BESIDE_LOADS, BESIDE_COPIES, COMPANIES };

static const char *const company_names[COMPANIES] = {"alone", "beside loads", "beside copies"};

/* Copies as a user would write them: one call for all bytes, from pinned memory. */
struct plain {
  struct library library;
  struct pinned from;
  CUdeviceptr to;
  CUstream stream;
  uint32_t *word; /* pinned: how many are done */
  CUdeviceptr word_address;
  uint32_t begun;
};

struct bench {
  struct backend backend;
  struct plain plain;
  uint32_t runs;
  bool compiled;
  bool has_ops;
  const char *input_path;
  const char *output_path;
  FILE *profile;
  uint64_t command_id;
  struct sample run;
  struct sample answer;
  struct sample load;
};

/* One engine's command under way. */
struct flight {
  bool is_under_way;
  uint64_t command_id;
  struct instant submitted;
};

static void on_notify(void *user) {
  (void)user; /* polled without pause */
}

static void on_timed(void *user, const char *line) {
  (void)user;
  printf("%s\n", line);
}

static int compare_ns(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a;
  const int64_t y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void sample_open(struct sample *sample, uint32_t capacity) {
  *sample = (struct sample){.capacity = capacity, .ns = calloc(capacity, sizeof(int64_t))};
  CHECK(sample->ns != NULL);
}

static void sample_add(struct sample *sample, struct duration duration) {
  if (sample->count < sample->capacity) {
    sample->ns[sample->count++] = duration.ns;
  }
}

static void sample_print(const char *name, struct sample *sample) {
  if (sample->count == 0) {
    return;
  }
  qsort(sample->ns, sample->count, sizeof(int64_t), compare_ns);
  const int64_t *ns = sample->ns;
  const uint32_t n = sample->count;
  printf("  %s p50 %.1f p99 %.1f p99.9 %.1f p99.99 %.1f max %.1f (n %u)", name,
         (double)ns[n / 2] / 1e3, (double)ns[(uint64_t)n * 99 / 100] / 1e3,
         (double)ns[(uint64_t)n * 999 / 1000] / 1e3, (double)ns[(uint64_t)n * 9999 / 10000] / 1e3,
         (double)ns[n - 1] / 1e3, n);
  sample->count = 0;
}

static void submit(struct bench *bench, struct backend_command *command, struct flight *flight) {
  command->command_id = ++bench->command_id;
  *flight = (struct flight){
      .is_under_way = true, .command_id = command->command_id, .submitted = os_now()};
  bench->backend.ops->submit(bench->backend.self, flight->submitted, command);
}

/* Takes what has ended; a failure ends the program. */
static void poll_once(struct bench *bench, struct flight *flights, uint32_t flights_count,
                      struct backend_completion *ret_last) {
  struct backend_completion completions[4];
  const struct instant now = os_now();
  const uint32_t count = bench->backend.ops->poll(bench->backend.self, now, completions, 4);
  for (uint32_t i = 0; i < count; i++) {
    if (completions[i].status != ACTION_SUCCESS) {
      fprintf(stderr, "bench_cuda: a command failed: %s\n",
              action_status_text((int)completions[i].status));
      exit(1);
    }
    for (uint32_t j = 0; j < flights_count; j++) {
      if (flights[j].is_under_way && flights[j].command_id == completions[i].command_id) {
        flights[j].is_under_way = false;
        ret_last[j] = completions[i];
      }
    }
  }
}

static struct backend_completion run_one(struct bench *bench, struct backend_command *command) {
  struct flight flight;
  struct backend_completion last;
  memset(&last, 0, sizeof(last));
  submit(bench, command, &flight);
  while (flight.is_under_way) {
    poll_once(bench, &flight, 1, &last);
  }
  return last;
}

static uint32_t pages[BACKEND_IO_SLOTS + COPIES][4096];

static void load_instance(struct bench *bench, uint32_t model_id, uint32_t place, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    pages[place][i] = place * count + i;
  }
  struct backend_command command = {
      .engine = BACKEND_ENGINE_LOAD, .model_id = model_id, .pages = pages[place]};
  run_one(bench, &command);
}

static void plain_open(struct plain *plain, uint64_t bytes) {
  memset(plain, 0, sizeof(*plain));
  struct error_text error;
  CUdevice device = 0;
  CUcontext context = NULL;
  void *word = NULL;
  CHECK_EQ(library_open(&plain->library, &error), ERR_OK);
  CHECK_EQ(plain->library.driver.cuDeviceGet(&device, 0), CUDA_SUCCESS);
  CHECK_EQ(plain->library.driver.cuDevicePrimaryCtxRetain(&context, device), CUDA_SUCCESS);
  CHECK_EQ(plain->library.driver.cuCtxSetCurrent(context), CUDA_SUCCESS);
  CHECK(pinned_take(bytes, &plain->from));
  CHECK_EQ(pinned_pin(&plain->library, &plain->from), CUDA_SUCCESS);
  CHECK_EQ(plain->library.driver.cuMemAlloc(&plain->to, bytes), CUDA_SUCCESS);
  CHECK_EQ(
      plain->library.driver.cuStreamCreateWithPriority(&plain->stream, CU_STREAM_NON_BLOCKING, 0),
      CUDA_SUCCESS);
  CHECK_EQ(plain->library.driver.cuMemHostAlloc(&word, sizeof(uint32_t), CU_MEMHOSTALLOC_DEVICEMAP),
           CUDA_SUCCESS);
  plain->word = word;
  *plain->word = 0;
  CHECK_EQ(plain->library.driver.cuMemHostGetDevicePointer(&plain->word_address, word, 0),
           CUDA_SUCCESS);
}

static void plain_begin(struct plain *plain) {
  plain->begun++;
  CHECK_EQ(plain->library.driver.cuMemcpyHtoDAsync(plain->to, plain->from.bytes,
                                                   plain->from.size_bytes, plain->stream),
           CUDA_SUCCESS);
  CHECK_EQ(plain->library.driver.cuStreamWriteValue32(plain->stream, plain->word_address,
                                                      plain->begun, 0),
           CUDA_SUCCESS);
}

static bool plain_is_done(const struct plain *plain) {
  return __atomic_load_n(plain->word, __ATOMIC_ACQUIRE) == plain->begun;
}

static void plain_close(struct plain *plain) {
  CUdevice device = 0;
  plain->library.driver.cuStreamSynchronize(plain->stream);
  plain->library.driver.cuStreamDestroy(plain->stream);
  plain->library.driver.cuMemFree(plain->to);
  plain->library.driver.cuMemFreeHost(plain->word);
  pinned_give(&plain->library, &plain->from);
  plain->library.driver.cuDeviceGet(&device, 0);
  plain->library.driver.cuDevicePrimaryCtxRelease(device);
  library_close(&plain->library);
}

/* The next LOAD of the other copies. Room for all of them but one: it takes the pages of the one
 * loaded longest ago, as in a full cache. */
static void submit_load(struct bench *bench, const struct model_spec *spec, uint32_t model_id,
                        uint32_t loaded, struct flight *flight) {
  const uint32_t others = COPIES - 1;
  const uint32_t room = others - 1;
  const uint32_t place = 1 + loaded % room;
  if (loaded >= room) {
    bench->backend.ops->evict(bench->backend.self, os_now(), 0,
                              model_id + 1 + (loaded - room) % others, pages[place],
                              spec->weights_pages);
  }
  struct backend_command load = {.engine = BACKEND_ENGINE_LOAD,
                                 .model_id = model_id + 1 + loaded % others,
                                 .pages = pages[place]};
  for (uint32_t i = 0; i < spec->weights_pages; i++) {
    pages[place][i] = place * spec->weights_pages + i;
  }
  submit(bench, &load, flight);
}

static void evict_others(struct bench *bench, const struct model_spec *spec, uint32_t model_id,
                         uint32_t begun) {
  const uint32_t others = COPIES - 1;
  const uint32_t room = others - 1;
  for (uint32_t i = begun > room ? begun - room : 0; i < begun; i++) {
    bench->backend.ops->evict(bench->backend.self, os_now(), 0, model_id + 1 + i % others,
                              pages[1 + i % room], spec->weights_pages);
  }
}

/* Executes `runs` times; what it is beside never pauses. */
static void measure(struct bench *bench, const struct model_spec *spec, uint32_t model_id,
                    uint32_t batch_size, enum company company) {
  struct flight flights[2] = {{.is_under_way = false}, {.is_under_way = false}};
  struct backend_completion last[2];
  memset(last, 0, sizeof(last));
  uint32_t executed = 0;
  uint32_t begun = 0; /* of the LOADs or copies */
  struct instant copy_begin = os_now();
  while (bench->run.count < bench->runs) {
    if (!flights[0].is_under_way) {
      if (executed++ > 0) {
        sample_add(&bench->run, instant_since(last[0].end, last[0].begin));
        sample_add(&bench->answer, instant_since(os_now(), flights[0].submitted));
      }
      struct backend_command execute = {
          .engine = BACKEND_ENGINE_EXECUTE, .model_id = model_id, .batch_size = batch_size};
      submit(bench, &execute, &flights[0]);
    }
    if (company == BESIDE_LOADS && !flights[1].is_under_way) {
      if (begun > 0) {
        sample_add(&bench->load, instant_since(last[1].end, flights[1].submitted));
      }
      submit_load(bench, spec, model_id, begun++, &flights[1]);
    }
    if (company == BESIDE_COPIES && plain_is_done(&bench->plain)) {
      const struct instant now = os_now();
      if (begun++ > 0) {
        sample_add(&bench->load, instant_since(now, copy_begin));
      }
      copy_begin = now;
      plain_begin(&bench->plain);
    }
    poll_once(bench, flights, 2, last);
  }
  while (flights[0].is_under_way || flights[1].is_under_way || !plain_is_done(&bench->plain)) {
    poll_once(bench, flights, 2, last);
  }
  evict_others(bench, spec, model_id, company == BESIDE_LOADS ? begun : 0);
}

static void answer_file(struct bench *bench, const struct model_spec *spec, uint32_t model_id,
                        uint32_t batch_size) {
  struct error_text error;
  struct file_map file;
  if (file_map_open(bench->input_path, INPUT_BYTES_MAX, &file, &error) != ERR_OK) {
    fprintf(stderr, "bench_cuda: %s\n", error.text);
    exit(2);
  }
  const uint64_t held = file.size_bytes / spec->input_bytes;
  if (held == 0) {
    fprintf(stderr, "bench_cuda: %s: %zu bytes; one input of %s has %llu\n", bench->input_path,
            file.size_bytes, spec->name, (unsigned long long)spec->input_bytes);
    exit(2);
  }
  const void *inputs[MODEL_BATCH_MAX];
  for (uint32_t i = 0; i < batch_size; i++) {
    inputs[i] = file.bytes + i % held * spec->input_bytes;
  }
  unsigned char *outputs = malloc(batch_size * spec->output_bytes);
  CHECK(outputs != NULL);
  const struct backend_io io = {.inputs = inputs, .outputs = outputs};
  for (int engine = BACKEND_ENGINE_INPUT; engine <= BACKEND_ENGINE_OUTPUT; engine++) {
    struct backend_command command = {.engine = (enum backend_engine)engine,
                                      .model_id = model_id,
                                      .batch_size = batch_size,
                                      .io = &io};
    run_one(bench, &command);
  }
  char path[1024];
  snprintf(path, sizeof(path), "%s.%s.b%u", bench->output_path, spec->name, batch_size);
  if (file_write_atomically(path, outputs, batch_size * spec->output_bytes, &error) != ERR_OK) {
    fprintf(stderr, "bench_cuda: %s\n", error.text);
    exit(1);
  }
  free(outputs);
  file_map_close(&file);
}

/* Batch sizes that a package has not got are left out of the whole table: all rows have the columns
 * of the first. */
static void profile_row(struct bench *bench, const struct model_spec *spec) {
  if (ftell(bench->profile) == 0) {
    fprintf(bench->profile,
            "# clock_mhz: %u\nmodel\tinput_bytes\toutput_bytes\tweights_bytes\tload_ms",
            spec->clock_mhz);
    for (uint32_t kind = 0; kind < spec->batch_kinds; kind++) {
      fprintf(bench->profile, "\tb%u_ms", spec->batch_sizes[kind]);
    }
    fprintf(bench->profile, "\n");
  }
  fprintf(bench->profile, "%s\t%llu\t%llu\t%llu\t%.4f", spec->name,
          (unsigned long long)spec->input_bytes, (unsigned long long)spec->output_bytes,
          (unsigned long long)spec->weights_bytes, (double)spec->load.ns / 1e6);
  for (uint32_t kind = 0; kind < spec->batch_kinds; kind++) {
    fprintf(bench->profile, "\t%.4f", (double)spec->execute[kind].ns / 1e6);
  }
  fprintf(bench->profile, "\n");
  fflush(bench->profile);
}

static void bench_package(struct bench *bench, const char *path, uint32_t model_id) {
  struct backend_load_model job = {.first_model_id = model_id, .copies = COPIES};
  snprintf(job.path, sizeof(job.path), "%s", path);
  const struct instant begin = os_now();
  CHECK_EQ(bench->backend.ops->load_model(bench->backend.self, begin, &job), ERR_OK);
  struct backend_loaded_model loaded;
  while (bench->backend.ops->poll_loaded(bench->backend.self, os_now(), &loaded, 1) == 0) {
  }
  if (loaded.status != ACTION_SUCCESS) {
    fprintf(stderr, "bench_cuda: %s: %s %s\n", path, action_status_text((int)loaded.status),
            loaded.reason);
    exit(1);
  }
  const struct model_spec *spec = &loaded.spec;
  printf("%s: loaded with %d copies in %.1f s; %.1f MiB, plain copy %.1f us, %u MHz\n", spec->name,
         COPIES, (double)instant_since(os_now(), begin).ns / 1e9,
         (double)spec->weights_bytes / 1048576.0, (double)spec->load.ns / 1e3, spec->clock_mhz);
  if (bench->profile != NULL) {
    profile_row(bench, spec);
  }
  load_instance(bench, model_id, 0, spec->weights_pages);
  plain_open(&bench->plain, spec->weights_bytes);
  for (uint32_t kind = 0; kind < spec->batch_kinds; kind++) {
    const uint32_t batch_size = spec->batch_sizes[kind];
    if (bench->input_path != NULL) {
      answer_file(bench, spec, model_id, batch_size);
    }
    for (int company = 0; company < COMPANIES && bench->runs > 0; company++) {
      measure(bench, spec, model_id, batch_size, (enum company)company);
      printf("%s batch %u %s, expected %.1f:", spec->name, batch_size, company_names[company],
             (double)spec->execute[kind].ns / 1e3);
      sample_print("run", &bench->run);
      sample_print("answer", &bench->answer);
      sample_print(company == BESIDE_LOADS ? "load" : "copy", &bench->load);
      printf("\n");
      fflush(stdout);
    }
  }
  bench->backend.ops->evict(bench->backend.self, os_now(), 0, model_id, pages[0],
                            spec->weights_pages);
  plain_close(&bench->plain);
}

static int parse(struct bench *bench, int argc, char **argv) {
  int at = 1;
  for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
    if (strcmp(argv[at], "--runs") == 0) {
      bench->runs = (uint32_t)strtoul(argv[at + 1], NULL, 10);
    } else if (strcmp(argv[at], "--compiled") == 0) {
      bench->compiled = strcmp(argv[at + 1], "0") != 0;
    } else if (strcmp(argv[at], "--ops") == 0) {
      bench->has_ops = strcmp(argv[at + 1], "0") != 0;
    } else if (strcmp(argv[at], "--profile") == 0) {
      bench->profile = fopen(argv[at + 1], "a");
      if (bench->profile == NULL) {
        fprintf(stderr, "bench_cuda: --profile %s: can't be written\n", argv[at + 1]);
        exit(2);
      }
    } else if (strcmp(argv[at], "--input") == 0) {
      bench->input_path = argv[at + 1];
    } else if (strcmp(argv[at], "--output") == 0) {
      bench->output_path = argv[at + 1];
    } else {
      break;
    }
  }
  return (bench->input_path == NULL) == (bench->output_path == NULL) ? at : argc;
}

int main(int argc, char **argv) {
  struct bench bench = {.runs = RUNS};
  int at = parse(&bench, argc, argv);
  if (argc > 1 && at == argc) {
    fprintf(stderr, "usage: bench_cuda [--runs N] [--compiled 1] [--ops 1] [--profile FILE] "
                    "[--input FILE --output FILE] PACKAGE...\n");
    return 2;
  }
  if (!cuda_is_usable()) {
    printf("skipped: no CUDA device\n");
    return 0;
  }
  struct cuda_config config;
  cuda_config_defaults(&config);
  config.gpus = 1;
  config.models_max = MODELS_MAX;
  config.compiled = bench.compiled;
  config.on_timed = bench.has_ops ? on_timed : NULL;
  config.notify = on_notify;
  struct error_text error;
  if (cuda_create(&config, &bench.backend, &error) != ERR_OK) {
    fprintf(stderr, "bench_cuda: %s\n", error.text);
    return 1;
  }
  char text[200];
  cuda_describe(&bench.backend, text, sizeof(text));
  printf("%s\n", text);
  sample_open(&bench.run, bench.runs + 1);
  sample_open(&bench.answer, bench.runs + 1);
  sample_open(&bench.load, 1 << 20);
  for (uint32_t model_id = 0; at < argc; at++, model_id += COPIES) {
    bench_package(&bench, argv[at], model_id);
  }
  bench.backend.ops->destroy(bench.backend.self);
  if (bench.profile != NULL && fclose(bench.profile) != 0) {
    fprintf(stderr, "bench_cuda: --profile: could not be written whole\n");
    return 1;
  }
  return 0;
}

#else

int main(void) {
  printf("skipped: built without the CUDA backend\n");
  return 0;
}

#endif
