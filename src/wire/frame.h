/* Frames: how every message between client, controller and worker stands in a byte stream.
 *
 *   offset  0  magic "CWK1"       the last character is the protocol's version
 *           4  type      u16      enum wire_type
 *           6  reserved  u16      0
 *           8  meta_bytes u32     the message's fields (wire/messages.h)
 *          12  body_bytes u32     bulk data after them: inputs or outputs, never looked into here
 *          16  meta, then body
 *
 * All integers are little endian. Readers go byte by byte: no alignment, no casts of buffers.
 * Pure; every function is safe on any bytes.
 */
#ifndef CLOCKWORK_WIRE_FRAME_H
#define CLOCKWORK_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
  FRAME_HEADER_BYTES = 16,
  /* A worker's state with 100,000 models on each of 100 GPUs is 40 MB; nothing else comes near. */
  FRAME_META_BYTES_MAX = 64 * 1024 * 1024,
  /* A batch of 64 inputs of 4 MB. */
  FRAME_BODY_BYTES_MAX = 256 * 1024 * 1024,
};

struct frame_header {
  uint16_t type;
  uint32_t meta_bytes;
  uint32_t body_bytes;
};

void frame_header_encode(const struct frame_header *header,
                         unsigned char ret_bytes[FRAME_HEADER_BYTES]);

/* ERR_MALFORMED: not our magic; ERR_VERSION: our magic, another version; ERR_TOO_LARGE: a size
 * above its maximum. `ret_header` is written on success only. */
MUST_USE enum err frame_header_decode(const unsigned char bytes[FRAME_HEADER_BYTES],
                                      struct frame_header *ret_header);

#endif
