#include "wire/frame.h"

#include <string.h>

#include "wire/cursor.h"

static const unsigned char FRAME_MAGIC[4] = {'C', 'W', 'K', '1'};

void frame_header_encode(const struct frame_header *header,
                         unsigned char ret_bytes[FRAME_HEADER_BYTES]) {
  struct wire_writer writer = wire_writer_over(ret_bytes, FRAME_HEADER_BYTES);
  wire_write_bytes(&writer, FRAME_MAGIC, sizeof(FRAME_MAGIC));
  wire_write_u16(&writer, header->type);
  wire_write_u16(&writer, 0);
  wire_write_u32(&writer, header->meta_bytes);
  wire_write_u32(&writer, header->body_bytes);
}

enum err frame_header_decode(const unsigned char bytes[FRAME_HEADER_BYTES],
                             struct frame_header *ret_header) {
  if (memcmp(bytes, FRAME_MAGIC, 3) != 0) {
    return ERR_MALFORMED;
  }
  if (bytes[3] != FRAME_MAGIC[3]) {
    return ERR_VERSION;
  }
  struct wire_reader reader = wire_reader_over(bytes + 4, FRAME_HEADER_BYTES - 4);
  const uint16_t type = wire_read_u16(&reader);
  const uint16_t reserved = wire_read_u16(&reader);
  const uint32_t meta_bytes = wire_read_u32(&reader);
  const uint32_t body_bytes = wire_read_u32(&reader);
  if (reserved != 0) {
    return ERR_MALFORMED;
  }
  if (meta_bytes > FRAME_META_BYTES_MAX || body_bytes > FRAME_BODY_BYTES_MAX) {
    return ERR_TOO_LARGE;
  }
  *ret_header =
      (struct frame_header){.type = type, .meta_bytes = meta_bytes, .body_bytes = body_bytes};
  return ERR_OK;
}
