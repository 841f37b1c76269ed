#include "backend/cuda/choices.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/proposals.h"
#include "base/check.h"
#include "os/file.h"

enum {
  TEXT_BYTES = PROPOSAL_TEXT_BYTES,
  RUNS_PER_GRAPH = 5,
  GRAPH_RUNS = 3,
  FILE_BYTES_MAX = 16 << 20,
  PATH_BYTES = MODEL_PATH_BYTES + 160,
};

/* Times the best that a candidate may take in its first run, which also warms the caches, and in
 * those after it. */
#define BEHIND_AT_FIRST 2.0F
#define BEHIND 1.15F

struct key {
  uint64_t words[2];
};

struct entry {
  struct key key;
  enum choice_form form;
  uint32_t ns; /* what one run took when it was chosen */
  char text[TEXT_BYTES];
  struct convolution *convolution; /* prepared when first used */
  bool is_used;                    /* since the last read */
};

struct choice_store {
  bool compiled;
  uint32_t count;
  uint32_t capacity;
  struct entry *entries;
  struct proposers proposers;
};

/* ---------------------------------------------------------------------------------- the store */

struct choice_store *choice_store_create(bool compiled) {
  struct choice_store *store = calloc(1, sizeof(*store));
  if (store != NULL) {
    store->compiled = compiled;
  }
  return store;
}

void choice_store_destroy(const struct device *device, struct choice_store *store) {
  if (store == NULL) {
    return;
  }
  for (uint32_t i = 0; i < store->count; i++) {
    convolution_destroy(device, store->entries[i].convolution);
  }
  proposers_finish(&store->proposers, device);
  free(store->entries);
  free(store);
}

static struct entry *store_find(struct choice_store *store, struct key key) {
  for (uint32_t i = 0; i < store->count; i++) {
    struct entry *entry = &store->entries[i];
    if (entry->key.words[0] == key.words[0] && entry->key.words[1] == key.words[1]) {
      return entry;
    }
  }
  return NULL;
}

/* NULL: out of memory. Pointers to entries end here. */
static struct entry *store_add(struct choice_store *store, struct key key, enum choice_form form,
                               uint32_t ns, const char *text) {
  if (store->count == store->capacity) {
    const uint32_t capacity = store->capacity == 0 ? 256 : 2 * store->capacity;
    struct entry *entries = realloc(store->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
      return NULL;
    }
    store->entries = entries;
    store->capacity = capacity;
  }
  struct entry *entry = &store->entries[store->count++];
  memset(entry, 0, sizeof(*entry));
  entry->key = key;
  entry->form = form;
  entry->ns = ns;
  snprintf(entry->text, sizeof(entry->text), "%s", text);
  return entry;
}

static void file_path(const struct device *device, const char *package_path,
                      char ret_path[PATH_BYTES]) {
  char name[sizeof(device->name)];
  size_t used = 0;
  for (size_t i = 0; device->name[i] != '\0'; i++) {
    const char c = device->name[i];
    const bool is_plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name[used++] = is_plain ? c : '-';
  }
  name[used] = '\0';
  snprintf(ret_path, PATH_BYTES, "%s/model.choices.%s", package_path, name);
}

void choice_store_read(struct choice_store *store, const struct device *device,
                       const char *package_path) {
  for (uint32_t i = 0; i < store->count; i++) {
    store->entries[i].is_used = false;
  }
  char path[PATH_BYTES];
  file_path(device, package_path, path);
  char *content = NULL;
  size_t bytes = 0;
  if (file_read(path, FILE_BYTES_MAX, &content, &bytes, NULL) != ERR_OK) {
    return;
  }
  for (char *line = content; line != NULL && *line != '\0';) {
    char *end = strchr(line, '\n');
    if (end != NULL) {
      *end = '\0';
    }
    struct key key;
    int form = 0;
    int at = 0;
    uint32_t ns = 0;
    if (sscanf(line, "%" SCNx64 ".%" SCNx64 " %d %" SCNu32 " %n", &key.words[0], &key.words[1],
               &form, &ns, &at) == 4 &&
        at > 0 && form > 0 && form < CHOICE_STEM && strlen(line + at) < TEXT_BYTES &&
        store_find(store, key) == NULL &&
        store_add(store, key, (enum choice_form)form, ns, line + at) == NULL) {
      break;
    }
    line = end == NULL ? NULL : end + 1;
  }
  free(content);
}

