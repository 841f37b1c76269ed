/* How each convolution and product of a program is run: found by measuring what the libraries
 * propose, on the memory that it will run in, and kept.
 *
 * A store holds what was found on one kind of device, by problem: layers of one shape, copies,
 * batch sizes and models share it. It is written beside the package ("model.choices.DEVICE"), so
 * that loading again, and loading on another GPU of the kind, measures nothing: a line each with
 * the problem's hash, the form, the nanoseconds of one run, and the library's setting. A line that
 * this version of a library does not understand is measured anew.
 *
 * Thread: the loader's, with the device entered. Cost of one new problem: tens of milliseconds of
 * the GPU's time.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_CHOICES_H
#define CLOCKWORK_BACKEND_CUDA_CHOICES_H

#include "backend/cuda/convolution.h"
#include "backend/cuda/product.h"

enum choice_form {
  CHOICE_OWN = 1,           /* this backend's kernel */
  CHOICE_CONVOLUTION = 2,   /* cuDNN, all in one */
  CHOICE_CONVOLUTION_BARE,  /* cuDNN for the sum, then the epilogue's kernel */
  CHOICE_PRODUCT,           /* cuBLASLt, all in one */
  CHOICE_PRODUCT_BARE,      /* cuBLASLt, then the epilogue's kernel */
  CHOICE_CONVOLUTION_ASIDE, /* the same, from scratch memory, where the sum went */
  CHOICE_STEM,              /* emit_stem(), which also does what `source` and those behind would */
  CHOICE_SKIPPED,           /* nothing: CHOICE_STEM reads what this would reorder */
  CHOICE_FORMS_END,
};

struct choice {
  enum choice_form form; /* 0: the operation needs none */
  const struct convolution *convolution;
  cublasLtMatmulAlgo_t algorithm;
  uint32_t source; /* CHOICE_STEM */
};

struct choice_store;

/* One per device. NULL: out of memory. `compiled`: also engines of cuDNN that are compiled when
 * first used, which takes about a second for each that is tried. */
struct choice_store *choice_store_create(bool compiled);

/* Accepts NULL. The device must be entered: its plans are given back. */
void choice_store_destroy(const struct device *device, struct choice_store *store);

/* Add the lines of a file that an earlier run wrote; one that isn't there, or is damaged, adds
 * nothing. `device_name` is part of the file's name. */
void choice_store_read(struct choice_store *store, const struct device *device,
                       const char *package_path);

/* Write those that were looked up since choice_store_read(). A folder that can't be written to is
 * no error: the next load measures again. */
void choice_store_write(struct choice_store *store, const struct device *device,
                        const char *package_path);

/* For every operation of the emitter's batch: ret_choices[ops_count]. Measures what isn't known.
 * ERR_UNSUPPORTED, ERR_IO, ERR_NO_MEMORY: `ret_error` names the operation. */
MUST_USE enum err choose(struct choice_store *store, const struct emit *emit,
                         struct choice *ret_choices, uint32_t *ret_measured_count,
                         struct error_text *ret_error);

/* What one run of operation `op_index` takes, in nanoseconds, repeated in a graph of its own as the
 * search does; negative: it failed. */
int64_t choice_time(const struct emit *emit, uint32_t op_index);

/* Run the convolution or product `op_index` as chosen. */
CUresult choice_emit(const struct emit *emit, uint32_t op_index, const struct choice *choice);

#endif
