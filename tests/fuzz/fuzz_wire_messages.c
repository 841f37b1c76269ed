/* Any bytes through every decoder of wire/messages.h.
 *
 * The first byte chooses the message, the rest is its meta. What decodes must encode to the very
 * bytes it was read from, and no message may be complete before its last byte. Built with
 * libFuzzer: LLVMFuzzerTestOneInput.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union message {
#define MEMBER_(name) struct wire_##name name;
  WIRE_MESSAGES(MEMBER_)
#undef MEMBER_
};

struct kind {
  enum err (*decode)(struct wire_reader *reader, union message *ret_message);
  void (*encode)(struct wire_writer *writer, const union message *message);
};

#define WRAP_(name)                                                                                \
  static enum err decode_##name(struct wire_reader *reader, union message *ret_message) {          \
    return wire_decode_##name(reader, &ret_message->name);                                         \
  }                                                                                                \
  static void encode_##name(struct wire_writer *writer, const union message *message) {            \
    wire_encode_##name(writer, &message->name);                                                    \
  }
WIRE_MESSAGES(WRAP_)
#undef WRAP_

static const struct kind KINDS[] = {
#define ENTRY_(name) {decode_##name, encode_##name},
    WIRE_MESSAGES(ENTRY_)
#undef ENTRY_
};

static void check_round_trip(const struct kind *kind, const union message *message,
                             const unsigned char *bytes, size_t count) {
  CHECK_LE(count, WIRE_META_BYTES_SMALL);
  unsigned char encoded[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(encoded, sizeof(encoded));
  kind->encode(&writer, message);
  CHECK(!writer.has_failed);
  CHECK_EQ(writer.used_bytes, count);
  CHECK_EQ(memcmp(encoded, bytes, count), 0);

  /* Room for one byte less: it says so, and what was there stays. */
  encoded[count - 1] = 0x5a;
  struct wire_writer narrow = wire_writer_over(encoded, count - 1);
  kind->encode(&narrow, message);
  CHECK(narrow.has_failed);
  CHECK_EQ(encoded[count - 1], 0x5a);
}

/* Copies that are just as long as they say, so that ASan sees a step outside. */
static void check_truncated(const struct kind *kind, const unsigned char *bytes, size_t count) {
  for (size_t shorter = 0; shorter < count; shorter++) {
    unsigned char *copy = malloc(shorter + 1);
    CHECK(copy != NULL);
    memcpy(copy + 1, bytes, shorter);
    union message message;
    memset(&message, 0, sizeof(message));
    struct wire_reader reader = wire_reader_over(copy + 1, shorter);
    CHECK_NE(kind->decode(&reader, &message), ERR_OK);
    CHECK_EQ(wire_reader_finish(&reader), ERR_MALFORMED);
    free(copy);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) {
    return 0;
  }
  const struct kind *kind = &KINDS[data[0] % (sizeof(KINDS) / sizeof(KINDS[0]))];
  const unsigned char *bytes = data + 1;
  union message message;
  memset(&message, 0, sizeof(message));
  struct wire_reader reader = wire_reader_over(bytes, size - 1);
  if (kind->decode(&reader, &message) != ERR_OK) {
    CHECK_EQ(wire_reader_finish(&reader), ERR_MALFORMED);
    return 0;
  }
  const size_t used = (size_t)(reader.at - bytes);
  CHECK_EQ(used + reader.left_bytes, size - 1);
  CHECK_EQ(wire_reader_finish(&reader), reader.left_bytes == 0 ? ERR_OK : ERR_MALFORMED);
  check_round_trip(kind, &message, bytes, used);
  check_truncated(kind, bytes, used);
  return 0;
}
