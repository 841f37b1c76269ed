#include "backend/cuda/choices.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "os/file.h"

enum {
  TEXT_BYTES = CONVOLUTION_TEXT_BYTES,
  CANDIDATES_MAX = 48,
  /* Of 780 problems of three networks on an H100, 99 % were won by one of the first 10 that cuDNN
   * proposed or one of the first 8 of cuBLASLt's. */
  FUSED_PROPOSALS = 10,
  BARE_PROPOSALS = 4,
  PRODUCT_PROPOSALS = 8,
  FUSED_ENOUGH = 4, /* proposals to do all at once; with fewer also the sum alone is tried */
  RUNS_PER_GRAPH = 5,
  GRAPH_RUNS = 3,
  FILE_BYTES_MAX = 16 << 20,
  PATH_BYTES = MODEL_PATH_BYTES + 160,
};

_Static_assert((int)CONVOLUTION_TEXT_BYTES == (int)PRODUCT_TEXT_BYTES, "one size of text serves");

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
};

struct candidate {
  enum choice_form form;
  char text[TEXT_BYTES];
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

/* ---------------------------------------------------------------------------------- candidates */

/* Of a form that cuDNN runs. */
static enum convolution_extent extent_of(enum choice_form form) {
  switch ((int)form) {
  case CHOICE_CONVOLUTION_BARE:
    return CONVOLUTION_BARE;
  case CHOICE_CONVOLUTION_ASIDE:
    return CONVOLUTION_ASIDE;
  default:
    return CONVOLUTION_WHOLE;
  }
}

static bool is_cudnn(enum choice_form form) {
  return form == CHOICE_CONVOLUTION || extent_of(form) != CONVOLUTION_WHOLE;
}

struct candidates {
  uint32_t count;
  struct candidate items[CANDIDATES_MAX];
};

static void add_texts(struct candidates *candidates, enum choice_form form,
                      char (*texts)[TEXT_BYTES], uint32_t count) {
  for (uint32_t i = 0; i < count && candidates->count < CANDIDATES_MAX; i++) {
    struct candidate *candidate = &candidates->items[candidates->count++];
    candidate->form = form;
    memcpy(candidate->text, texts[i], TEXT_BYTES);
  }
}

static void add_products(const struct emit *emit, const struct plan_op *op, bool is_bare,
                         struct candidates *candidates) {
  char texts[PRODUCT_PROPOSALS][TEXT_BYTES];
  struct product_problem problem;
  struct product_addresses addresses;
  if (product_of(emit, op, is_bare, &problem, &addresses)) {
    const uint32_t count =
        product_propose(emit->device, &problem, &addresses, texts, PRODUCT_PROPOSALS);
    add_texts(candidates, is_bare ? CHOICE_PRODUCT_BARE : CHOICE_PRODUCT, texts, count);
  }
}

/* What a library leaves undone can be added afterwards: the residual was not overwritten. */
static bool may_finish_later(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const uint32_t residual = emit_input(op, 3);
  const bool is_planar = op->kind == PLAN_OP_CONV_TRANSPOSE && out->pitch == 0;
  return (out->layout == PLAN_CHANNELS_LAST || is_planar) &&
         (residual == PLAN_NONE ||
          emit_address(emit, residual) != emit_address(emit, op->outputs[0]));
}

static void add_part(const struct emit *emit, const struct plan_op *op, enum choice_form form,
                     struct candidates *candidates) {
  char texts[BARE_PROPOSALS][TEXT_BYTES];
  struct convolution_problem problem;
  convolution_problem_of(emit, op, extent_of(form), &problem);
  add_texts(candidates, form, texts,
            convolution_propose(emit->device, &problem, false, texts, BARE_PROPOSALS));
}

/* cuDNN has no engine that fuses a residual without a bias, for one: then in parts. */
static void add_convolutions(const struct choice_store *store, const struct emit *emit,
                             const struct plan_op *op, struct candidates *candidates) {
  char texts[FUSED_PROPOSALS][TEXT_BYTES];
  struct convolution_problem problem;
  convolution_problem_of(emit, op, CONVOLUTION_WHOLE, &problem);
  const bool has_rest =
      problem.has_bias != 0 || problem.has_residual != 0 || problem.activation != PLAN_ACT_NONE;
  const bool may_be_whole = op->kind == PLAN_OP_CONV || !has_rest;
  const uint32_t count =
      !may_be_whole
          ? 0
          : convolution_propose(emit->device, &problem, store->compiled, texts, FUSED_PROPOSALS);
  add_texts(candidates, CHOICE_CONVOLUTION, texts, count);
  /* A sum alone and a kernel behind it won only where cuDNN fuses badly: in groups. */
  const bool is_fused_well = count >= FUSED_ENOUGH && op->conv.groups == 1;
  if (has_rest && !is_fused_well && may_finish_later(emit, op)) {
    add_part(emit, op, CHOICE_CONVOLUTION_BARE, candidates);
  }
  const bool is_last = emit_tensor(emit, op->outputs[0])->layout == PLAN_CHANNELS_LAST;
  if (count == 0 && is_last && convolution_aside(emit, op) != 0) {
    add_part(emit, op, CHOICE_CONVOLUTION_ASIDE, candidates);
  }
}

static void add_own(struct candidates *candidates) {
  char none[1][TEXT_BYTES] = {"-"};
  add_texts(candidates, CHOICE_OWN, none, 1);
}

static void propose(const struct choice_store *store, const struct emit *emit,
                    const struct plan_op *op, struct candidates *candidates) {
  if (op->kind == PLAN_OP_CONV) {
    if (emit_is_depthwise(emit, op)) {
      add_own(candidates);
    }
    add_products(emit, op, false, candidates);
    add_convolutions(store, emit, op, candidates);
  } else if (op->kind == PLAN_OP_CONV_TRANSPOSE) {
    add_convolutions(store, emit, op, candidates);
  } else {
    add_products(emit, op, false, candidates);
  }
  if (candidates->count == 0 && op->kind != PLAN_OP_CONV_TRANSPOSE &&
      plan_op_kind_gates(op->kind) == 0 &&
      (op->kind == PLAN_OP_MATMUL || may_finish_later(emit, op))) {
    add_products(emit, op, true, candidates);
  }
  if (candidates->count == 0) {
    add_own(candidates);
  }
}

/* ------------------------------------------------------------------------------------- measuring
 */

static bool prepare(const struct emit *emit, const struct plan_op *op, enum choice_form form,
                    const char *text, struct convolution **ret_convolution,
                    struct choice *ret_choice) {
  *ret_choice = (struct choice){.form = form};
  if (is_cudnn(form)) {
    if (*ret_convolution == NULL) {
      struct convolution_problem problem;
      convolution_problem_of(emit, op, extent_of(form), &problem);
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
  struct candidate candidate;
  struct convolution *convolution;
};

/* Measures all candidates. */
static void take_best(const struct emit *emit, uint32_t op_index,
                      const struct candidates *candidates, struct best *best) {
  const struct plan_op *op = &emit->batch->ops[op_index];
  for (uint32_t i = 0; i < candidates->count; i++) {
    const struct candidate *candidate = &candidates->items[i];
    struct convolution *convolution = NULL;
    struct choice choice;
    float ms = -1.0F;
    if (prepare(emit, op, candidate->form, candidate->text, &convolution, &choice) &&
        try_once(emit, op_index, &choice)) {
      ms = measure(emit, op_index, &choice, best->ms);
    }
    if (ms >= 0.0F && (best->ms < 0.0F || ms < best->ms)) {
      convolution_destroy(emit->device, best->convolution);
      *best = (struct best){.ms = ms, .candidate = *candidate, .convolution = convolution};
    } else {
      convolution_destroy(emit->device, convolution);
    }
  }
}

static struct entry *search(struct choice_store *store, const struct emit *emit, uint32_t op_index,
                            struct key key) {
  struct candidates *candidates = calloc(1, sizeof(*candidates));
  if (candidates == NULL) {
    return NULL;
  }
  struct best best = {.ms = -1.0F, .candidate = {.form = CHOICE_OWN, .text = "-"}};
  propose(store, emit, &emit->batch->ops[op_index], candidates);
  take_best(emit, op_index, candidates, &best);
  struct entry *entry = store_add(store, key, best.candidate.form,
                                  best.ms < 0.0F ? 0 : (uint32_t)(best.ms * 1e6F / RUNS_PER_GRAPH),
                                  best.candidate.text);
  if (entry != NULL) {
    entry->convolution = best.convolution;
  } else {
    convolution_destroy(emit->device, best.convolution);
  }
  free(candidates);
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

enum err choose(struct choice_store *store, const struct emit *emit, struct choice *ret_choices,
                uint32_t *ret_measured_count, struct error_text *ret_error) {
  uint32_t measured = 0;
  for (uint32_t i = 0; i < emit->batch->ops_count; i++) {
    const struct plan_op *op = &emit->batch->ops[i];
    ret_choices[i] = (struct choice){.form = (enum choice_form)0};
    if (!emit_supports(emit->batch, i, ret_error)) {
      return ERR_UNSUPPORTED;
    }
    if (!is_convolution(op) && op->kind != PLAN_OP_MATMUL && plan_op_kind_gates(op->kind) == 0) {
      continue;
    }

    struct key key;
    if (!key_of(store, emit, op, &key)) {
      ret_choices[i].form = CHOICE_OWN;
      continue;
    }
    struct entry *entry = store_find(store, key);
    if (entry == NULL || !use(emit, op, entry, &ret_choices[i])) {
      if (entry != NULL) { /* what a file said can't be done here */
        entry->key = (struct key){{0, 0}};
        entry->is_used = false;
      }
      entry = search(store, emit, i, key);
      measured++;
      if (entry == NULL || !use(emit, op, entry, &ret_choices[i])) {
        error_text_set(ret_error, "out of memory while measuring");
        return ERR_NO_MEMORY;
      }
    }
    prefer_stem(emit, i, ret_choices);
  }
  *ret_measured_count += measured;
  return ERR_OK;
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
  const enum convolution_extent extent = extent_of(choice->form);
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