void choice_store_write(struct choice_store *store, const struct device *device,
                        const char *package_path) {
  enum { LINE_BYTES = TEXT_BYTES + 64 };
  char *content = malloc((size_t)store->count * LINE_BYTES + 1);
  if (content == NULL) {
    return;
  }
  size_t used = 0;
  for (uint32_t i = 0; i < store->count; i++) {
    const struct entry *entry = &store->entries[i];
    if (entry->is_used) {
      used += (size_t)snprintf(
          content + used, LINE_BYTES, "%016" PRIx64 ".%016" PRIx64 " %d %" PRIu32 " %s\n",
          entry->key.words[0], entry->key.words[1], (int)entry->form, entry->ns, entry->text);
    }
  }
  char path[PATH_BYTES];
  file_path(device, package_path, path);
  const enum err error = file_write_atomically(path, content, used, NULL);
  (void)error; /* a read-only package is measured at each load */
  free(content);
}

/* ---------------------------------------------------------------------------------------- keys */

static void mix(struct key *key, const void *bytes, size_t count) {
  const unsigned char *at = bytes;
  for (size_t i = 0; i < count; i++) {
    /* FNV-1a twice, from two starting points: 128 bits against chance. */
    key->words[0] = (key->words[0] ^ at[i]) * UINT64_C(0x100000001b3);
    key->words[1] = (key->words[1] ^ at[i]) * UINT64_C(0x100000001b3);
    key->words[1] ^= key->words[1] >> 29;
  }
}

static bool is_convolution(const struct plan_op *op) {
  return op->kind == PLAN_OP_CONV || op->kind == PLAN_OP_CONV_TRANSPOSE;
}

/* False: no library is asked about it. */
static bool key_of(const struct choice_store *store, const struct emit *emit,
                   const struct plan_op *op, struct key *ret_key) {
  const struct library *library = emit->device->library;
  struct key key = {{UINT64_C(0xcbf29ce484222325), UINT64_C(0x9e3779b97f4a7c15)}};
  const uint64_t versions[4] = {library->cudnn.cudnnGetVersion(),
                                library->cublaslt.cublasLtGetVersion(), (uint64_t)op->kind,
                                store->compiled ? 1 : 0};
  mix(&key, versions, sizeof(versions));
  if (is_convolution(op)) {
    struct convolution_problem problem;
    convolution_problem_of(emit, op, CONVOLUTION_WHOLE, &problem);
    mix(&key, &problem, offsetof(struct convolution_problem, is_transposed));
    const bool is_in_place =
        emit_address(emit, emit_input(op, 3)) == emit_address(emit, op->outputs[0]);
    mix(&key, &is_in_place, sizeof(is_in_place));
    *ret_key = key;
    return true;
  }
  struct product_problem problem;
  struct product_addresses addresses;
  if (!product_of(emit, op, true, &problem, &addresses)) {
    return false;
  }
  mix(&key, &problem, offsetof(struct product_problem, scratch_bytes_max));
  if (op->kind == PLAN_OP_MATMUL) {
    const uint32_t rest[2] = {(uint32_t)op->matmul.activation.kind,
                              emit_input(op, 2) != PLAN_NONE ? 1U : 0U};
    mix(&key, rest, sizeof(rest));
  }
  *ret_key = key;
  return true;
}

/* ------------------------------------------------------------------------------------- measuring
 */

static bool is_cudnn(enum choice_form form) {
  return form == CHOICE_CONVOLUTION || proposal_extent(form) != CONVOLUTION_WHOLE;
}

static bool prepare(const struct emit *emit, const struct plan_op *op, enum choice_form form,
                    const char *text, struct convolution **ret_convolution,
                    struct choice *ret_choice) {
  *ret_choice = (struct choice){.form = form};
  if (is_cudnn(form)) {
    if (*ret_convolution == NULL) {
      struct convolution_problem problem;
      convolution_problem_of(emit, op, proposal_extent(form), &problem);
      *ret_convolution = convolution_create(emit->device, &problem, text);
    }
    ret_choice->convolution = *ret_convolution;
    return *ret_convolution != NULL;
  }
  if (form == CHOICE_PRODUCT || form == CHOICE_PRODUCT_BARE) {
    return product_read(text, &ret_choice->algorithm);
  }
  return true;
}

