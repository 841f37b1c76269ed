/* Inputs for the requests: a few made-up pictures for each input size, made and compressed once at
 * the start and sent from where they lie.
 *
 * A picture is planes of 8-bit pixel values as 32-bit floats, flat or smooth in tiles of 8 x 8: few
 * distinct values and neighbours that are alike, which is what LZ4 finds in a decoded photograph at
 * best. Same seed, same pictures.
 */
#ifndef CLOCKWORK_CLIENT_INPUTS_H
#define CLOCKWORK_CLIENT_INPUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "transport/connection.h"
#include "wire/messages.h"

enum {
  /* Enough that no cache on the way serves one picture for all. */
  INPUTS_VARIANTS = 8,
  INPUTS_SIZES_MAX = 64,
  /* What a controller says is not to be trusted with all of our memory. */
  INPUTS_BYTES_MAX = 16 * 1024 * 1024,
};

struct input {
  const unsigned char *raw; /* input_bytes; stays for checking what came out */
  const unsigned char *stored;
  uint32_t stored_bytes;
  enum wire_encoding encoding; /* of `stored`; WIRE_RAW where LZ4 does not make it smaller */
};

struct inputs_of_size {
  uint32_t input_bytes;
  struct input variants[INPUTS_VARIANTS];
};

/* All zero: empty. */
struct inputs {
  struct inputs_of_size sizes[INPUTS_SIZES_MAX];
  uint32_t sizes_count;
};

/* Make the pictures of this size, unless they are there; *ret_size_index names them. ERR_RANGE: no
 * bytes, or more than INPUTS_BYTES_MAX; ERR_FULL: too many sizes; ERR_NO_MEMORY. Cost:
 * milliseconds. */
MUST_USE enum err inputs_prepare(struct inputs *inputs, uint64_t input_bytes, uint64_t seed,
                                 uint32_t *ret_size_index);

/* Any `number`: variants take turns. */
const struct input *inputs_pick(const struct inputs *inputs, uint32_t size_index, uint64_t number);

/* Accepts NULL and a zeroed one. Nothing that was sent may still need them. */
void inputs_finish(struct inputs *inputs);

#endif
