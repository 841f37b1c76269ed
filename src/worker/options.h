/* What the worker was told: command line, environment and config file, in one struct.
 *
 * Each setting is declared once, in the table of options.c: from there come the default, the long
 * option, the field of the config file, the check and the help text. The command line wins over the
 * file, the file over the defaults. */
#ifndef CLOCKWORK_WORKER_OPTIONS_H
#define CLOCKWORK_WORKER_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"
#include "os/address.h"
#include "os/error_text.h"

enum {
  WORKER_PORT = 12345,
  WORKER_GPUS_MAX = 1024,
};

/* One value for all GPUs, or one per GPU. */
struct gpu_values {
  uint32_t count; /* 0: not given */
  uint64_t values[WORKER_GPUS_MAX];
};

struct options {
  struct address listen;
  char name[48];                /* of this worker in logs and in its state */
  char backend[32];             /* "auto": the best that this machine can run */
  char profile[1024];           /* a file; "": the built-in one */
  uint64_t gpus;                /* 0: not given */
  uint64_t cores_per_gpu;       /* 0: not given */
  struct gpu_values pages;      /* of MODEL_PAGE_BYTES, for weights; none: what the backend has */
  struct gpu_values clock_mhz;  /* none: the profile's */
  struct gpu_values lose_after; /* executions of an emulated GPU until it is lost; 0, none: never */
  uint64_t seed;
  uint64_t jitter_ppm;
  uint64_t transfer_jitter_ppm;
  uint64_t io_bytes;        /* per GPU */
  uint64_t workspace_bytes; /* per GPU */
  uint64_t page_bytes;
  /* Three times on the host: for inputs as they came, for inputs decompressed, for outputs. */
  uint64_t host_io_bytes;
  uint64_t models;                  /* model ids are below this */
  uint64_t actions;                 /* accepted and without result yet */
  char model_dir[MODEL_PATH_BYTES]; /* CLOCKWORK_MODEL_DIR; "": none */
};

enum options_outcome {
  OPTIONS_RUN,
  OPTIONS_EXIT_OK,    /* help or version was wanted and printed */
  OPTIONS_EXIT_USAGE, /* one line on standard error says what is wrong and what would mend it */
};

/* Reads the environment too. Prints. */
enum options_outcome options_parse(int argc, char *const *argv, struct options *ret_options);

/* The value at `values` of GPU `gpu_index`. At least one must have been given (CHECK). */
uint64_t gpu_values_at(const struct gpu_values *values, uint32_t gpu_index);

/* ---- for config_file.c ----------------------------------------------------------------------- */

enum setting_kind {
  SETTING_TEXT,
  SETTING_ADDRESS,
  SETTING_NUMBER,
  SETTING_NUMBERS,     /* struct gpu_values */
  SETTING_CACHE_BYTES, /* bytes, kept as pages in a struct gpu_values */
};

struct setting {
  const char *option; /* the long option, NULL: only in the file */
  const char *field;  /* in the file */
  enum setting_kind kind;
  size_t offset_bytes; /* in struct options */
  uint64_t min;        /* SETTING_TEXT: unused */
  uint64_t max;        /* SETTING_TEXT: the array's size */
  const char *argument;
  const char *default_text; /* NULL: none */
  const char *help;
};

/* NULL if there is no such field. */
const struct setting *setting_of_field(const char *field);

/* All fields, ", " between them. */
void settings_list_fields(size_t capacity, char *ret_text);

/* ERR_MALFORMED or ERR_RANGE: `ret_error` says what it must be, without naming the setting; the
 * option is untouched. */
MUST_USE enum err setting_apply_text(const struct setting *setting, const char *text,
                                     struct options *options, struct error_text *ret_error);
MUST_USE enum err setting_apply_numbers(const struct setting *setting, const uint64_t *numbers,
                                        size_t count, struct options *options,
                                        struct error_text *ret_error);

#endif