/* Runs it once, so that its code is on the device and its errors show. */
static bool try_once(const struct emit *emit, uint32_t op_index, const struct choice *choice) {
  return choice_emit(emit, op_index, choice) == CUDA_SUCCESS &&
         emit->device->library->driver.cuStreamSynchronize(emit->stream) == CUDA_SUCCESS;
}

/* Shortest of a few runs of a graph that repeats it (`choice` NULL: as was chosen before), as it
 * will run: without gaps between launches. Milliseconds; negative on failure. One that takes far
 * longer than `bar` (negative: none) has lost, and is not run again. */
static float measure(const struct emit *emit, uint32_t op_index, const struct choice *choice,
                     float bar) {
  const struct device *device = emit->device;
  const struct library *library = device->library;
  CUgraph graph = NULL;
  CUgraphExec run = NULL;
  float best = -1.0F;
  if (library->driver.cuStreamBeginCapture(emit->stream, CU_STREAM_CAPTURE_MODE_RELAXED) !=
      CUDA_SUCCESS) {
    return best;
  }
  CUresult result = CUDA_SUCCESS;
  for (int i = 0; i < RUNS_PER_GRAPH && result == CUDA_SUCCESS; i++) {
    result = choice == NULL ? emit_op(emit, op_index) : choice_emit(emit, op_index, choice);
  }
  const CUresult ended = library->driver.cuStreamEndCapture(emit->stream, &graph);
  if (result == CUDA_SUCCESS && ended == CUDA_SUCCESS &&
      library->driver.cuGraphInstantiate(&run, graph, 0) == CUDA_SUCCESS) {
    for (int i = 0; i <= GRAPH_RUNS; i++) {
      float ms = 0.0F;
      if (library->driver.cuEventRecord(device->events[0], emit->stream) != CUDA_SUCCESS ||
          library->driver.cuGraphLaunch(run, emit->stream) != CUDA_SUCCESS ||
          library->driver.cuEventRecord(device->events[1], emit->stream) != CUDA_SUCCESS ||
          library->driver.cuEventSynchronize(device->events[1]) != CUDA_SUCCESS ||
          library->driver.cuEventElapsedTime(&ms, device->events[0], device->events[1]) !=
              CUDA_SUCCESS) {
        best = -1.0F;
        break;
      }
      best = best < 0.0F || ms < best ? ms : best;
      if (bar >= 0.0F && best > bar * (i == 0 ? BEHIND_AT_FIRST : BEHIND)) {
        break;
      }
    }
  }
  if (run != NULL) {
    library->driver.cuGraphExecDestroy(run);
  }
  if (graph != NULL) {
    library->driver.cuGraphDestroy(graph);
  }
  return best;
}

int64_t choice_time(const struct emit *emit, uint32_t op_index) {
  const float ms = measure(emit, op_index, NULL, -1.0F);
  return ms < 0.0F ? -1 : (int64_t)(ms * 1e6F / RUNS_PER_GRAPH);
}

struct best {
  float ms; /* of RUNS_PER_GRAPH runs; negative: nothing has run yet */
  struct proposal proposal;
  struct convolution *convolution;
};

/* Measures all that is proposed. */
static void take_best(const struct emit *emit, uint32_t op_index, const struct proposals *proposals,
                      struct best *best) {
  const struct plan_op *op = &emit->batch->ops[op_index];
  for (uint32_t i = 0; i < proposals->count; i++) {
    const struct proposal *proposal = &proposals->items[i];
    struct convolution *convolution = NULL;
    struct choice choice;
    float ms = -1.0F;
    if (prepare(emit, op, proposal->form, proposal->text, &convolution, &choice) &&
        try_once(emit, op_index, &choice)) {
      ms = measure(emit, op_index, &choice, best->ms);
    }
    if (ms >= 0.0F && (best->ms < 0.0F || ms < best->ms)) {
      convolution_destroy(emit->device, best->convolution);
      *best = (struct best){.ms = ms, .proposal = *proposal, .convolution = convolution};
    } else {
      convolution_destroy(emit->device, convolution);
    }
  }
}

