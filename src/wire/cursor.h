/* Reading and writing little-endian fields over a byte buffer, with one check at the end.
 *
 * A reader that runs past its end yields zeros and remembers it; a writer that runs out of room
 * writes nothing more and remembers it. So a message is decoded field by field and judged once,
 * with wire_reader_finish().
 */
#ifndef CLOCKWORK_WIRE_CURSOR_H
#define CLOCKWORK_WIRE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

struct wire_reader {
  const unsigned char *at;
  size_t left_bytes;
  bool has_failed;
};

struct wire_writer {
  unsigned char *start;
  size_t capacity_bytes;
  size_t used_bytes;
  bool has_failed;
};

static inline struct wire_reader wire_reader_over(const void *bytes, size_t count) {
  return (struct wire_reader){.at = bytes, .left_bytes = count};
}

static inline struct wire_writer wire_writer_over(void *bytes, size_t capacity) {
  return (struct wire_writer){.start = bytes, .capacity_bytes = capacity};
}

/* The next `count` bytes in place, NULL past the end. */
static inline const unsigned char *wire_read_bytes(struct wire_reader *reader, size_t count) {
  if (reader->has_failed || count > reader->left_bytes) {
    reader->has_failed = true;
    return NULL;
  }
  const unsigned char *bytes = reader->at;
  reader->at += count;
  reader->left_bytes -= count;
  return bytes;
}

static inline uint64_t wire_read_little_(struct wire_reader *reader, size_t count) {
  const unsigned char *bytes = wire_read_bytes(reader, count);
  uint64_t value = 0;
  if (bytes != NULL) {
    for (size_t i = count; i > 0; i--) {
      value = value << 8 | bytes[i - 1];
    }
  }
  return value;
}

static inline uint8_t wire_read_u8(struct wire_reader *reader) {
  return (uint8_t)wire_read_little_(reader, 1);
}

static inline uint16_t wire_read_u16(struct wire_reader *reader) {
  return (uint16_t)wire_read_little_(reader, 2);
}

static inline uint32_t wire_read_u32(struct wire_reader *reader) {
  return (uint32_t)wire_read_little_(reader, 4);
}

static inline uint64_t wire_read_u64(struct wire_reader *reader) {
  return wire_read_little_(reader, 8);
}

static inline int64_t wire_read_i64(struct wire_reader *reader) {
  return (int64_t)wire_read_little_(reader, 8);
}

/* ERR_MALFORMED if a field lay past the end or bytes are left over. */
static inline enum err wire_reader_finish(const struct wire_reader *reader) {
  return reader->has_failed || reader->left_bytes != 0 ? ERR_MALFORMED : ERR_OK;
}

static inline void wire_write_bytes(struct wire_writer *writer, const void *bytes, size_t count) {
  if (writer->has_failed || count > writer->capacity_bytes - writer->used_bytes) {
    writer->has_failed = true;
    return;
  }
  if (count > 0) {
    memcpy(writer->start + writer->used_bytes, bytes, count);
  }
  writer->used_bytes += count;
}

static inline void wire_write_little_(struct wire_writer *writer, uint64_t value, size_t count) {
  unsigned char bytes[8];
  for (size_t i = 0; i < count; i++) {
    bytes[i] = (unsigned char)(value >> (8 * i));
  }
  wire_write_bytes(writer, bytes, count);
}

static inline void wire_write_u8(struct wire_writer *writer, uint8_t value) {
  wire_write_little_(writer, value, 1);
}

static inline void wire_write_u16(struct wire_writer *writer, uint16_t value) {
  wire_write_little_(writer, value, 2);
}

static inline void wire_write_u32(struct wire_writer *writer, uint32_t value) {
  wire_write_little_(writer, value, 4);
}

static inline void wire_write_u64(struct wire_writer *writer, uint64_t value) {
  wire_write_little_(writer, value, 8);
}

static inline void wire_write_i64(struct wire_writer *writer, int64_t value) {
  wire_write_little_(writer, (uint64_t)value, 8);
}

#endif
