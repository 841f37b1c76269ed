/* Measured profiles: a table of models with their sizes and durations on one kind of GPU.
 *
 * Text, tab separated, one header row, one row a model (zoo/profiles/ has some):
 *   model input_bytes output_bytes weights_bytes load_ms b1_ms b2_ms b4_ms b8_ms b16_ms
 * Any set of batch columns bN_ms is allowed as long as N rises from 1. Milliseconds are decimal
 * numbers, read to the nanosecond. Empty lines are skipped; a line that starts with '#' is a
 * comment;
 * "# clock_mhz: 1380" gives the GPU clock of the measurements below it, else PROFILE_CLOCK_MHZ
 * holds.
 */
#ifndef CLOCKWORK_MODEL_PROFILE_H
#define CLOCKWORK_MODEL_PROFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"

/* The boost clock of an NVIDIA V100 (data sheet, SXM2: 1,530 MHz; PCIe: 1,380 MHz). */
enum { PROFILE_CLOCK_MHZ = 1380 };

struct profile_fault {
  uint32_t line;       /* from 1 */
  const char *message; /* static storage: the field and its mend */
};

/* Parse `text` into at most `capacity` specs. On ERR_MALFORMED or ERR_FULL (more rows than
 * capacity) *ret_fault says where and why, *ret_count is untouched and ret_specs may be
 * overwritten. Cost O(bytes + rows^2), because names must differ. */
MUST_USE enum err profile_parse(const char *text, size_t text_bytes, struct model_spec *ret_specs,
                                uint32_t capacity, uint32_t *ret_count,
                                struct profile_fault *ret_fault);

/* The row with that name; NULL if there is none. O(count). */
const struct model_spec *profile_find(const struct model_spec *specs, uint32_t count,
                                      const char *name);

#endif
