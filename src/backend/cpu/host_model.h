/* A package in host memory, ready to run on every device: programs, weights in the layouts that
 * they want, and what was measured of them. Shared by its copies; each has windows of its own.
 *
 * Made by the loading thread, then read-only but for the runs, each of which belongs to one
 * device's EXECUTE engine.
 */
#ifndef CLOCKWORK_BACKEND_CPU_HOST_MODEL_H
#define CLOCKWORK_BACKEND_CPU_HOST_MODEL_H

#include <stdint.h>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/program.h"
#include "loader/loader.h"

/* Where a port's requests lie: in what a client sends, and in a batch's INPUT or OUTPUT place. */
struct host_port {
  uint64_t request_offset_bytes;
  uint64_t bytes_per_request;
  uint64_t place_offset_bytes[MODEL_BATCH_KINDS];
};

struct host_model {
  struct loaded_package package; /* programs point into its plan */
  struct model_spec spec;
  uint32_t copies;
  struct program *programs[MODEL_BATCH_KINDS]; /* as spec.batch_sizes */
  struct program_run **runs;                   /* [device * MODEL_BATCH_KINDS + kind] */
  uint32_t devices;
  unsigned char *weights;  /* spec.weights_pages whole pages */
  unsigned char **windows; /* [device]: of all copies, spec.weights_pages apart */
  uint32_t inputs_count;
  uint32_t outputs_count;
  struct host_port inputs[PLAN_PORTS_MAX];
  struct host_port outputs[PLAN_PORTS_MAX];
  unsigned char *made_up_input; /* of one request: what a missing one is replaced by */
};

/* What one device offers, and with how many threads it computes. */
struct host_limits {
  uint32_t devices;
  uint32_t cores;
  uint32_t pages;
  uint64_t slot_bytes; /* for input and output of one batch */
  uint64_t workspace_bytes;
};

/* Reads, lowers, converts and measures, on the calling thread and its team. On failure
 * ret_loaded->status and ->reason say why; NULL then. */
struct host_model *host_model_load(const struct host_limits *limits, dnnl_engine_t engine,
                                   const struct backend_load_model *job,
                                   struct backend_loaded_model *ret_loaded);

/* Accepts NULL and a half-made one. */
void host_model_destroy(struct host_model *model);

/* Bytes from the begin of a batch's INPUT place to its OUTPUT place. */
uint64_t host_model_output_offset(const struct program *program);

/* Copy a batch's requests into its INPUT place, or what it answered out of its OUTPUT place.
 * `inputs` and its entries may be NULL. */
void host_model_put_inputs(const struct host_model *model, uint32_t kind, const void *const *inputs,
                           unsigned char *place);
void host_model_get_outputs(const struct host_model *model, uint32_t kind,
                            const unsigned char *place, unsigned char *ret_outputs);

#endif
