/* Any bytes, cut anywhere, through the stream reader (transport/stream_reader.h).
 *
 * The input's first bytes say how to cut the rest. Two readers get the same stream, one whole, one
 * in pieces and through windows: they must tell the same story. Built with libFuzzer:
 * LLVMFuzzerTestOneInput.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "transport/stream_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
  META_MAX = 600,
  BODY_MAX = 2000,
};

/* A reader and a fingerprint of all that it said. */
struct story {
  struct stream_reader reader;
  unsigned char *meta; /* on the heap and just long enough, so that ASan sees a step outside */
  unsigned char *body;
  uint64_t fingerprint;
  uint32_t frames_count;
  enum err error;
};

static void story_add(struct story *story, const unsigned char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    story->fingerprint = (story->fingerprint ^ bytes[i]) * UINT64_C(0x100000001b3);
  }
}

static void story_add_frame(struct story *story) {
  const struct frame_header *header = &story->reader.header;
  CHECK_LE(header->meta_bytes, META_MAX);
  CHECK_LE(header->body_bytes, BODY_MAX);
  CHECK(story->reader.meta != NULL);
  unsigned char bytes[FRAME_HEADER_BYTES];
  frame_header_encode(header, bytes);
  story_add(story, bytes, sizeof(bytes));
  story_add(story, story->reader.meta, header->meta_bytes);
  story_add(story, story->body, header->body_bytes);
  story->frames_count++;
  free(story->body);
  story->body = NULL;
}

static void story_tell(struct story *story, const unsigned char *bytes, size_t count) {
  for (;;) {
    switch (stream_reader_next(&story->reader, &bytes, &count)) {
    case STREAM_NEEDS_BYTES:
      CHECK_EQ(count, 0);
      return;
    case STREAM_NEEDS_META: {
      free(story->meta);
      const uint32_t meta_bytes = story->reader.header.meta_bytes;
      CHECK_GT(meta_bytes, 0);
      CHECK_LE(meta_bytes, META_MAX);
      story->meta = malloc(meta_bytes);
      stream_reader_give_meta(&story->reader, story->meta, meta_bytes);
      break;
    }
    case STREAM_NEEDS_BODY:
      CHECK(story->body == NULL);
      CHECK_GT(story->reader.header.body_bytes, 0);
      CHECK_LE(story->reader.header.body_bytes, BODY_MAX);
      story->body = malloc(story->reader.header.body_bytes);
      stream_reader_give_body(&story->reader, story->body);
      break;
    case STREAM_HAS_FRAME:
      story_add_frame(story);
      break;
    case STREAM_MALFORMED:
      CHECK_NE(story->reader.error, ERR_OK);
      story->error = story->reader.error;
      return;
    }
  }
}

/* One piece, by window where there is one and `by_window` says so. Returns its length. */
static size_t story_tell_piece(struct story *story, const uint8_t *bytes, size_t count,
                               size_t wanted, bool by_window) {
  unsigned char *window = NULL;
  size_t room = stream_reader_window(&story->reader, &window);
  size_t taken = wanted < count ? wanted : count;
  if (by_window && room > 0 && story->error == ERR_OK) {
    taken = taken < room ? taken : room;
    memcpy(window, bytes, taken);
    stream_reader_on_received(&story->reader, taken);
    story_tell(story, NULL, 0);
    return taken;
  }
  unsigned char *piece = malloc(taken);
  memcpy(piece, bytes, taken);
  story_tell(story, piece, taken);
  free(piece);
  return taken;
}

static void story_open(struct story *story) {
  *story = (struct story){.fingerprint = UINT64_C(0xcbf29ce484222325)};
  stream_reader_init(&story->reader, META_MAX, BODY_MAX);
}

static void story_close(struct story *story) {
  free(story->meta);
  free(story->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { CUTS = 8 };
  if (size < CUTS) {
    return 0;
  }
  struct story whole;
  struct story cut;
  story_open(&whole);
  story_open(&cut);
  story_tell(&whole, data + CUTS, size - CUTS);
  size_t at = CUTS;
  for (size_t i = 0; at < size; i++) {
    const uint8_t how = data[i % CUTS];
    at +=
        story_tell_piece(&cut, data + at, size - at, (size_t)(how >> 1) * (i % 3 + 1) + 1, how & 1);
  }
  CHECK_EQ(whole.frames_count, cut.frames_count);
  CHECK_EQ(whole.fingerprint, cut.fingerprint);
  CHECK_EQ(whole.error, cut.error);
  CHECK_EQ(stream_reader_is_between(&whole.reader), stream_reader_is_between(&cut.reader));
  story_close(&whole);
  story_close(&cut);
  return 0;
}
