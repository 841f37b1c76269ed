/* A batch size of a model, made ready: oneDNN primitives and own code in the order in which they
 * run, and where each operand lies.
 *
 * A program is made once (lower.h) and never changed; it is shared by all devices and by all
 * instances of its package. What changes from one execution to the next, the addresses of its four
 * places, is kept in a run, of which each device has one.
 */
#ifndef CLOCKWORK_BACKEND_CPU_PROGRAM_H
#define CLOCKWORK_BACKEND_CPU_PROGRAM_H

#include <oneapi/dnnl/dnnl.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "package/plan.h"

/* INPUT and OUTPUT lie as in the plan. WEIGHTS and WORKSPACE are of the backend's own making. */
enum program_place {
  PROGRAM_INPUT,
  PROGRAM_OUTPUT,
  PROGRAM_WEIGHTS,
  PROGRAM_WORKSPACE,
  PROGRAM_PLACES
};

struct program_area {
  enum program_place place;
  uint32_t storage; /* WORKSPACE, while the program is made: of which storage; else unused */
  uint64_t offset_bytes;
};

struct program_memory {
  struct program_area area;
  dnnl_memory_desc_t desc;
};

struct program_argument {
  int name; /* DNNL_ARG_... */
  uint32_t memory;
};

/* An operation that kernels/ computes. tensors[i] lies at areas[i]; the operation counts in them.
 */
struct program_kernel {
  struct plan_op op;
  struct plan_tensor *tensors;
  struct program_area *areas;
  uint32_t tensors_count;
  uint32_t parts;       /* threads that share it */
  size_t scratch_bytes; /* of each part */
  struct program_area scratch;
  uint32_t first_data; /* of this kernel's addresses in a run */
};

enum { PROGRAM_NATIVE_AREAS = 10 };

/* What this backend computes itself: run() is called once for each part, with `shape` and with the
 * addresses of its areas in their order (NULL: an area whose place is PROGRAM_PLACES). */
struct program_native {
  void (*run)(const void *shape, unsigned char *const *data, uint32_t part, uint32_t parts);
  void *shape; /* the step's own, on the heap */
  struct program_area areas[PROGRAM_NATIVE_AREAS];
  uint32_t areas_count;
  uint32_t parts;      /* threads that share it */
  uint32_t first_data; /* of its addresses in a run */
};

/* One of the three is there. */
struct program_step {
  dnnl_primitive_t primitive;
  uint32_t first_argument;
  uint32_t arguments_count;
  struct program_kernel *kernel;
  struct program_native *native;
  enum plan_op_kind kind; /* of the operation that it belongs to, for reports */
  char what[24];          /* "jit:avx2", "kernel", ...: what runs it, for reports */
};

struct program {
  uint32_t batch_size;
  uint32_t steps_count;
  struct program_step *steps;
  uint32_t memories_count;
  struct program_memory *memories;
  uint32_t arguments_count;
  struct program_argument *arguments;
  uint32_t data_count; /* addresses of all kernels' tensors and natives' areas */
  uint64_t input_bytes;
  uint64_t output_bytes;
  uint64_t workspace_bytes;
};

/* Accepts NULL and one that is half made. */
void program_destroy(struct program *program);

/* The addresses of one execution. */
struct program_bases {
  unsigned char *at[PROGRAM_PLACES];
};

struct program_run;

/* A run of this program, for one thread at a time. NULL: no memory. `program` must outlive it. */
struct program_run *program_run_create(const struct program *program, dnnl_engine_t engine);
void program_run_destroy(struct program_run *run); /* accepts NULL */

/* Execute once on the calling thread and its team. ERR_IO: oneDNN gave up. Cost beyond the
 * operations themselves: about 0.1 us a memory whose place has moved since the last time. */
MUST_USE enum err program_run_execute(struct program_run *run, dnnl_stream_t stream,
                                      const struct program_bases *bases);

/* Likewise, and adds each step's time to ret_step_ns[steps_count]; for reports. */
MUST_USE enum err program_run_profile(struct program_run *run, dnnl_stream_t stream,
                                      const struct program_bases *bases, int64_t *ret_step_ns);

#endif
