#include "transport/stream_reader.h"

#include <string.h>

#include "base/check.h"

void stream_reader_init(struct stream_reader *reader, uint32_t meta_bytes_max,
                        uint32_t body_bytes_max) {
  *reader = (struct stream_reader){.meta_bytes_max = meta_bytes_max,
                                   .body_bytes_max = body_bytes_max,
                                   .phase = STREAM_PHASE_HEADER_};
}

/* Move what is there into `memory`, of which reader->filled_bytes of `wanted` are there already.
 * True when it is full. */
static bool stream_reader_fill(struct stream_reader *reader, unsigned char *memory, uint32_t wanted,
                               const unsigned char **bytes, size_t *count) {
  const size_t lacking = wanted - reader->filled_bytes;
  const size_t taken = *count < lacking ? *count : lacking;
  if (taken > 0) {
    memcpy(memory + reader->filled_bytes, *bytes, taken);
    *bytes += taken;
    *count -= taken;
    reader->filled_bytes += (uint32_t)taken;
  }
  return taken == lacking;
}

static enum stream_status stream_reader_break(struct stream_reader *reader, enum err error) {
  reader->phase = STREAM_PHASE_BROKEN_;
  reader->error = error;
  return STREAM_MALFORMED;
}

/* ERR_OK with phase META, or what is wrong with the header. */
static enum err stream_reader_accept_header(struct stream_reader *reader,
                                            const unsigned char *bytes) {
  const enum err err = frame_header_decode(bytes, &reader->header);
  if (err != ERR_OK) {
    return err;
  }
  if (reader->header.meta_bytes > reader->meta_bytes_max ||
      reader->header.body_bytes > reader->body_bytes_max) {
    return ERR_TOO_LARGE;
  }
  reader->phase = STREAM_PHASE_META_;
  reader->filled_bytes = 0;
  return ERR_OK;
}

static enum stream_status stream_reader_finish_frame(struct stream_reader *reader) {
  reader->phase = STREAM_PHASE_HEADER_;
  reader->filled_bytes = 0;
  reader->body_memory = NULL;
  return STREAM_HAS_FRAME;
}

/* The whole rest of the frame lies in the input: the meta stays there. */
static enum stream_status stream_reader_take_whole(struct stream_reader *reader,
                                                   const unsigned char **bytes, size_t *count) {
  const size_t meta_bytes = reader->header.meta_bytes;
  const size_t body_bytes = reader->header.body_bytes;
  reader->meta = meta_bytes > 0 ? *bytes : reader->header_bytes;
  if (body_bytes > 0) {
    memcpy(reader->body_memory, *bytes + meta_bytes, body_bytes);
  }
  if (meta_bytes + body_bytes > 0) { /* `*bytes` may be NULL when nothing is offered */
    *bytes += meta_bytes + body_bytes;
    *count -= meta_bytes + body_bytes;
  }
  return stream_reader_finish_frame(reader);
}

enum stream_status stream_reader_next(struct stream_reader *reader, const unsigned char **bytes,
                                      size_t *count) {
  if (reader->phase == STREAM_PHASE_BROKEN_) {
    return STREAM_MALFORMED;
  }
  if (reader->phase == STREAM_PHASE_HEADER_) {
    const unsigned char *header = reader->header_bytes;
    if (reader->filled_bytes == 0 && *count >= FRAME_HEADER_BYTES) {
      header = *bytes;
      *bytes += FRAME_HEADER_BYTES;
      *count -= FRAME_HEADER_BYTES;
    } else if (!stream_reader_fill(reader, reader->header_bytes, FRAME_HEADER_BYTES, bytes,
                                   count)) {
      return STREAM_NEEDS_BYTES;
    }
    const enum err err = stream_reader_accept_header(reader, header);
    if (err != ERR_OK) {
      return stream_reader_break(reader, err);
    }
  }
  const uint32_t meta_bytes = reader->header.meta_bytes;
  const uint32_t body_bytes = reader->header.body_bytes;
  if (body_bytes > 0 && reader->body_memory == NULL) {
    return STREAM_NEEDS_BODY;
  }
  if (reader->phase == STREAM_PHASE_META_) {
    if (reader->filled_bytes == 0 && *count >= (size_t)meta_bytes + body_bytes) {
      return stream_reader_take_whole(reader, bytes, count);
    }
    if (*count == 0 && reader->filled_bytes == 0) {
      return STREAM_NEEDS_BYTES; /* the rest may come in one piece */
    }
    if (meta_bytes > 0) {
      if (reader->meta_capacity_bytes < meta_bytes) {
        return STREAM_NEEDS_META;
      }
      if (!stream_reader_fill(reader, reader->meta_memory, meta_bytes, bytes, count)) {
        return STREAM_NEEDS_BYTES;
      }
    }
    reader->meta = meta_bytes > 0 ? reader->meta_memory : reader->header_bytes;
    reader->phase = STREAM_PHASE_BODY_;
    reader->filled_bytes = 0;
  }
  if (!stream_reader_fill(reader, reader->body_memory, body_bytes, bytes, count)) {
    return STREAM_NEEDS_BYTES;
  }
  return stream_reader_finish_frame(reader);
}

void stream_reader_give_meta(struct stream_reader *reader, unsigned char *memory,
                             uint32_t capacity_bytes) {
  CHECK(reader->phase == STREAM_PHASE_HEADER_ || reader->filled_bytes == 0);
  CHECK_NE(reader->phase, STREAM_PHASE_BODY_); /* the meta lies in the old memory */
  reader->meta_memory = memory;
  reader->meta_capacity_bytes = capacity_bytes;
}

void stream_reader_give_body(struct stream_reader *reader, unsigned char *memory) {
  CHECK_EQ(reader->phase, STREAM_PHASE_META_);
  CHECK(reader->body_memory == NULL);
  reader->body_memory = memory;
}

size_t stream_reader_window(const struct stream_reader *reader, unsigned char **ret_memory) {
  unsigned char *memory = NULL;
  size_t wanted = 0;
  if (reader->phase == STREAM_PHASE_BODY_) {
    memory = reader->body_memory;
    wanted = reader->header.body_bytes;
  } else if (reader->phase == STREAM_PHASE_META_ && reader->filled_bytes > 0) {
    memory = reader->meta_memory;
    wanted = reader->header.meta_bytes;
  } else {
    return 0;
  }
  *ret_memory = memory + reader->filled_bytes;
  return wanted - reader->filled_bytes;
}

void stream_reader_on_received(struct stream_reader *reader, size_t count) {
  unsigned char *memory;
  CHECK_LE(count, stream_reader_window(reader, &memory));
  reader->filled_bytes += (uint32_t)count;
}

bool stream_reader_is_between(const struct stream_reader *reader) {
  return reader->phase == STREAM_PHASE_HEADER_ && reader->filled_bytes == 0;
}
