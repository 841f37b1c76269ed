/* ONNX bytes in, a plan and weights bytes out.
 *
 * Guarantees. Any bytes are safe: a damaged, truncated, hostile or absurdly large file is refused,
 * with one line that says why, in time and memory that the arena and COMPILE_* bound; nothing
 * aborts. A plan that comes out was accepted by plan_check() and computes what ONNX says the graph
 * computes, up to rounding; what can't be compiled so is refused as ERR_UNSUPPORTED. The same input
 * gives the same output bytes.
 *
 * The front end runs once per batch size, with the batch bound to its number: all shapes are
 * concrete, and what depends on shapes alone is computed here and not while serving. Weights are
 * shared between batch sizes by content.
 *
 * Pure: any thread, one per compiler. Memory comes from the caller's arena and is given back with
 * it; nothing of the result outlives the arena, the ONNX bytes or the external files.
 */
#ifndef CLOCKWORK_COMPILER_COMPILER_H
#define CLOCKWORK_COMPILER_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "package/plan.h"

enum {
  COMPILE_OPSET_MIN = 7,
  COMPILE_OPSET_MAX = 21,
  COMPILE_SHAPES_MAX = PLAN_PORTS_MAX,
  COMPILE_EXTERNALS_MAX = 4096,
};

/* What went wrong, for one line of a message. */
struct compile_fault {
  char text[512]; /* NUL terminated */
};

/* Dimensions given for one input: --shape name=Nx3x224x224. */
struct compile_shape {
  const char *name;
  uint32_t rank;
  uint32_t dims[PLAN_RANK_MAX]; /* 0: the batch ("N") */
};

struct compile_options {
  const char *name; /* of the model; shortened to MODEL_NAME_BYTES */
  enum plan_precision precision;
  uint32_t batch_kinds; /* 1 .. MODEL_BATCH_KINDS */
  const uint32_t *batch_sizes;
  bool batch_sizes_asked; /* false: a model without a batch axis is compiled for 1 alone */
  uint32_t shapes_count;
  const struct compile_shape *shapes;
};

/* A part of the WEIGHTS place; gaps between parts are zero. */
struct compile_weight {
  uint64_t offset_bytes;
  uint64_t bytes;
  const void *data;
};

struct compile_result {
  const struct plan *plan;
  uint32_t weights_count;
  const struct compile_weight *weights; /* rising offsets */
  uint32_t nodes_count;                 /* of the ONNX graph */
  bool batch_reduced; /* the model has no batch axis: compiled for batch 1 alone */
};

struct compiler;

/* Arena bytes that a compilation of this many bytes of model (external files included) needs in any
 * sane case. */
size_t compiler_arena_bytes(uint64_t model_bytes);

/* Parses. ERR_MALFORMED, ERR_TOO_LARGE, ERR_VERSION (opset), ERR_NO_MEMORY. The arena must be fresh
 * (base/arena.h); `bytes` must stay. */
enum err compiler_open(struct arena *arena, const void *bytes, size_t bytes_count,
                       struct compiler **ret_compiler, struct compile_fault *ret_fault);

/* Files beside the model that hold its weights: relative paths without "..", checked. The caller
 * maps each and hands it over before compiler_run(). */
uint32_t compiler_externals_count(const struct compiler *compiler);
const char *compiler_external_path(const struct compiler *compiler, uint32_t external);
void compiler_set_external(struct compiler *compiler, uint32_t external, const void *bytes,
                           uint64_t bytes_count);

/* Compiles. ERR_UNSUPPORTED: the fault names operator, node and what would help. ERR_MALFORMED: the
 * graph is no valid ONNX. ERR_RANGE: an option doesn't fit the model. ERR_TOO_LARGE, ERR_NO_MEMORY.
 * Once per compiler. */
enum err compiler_run(struct compiler *compiler, const struct compile_options *options,
                      const struct compile_result **ret_result, struct compile_fault *ret_fault);

/* The operators that can be compiled, in the table's order; NULL behind the last. */
struct compile_operator {
  const char *domain; /* "" for ONNX's own */
  const char *name;
  const char *family;
  uint32_t opset_first;
  uint32_t opset_last;
};
bool compiler_operator(uint32_t index, struct compile_operator *ret_operator);

#endif
