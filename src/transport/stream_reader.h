/* Frames out of a byte stream, without any I/O: bytes in, frames out.
 *
 * The caller offers bytes as they come; the reader hands out frames whose meta lies in those bytes
 * where possible. It asks for memory when it needs some, so it never allocates:
 *
 *   for (;;) {
 *     switch (stream_reader_next(&reader, &bytes, &count)) {
 *     case STREAM_NEEDS_BYTES:  all of `bytes` were taken: read more, then go on.
 *     case STREAM_NEEDS_META:   give memory for reader.header.meta_bytes,
 * stream_reader_give_meta(). case STREAM_NEEDS_BODY:   give memory for reader.header.body_bytes,
 * stream_reader_give_body(); or keep `bytes` and go on later (nothing is lost by waiting). case
 * STREAM_HAS_FRAME:    reader.header and reader.meta are a whole frame, until the next call. case
 * STREAM_MALFORMED:    not our stream: close it. Every later call says so again.
 *     }
 *   }
 *
 * Between STREAM_NEEDS_BYTES and the next call, stream_reader_window() tells where the next bytes
 * belong, so that a long body is received in place.
 *
 * Guarantee: on any bytes, cut anywhere, the same frames come out; nothing is read or written
 * outside of what was offered or given. Pure. Cost: header work plus one copy of what is not in
 * place.
 */
#ifndef CLOCKWORK_TRANSPORT_STREAM_READER_H
#define CLOCKWORK_TRANSPORT_STREAM_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/frame.h"

enum stream_status {
  STREAM_NEEDS_BYTES,
  STREAM_NEEDS_META,
  STREAM_NEEDS_BODY,
  STREAM_HAS_FRAME,
  STREAM_MALFORMED,
};

enum stream_phase_ {
  STREAM_PHASE_HEADER_,
  STREAM_PHASE_META_,
  STREAM_PHASE_BODY_,
  STREAM_PHASE_BROKEN_,
};

struct stream_reader {
  /* Results: valid as the status says. */
  struct frame_header header;
  const unsigned char *meta; /* never NULL with a frame; may point to no bytes */
  enum err error;            /* STREAM_MALFORMED: ERR_MALFORMED, ERR_VERSION or ERR_TOO_LARGE */

  /* The reader's own. */
  uint32_t meta_bytes_max;
  uint32_t body_bytes_max;
  enum stream_phase_ phase;
  uint32_t filled_bytes; /* of the part that `phase` names */
  unsigned char *meta_memory;
  uint32_t meta_capacity_bytes;
  unsigned char *body_memory;
  unsigned char header_bytes[FRAME_HEADER_BYTES];
};

/* Frames that declare more than these are malformed (ERR_TOO_LARGE), before any memory is asked
 * for. */
void stream_reader_init(struct stream_reader *reader, uint32_t meta_bytes_max,
                        uint32_t body_bytes_max);

/* Take from `*bytes` (advanced, `*count` lowered) until something must be told. */
enum stream_status stream_reader_next(struct stream_reader *reader, const unsigned char **bytes,
                                      size_t *count);

/* After STREAM_NEEDS_META: memory of at least header.meta_bytes. It stays the caller's, is kept for
 * later frames, and may be replaced or taken away (NULL, 0) whenever stream_reader_is_between(). */
void stream_reader_give_meta(struct stream_reader *reader, unsigned char *memory,
                             uint32_t capacity_bytes);

/* After STREAM_NEEDS_BODY: memory of header.body_bytes for this one frame's body. The reader
 * forgets it when the frame has been handed out. */
void stream_reader_give_body(struct stream_reader *reader, unsigned char *memory);

/* Where the next bytes of the stream may be received in place: the rest of a body, or of a meta
 * that has its own memory. Returns how many belong there, 0: nowhere particular. After receiving n
 * of them call stream_reader_on_received(n), then stream_reader_next() with no bytes. */
size_t stream_reader_window(const struct stream_reader *reader, unsigned char **ret_memory);
void stream_reader_on_received(struct stream_reader *reader, size_t count);

/* True when no byte of a next frame has been taken: the stream may end here. */
bool stream_reader_is_between(const struct stream_reader *reader);

#endif
