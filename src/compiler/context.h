/* What every part of one compilation shares: memory, failure, limits.
 *
 * Failure is a longjmp to the entry point: all memory is the arena's, so there is nothing to
 * unwind, and lowering an operator reads as what it does.
 */
#ifndef CLOCKWORK_COMPILER_CONTEXT_H
#define CLOCKWORK_COMPILER_CONTEXT_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "compiler/compiler.h"

/* Limits that keep a hostile file from costing more than the arena and some seconds. */
#define CONTEXT_TENSOR_BYTES_MAX (UINT64_C(1) << 35)
#define CONTEXT_FOLD_BYTES_ALWAYS (UINT64_C(1) << 22)
#define CONTEXT_FOLD_WORK_MAX (UINT64_C(1) << 34)

struct context {
  struct arena *arena;
  size_t arena_dirty_bytes; /* below this the arena's bytes may not be zero any more */
  jmp_buf failed;
  enum err error;
  struct compile_fault *fault;
  uint64_t fold_work; /* scalar steps that constant folding has taken */
  const char *place;  /* "Conv 'conv1'": put in front of a failure's text; "" outside nodes */
};

/* Ends the compilation. */
_Noreturn __attribute__((format(printf, 3, 4))) void
context_fail(struct context *context, enum err error, const char *format, ...);

/* Zeroed, aligned to 64 bytes; fails with ERR_NO_MEMORY. */
void *context_take(struct context *context, uint64_t count, size_t element_bytes);

/* Likewise, but not zeroed: for bytes that are all written next. NULL if there is no room. */
void *context_try_take(struct context *context, uint64_t bytes);

/* Memory taken since `context_mark()` is given back. */
size_t context_mark(const struct context *context);
void context_release(struct context *context, size_t mark);

/* Zeroed memory that context_release() leaves alone: for what the result is made of. Carved from
 * the arena's far end. */
void *context_keep(struct context *context, uint64_t count, size_t element_bytes);

/* "text", in context memory. */
__attribute__((format(printf, 2, 3))) const char *context_text(struct context *context,
                                                               const char *format, ...);

/* Room for one more element in an array that grows by doubling. `*array` of `*capacity` elements.
 */
void context_grow(struct context *context, void **array, uint32_t *capacity, uint32_t count,
                  size_t element_bytes);

#endif