static struct entry *search(struct choice_store *store, const struct emit *emit,
                            const struct proposals *proposals, struct key key) {
  struct best best = {.ms = -1.0F, .proposal = {.form = CHOICE_OWN, .text = "-"}};
  take_best(emit, proposals->op_index, proposals, &best);
  struct entry *entry = store_add(store, key, best.proposal.form,
                                  best.ms < 0.0F ? 0 : (uint32_t)(best.ms * 1e6F / RUNS_PER_GRAPH),
                                  best.proposal.text);
  if (entry != NULL) {
    entry->convolution = best.convolution;
  } else {
    convolution_destroy(emit->device, best.convolution);
  }
  return entry;
}

static bool use(const struct emit *emit, const struct plan_op *op, struct entry *entry,
                struct choice *ret_choice) {
  entry->is_used = true;
  return prepare(emit, op, entry->form, entry->text, &entry->convolution, ret_choice);
}

/* If reordering and convolving in one is faster than one after the other, do that. */
static void prefer_stem(const struct emit *emit, uint32_t op_index, struct choice *choices) {
  uint32_t sources[EMIT_STEM_SOURCES];
  const uint32_t count = emit_stem_sources(emit, op_index, sources);
  if (count == 0) {
    return;
  }
  const struct choice stem = {.form = CHOICE_STEM, .source = sources[count - 1]};
  const float together =
      try_once(emit, op_index, &stem) ? measure(emit, op_index, &stem, -1.0F) : -1.0F;
  bool is_comparable = try_once(emit, op_index, &choices[op_index]);
  float apart = measure(emit, op_index, &choices[op_index], -1.0F);
  is_comparable = is_comparable && apart >= 0.0F;
  for (uint32_t i = 0; i < count; i++) {
    const float ms = measure(emit, sources[i], NULL, -1.0F);
    is_comparable = is_comparable && ms >= 0.0F;
    apart += ms;
  }
  if (together >= 0.0F && (!is_comparable || together < apart)) {
    for (uint32_t i = 0; i < count; i++) {
      choices[sources[i]].form = CHOICE_SKIPPED;
    }
    choices[op_index] = stem;
  }
}

/* Whether a library may be asked about it. */
static bool is_chosen(const struct plan_op *op) {
  return is_convolution(op) || op->kind == PLAN_OP_MATMUL || plan_op_kind_gates(op->kind) > 0;
}

/* Proposals for every problem of the batch that the store lacks; freed by the caller. NULL: out of
 * memory. */
static struct proposals *ask_ahead(struct choice_store *store, const struct emit *emit,
                                   uint32_t *ret_count) {
  const uint32_t ops_count = emit->batch->ops_count;
  struct proposals *asked = calloc((size_t)ops_count + 1, sizeof(*asked));
  struct key *keys = calloc((size_t)ops_count + 1, sizeof(*keys));
  uint32_t count = 0;
  for (uint32_t i = 0; i < ops_count && asked != NULL && keys != NULL; i++) {
    const struct plan_op *op = &emit->batch->ops[i];
    struct key key;
    if (!is_chosen(op) || !key_of(store, emit, op, &key) || store_find(store, key) != NULL) {
      continue;
    }
    uint32_t same = 0;
    while (same < count && memcmp(&keys[same], &key, sizeof(key)) != 0) {
      same++;
    }
    if (same == count) {
      keys[count] = key;
      asked[count++].op_index = i;
    }
  }
  if (asked != NULL && keys != NULL) {
    proposals_ask(&store->proposers, emit, store->compiled, asked, count);
  } else {
    free(asked);
    asked = NULL;
  }
  free(keys);
  *ret_count = count;
  return asked;
}

/* Those that ask_ahead() found; else asks, of an operation whose setting from a file is of no use
 * here. */
static const struct proposals *proposals_for(struct choice_store *store, const struct emit *emit,
                                             struct proposals *asked, uint32_t count,
                                             uint32_t op_index) {
  for (uint32_t i = 0; i < count; i++) {
    if (asked[i].op_index == op_index) {
      return &asked[i];
    }
  }
  struct proposals *spare = &asked[count]; /* there is one more than was asked for */
  spare->op_index = op_index;
  proposals_ask(&store->proposers, emit, store->compiled, spare, 1);
  return spare;
}

static enum err choose_one(struct choice_store *store, const struct emit *emit,
                           struct proposals *asked, uint32_t asked_count, uint32_t op_index,
                           struct choice *choices, uint32_t *measured_count) {
  const struct plan_op *op = &emit->batch->ops[op_index];
  struct choice *choice = &choices[op_index];
  struct key key;
  if (!key_of(store, emit, op, &key)) {
    choice->form = CHOICE_OWN;
    return ERR_OK;
  }
  struct entry *entry = store_find(store, key);
  if (entry == NULL || !use(emit, op, entry, choice)) {
    if (entry != NULL) { /* what a file said can't be done here */
      entry->key = (struct key){{0, 0}};
      entry->is_used = false;
    }
    entry = search(store, emit, proposals_for(store, emit, asked, asked_count, op_index), key);
    *measured_count += 1;
    if (entry == NULL || !use(emit, op, entry, choice)) {
      return ERR_NO_MEMORY;
    }
  }
  prefer_stem(emit, op_index, choices);
  return ERR_OK;
}

enum err choose(struct choice_store *store, const struct emit *emit, struct choice *ret_choices,
                uint32_t *ret_measured_count, struct error_text *ret_error) {
  for (uint32_t i = 0; i < emit->batch->ops_count; i++) {
    if (!emit_supports(emit->batch, i, ret_error)) {
      return ERR_UNSUPPORTED;
    }
  }
  uint32_t asked_count = 0;
  struct proposals *asked = ask_ahead(store, emit, &asked_count);
  enum err error = asked == NULL ? ERR_NO_MEMORY : ERR_OK;
  for (uint32_t i = 0; i < emit->batch->ops_count && error == ERR_OK; i++) {
    ret_choices[i] = (struct choice){.form = (enum choice_form)0};
    if (is_chosen(&emit->batch->ops[i])) {
      error = choose_one(store, emit, asked, asked_count, i, ret_choices, ret_measured_count);
    }
  }
  free(asked);
  if (error != ERR_OK) {
    error_text_set(ret_error, "out of memory while measuring");
  }
  return error;
}

/* -------------------------------------------------------------------------------------- running */

static CUresult emit_product(const struct emit *emit, const struct plan_op *op,
                             const struct choice *choice) {
  const bool is_bare = choice->form == CHOICE_PRODUCT_BARE;
  struct product_problem problem;
  struct product_addresses addresses;
  if (!product_of(emit, op, is_bare, &problem, &addresses)) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const CUresult result =
      product_run(emit->device, &problem, &addresses, &choice->algorithm, emit->scratch);
  if (result != CUDA_SUCCESS || !is_bare) {
    return result;
  }
  return emit_epilogue(emit, op, 0, problem.has_residual == 0);
}

static CUresult emit_convolution(const struct emit *emit, const struct plan_op *op,
                                 const struct choice *choice) {
  const enum convolution_extent extent = proposal_extent(choice->form);
  const bool is_whole = extent == CONVOLUTION_WHOLE;
  const CUdeviceptr to = extent == CONVOLUTION_ASIDE ? convolution_aside(emit, op)
                                                     : emit_address(emit, op->outputs[0]);
  const CUresult result = convolution_run(
      emit->device, choice->convolution, emit_address(emit, op->inputs[0]),
      emit_address(emit, op->inputs[1]), to, is_whole ? emit_address(emit, emit_input(op, 2)) : 0,
      is_whole ? emit_address(emit, emit_input(op, 3)) : 0, emit->scratch);
  if (result != CUDA_SUCCESS || is_whole) {
    return result;
  }
  return emit_epilogue(emit, op, extent == CONVOLUTION_ASIDE ? to : 0, true);
}

CUresult choice_emit(const struct emit *emit, uint32_t op_index, const struct choice *choice) {
  const struct plan_op *op = &emit->batch->ops[op_index];
  if (plan_op_kind_gates(op->kind) > 0) {
    return emit_recurrent(emit, op, choice);
  }
  switch (choice->form) {
  case CHOICE_CONVOLUTION:
  case CHOICE_CONVOLUTION_BARE:
  case CHOICE_CONVOLUTION_ASIDE:
    return emit_convolution(emit, op, choice);
  case CHOICE_PRODUCT:
  case CHOICE_PRODUCT_BARE:
    return emit_product(emit, op, choice);
  case CHOICE_STEM:
    return emit_stem(emit, op, choice->source);
  default:
    return op->kind == PLAN_OP_MATMUL ? emit_own_matmul(emit, op) : emit_own_conv(emit, op);
  }
}
