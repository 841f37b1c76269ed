#include "transport/stream_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "support/cmocka.h"

/* What came out of a reader: frames one after another, and how it ended. */
struct seen {
  unsigned frames_count;
  unsigned in_place_count; /* metas that were not copied */
  unsigned malformed_count;
  enum err error;
  unsigned char bytes[8192]; /* type, meta and body of all frames */
  size_t bytes_count;
};

struct feeder {
  struct stream_reader reader;
  unsigned char meta[512];
  unsigned char body[4096];
  struct seen seen;
};

static void feeder_init(struct feeder *feeder) {
  memset(feeder, 0, sizeof(*feeder));
  stream_reader_init(&feeder->reader, sizeof(feeder->meta), sizeof(feeder->body));
}

static void seen_add(struct seen *seen, const void *bytes, size_t count) {
  assert_true(seen->bytes_count + count <= sizeof(seen->bytes));
  memcpy(seen->bytes + seen->bytes_count, bytes, count);
  seen->bytes_count += count;
}

static void feeder_feed(struct feeder *feeder, const unsigned char *bytes, size_t count) {
  const uintptr_t begin = (uintptr_t)bytes;
  const uintptr_t end = begin + count;
  for (;;) {
    switch (stream_reader_next(&feeder->reader, &bytes, &count)) {
    case STREAM_NEEDS_BYTES:
      assert_int_equal(count, 0);
      return;
    case STREAM_NEEDS_META:
      assert_true(feeder->reader.header.meta_bytes <= sizeof(feeder->meta));
      stream_reader_give_meta(&feeder->reader, feeder->meta, sizeof(feeder->meta));
      break;
    case STREAM_NEEDS_BODY:
      assert_true(feeder->reader.header.body_bytes <= sizeof(feeder->body));
      stream_reader_give_body(&feeder->reader, feeder->body);
      break;
    case STREAM_HAS_FRAME: {
      struct seen *seen = &feeder->seen;
      const struct frame_header *header = &feeder->reader.header;
      seen->frames_count++;
      seen->in_place_count +=
          (uintptr_t)feeder->reader.meta >= begin && (uintptr_t)feeder->reader.meta < end;
      seen_add(seen, &header->type, sizeof(header->type));
      seen_add(seen, feeder->reader.meta, header->meta_bytes);
      seen_add(seen, feeder->body, header->body_bytes);
      break;
    }
    case STREAM_MALFORMED:
      feeder->seen.malformed_count++;
      feeder->seen.error = feeder->reader.error;
      return;
    }
  }
}

static size_t append_frame(unsigned char *bytes, uint16_t type, uint32_t meta_bytes,
                           uint32_t body_bytes) {
  const struct frame_header header = {
      .type = type, .meta_bytes = meta_bytes, .body_bytes = body_bytes};
  frame_header_encode(&header, bytes);
  for (uint32_t i = 0; i < meta_bytes + body_bytes; i++) {
    bytes[FRAME_HEADER_BYTES + i] = (unsigned char)(i * 13 + type);
  }
  return FRAME_HEADER_BYTES + meta_bytes + body_bytes;
}

/* All shapes: empty, meta only, body only, both. */
static size_t sample_stream(unsigned char *bytes) {
  size_t count = append_frame(bytes, 1, 0, 0);
  count += append_frame(bytes + count, 2, 5, 0);
  count += append_frame(bytes + count, 3, 0, 9);
  count += append_frame(bytes + count, 4, 40, 60);
  count += append_frame(bytes + count, 5, 1, 1);
  count += append_frame(bytes + count, 6, 0, 0);
  return count;
}

static void whole_frames_stay_in_place(void **state) {
  (void)state;
  unsigned char bytes[512];
  const size_t count = sample_stream(bytes);
  struct feeder feeder;
  feeder_init(&feeder);
  feeder_feed(&feeder, bytes, count);
  assert_int_equal(feeder.seen.frames_count, 6);
  assert_int_equal(feeder.seen.in_place_count, 3);
  assert_true(stream_reader_is_between(&feeder.reader));
}

static void any_two_cuts_give_the_same(void **state) {
  (void)state;
  unsigned char bytes[512];
  const size_t count = sample_stream(bytes);
  struct feeder whole;
  feeder_init(&whole);
  feeder_feed(&whole, bytes, count);
  for (size_t first = 0; first <= count; first++) {
    for (size_t second = first; second <= count; second++) {
      struct feeder cut;
      feeder_init(&cut);
      /* Heap copies, so that ASan sees a step outside of a piece. */
      const size_t ends[3] = {first, second, count};
      size_t at = 0;
      for (int i = 0; i < 3; i++) {
        unsigned char *piece = malloc(ends[i] - at + 1);
        memcpy(piece, bytes + at, ends[i] - at);
        feeder_feed(&cut, piece, ends[i] - at);
        free(piece);
        at = ends[i];
      }
      assert_int_equal(cut.seen.frames_count, whole.seen.frames_count);
      assert_int_equal(cut.seen.bytes_count, whole.seen.bytes_count);
      assert_memory_equal(cut.seen.bytes, whole.seen.bytes, whole.seen.bytes_count);
    }
  }
}

static void byte_by_byte_gives_the_same(void **state) {
  (void)state;
  unsigned char bytes[512];
  const size_t count = sample_stream(bytes);
  struct feeder whole;
  struct feeder slow;
  feeder_init(&whole);
  feeder_init(&slow);
  feeder_feed(&whole, bytes, count);
  for (size_t i = 0; i < count; i++) {
    feeder_feed(&slow, bytes + i, 1);
  }
  assert_int_equal(slow.seen.frames_count, 6);
  assert_memory_equal(slow.seen.bytes, whole.seen.bytes, whole.seen.bytes_count);
}

static void windows_receive_bodies_in_place(void **state) {
  (void)state;
  unsigned char bytes[4096];
  const size_t count = append_frame(bytes, 9, 100, 3000);
  struct feeder feeder;
  feeder_init(&feeder);
  unsigned char *window = NULL;
  assert_int_equal(stream_reader_window(&feeder.reader, &window), 0);
  feeder_feed(&feeder, bytes, FRAME_HEADER_BYTES + 30);
  assert_int_equal(stream_reader_window(&feeder.reader, &window), 70);
  memcpy(window, bytes + FRAME_HEADER_BYTES + 30, 70);
  stream_reader_on_received(&feeder.reader, 70);
  feeder_feed(&feeder, NULL, 0);
  assert_int_equal(feeder.seen.frames_count, 0);
  size_t at = FRAME_HEADER_BYTES + 100;
  feeder_feed(&feeder, bytes + at, 1); /* some of the body through the stream, the rest in place */
  at++;
  while (at < count) {
    const size_t room = stream_reader_window(&feeder.reader, &window);
    assert_int_equal(room, count - at);
    assert_ptr_equal(window, feeder.body + (at - FRAME_HEADER_BYTES - 100));
    const size_t some = room < 700 ? room : 700;
    memcpy(window, bytes + at, some);
    stream_reader_on_received(&feeder.reader, some);
    feeder_feed(&feeder, NULL, 0);
    at += some;
  }
  assert_int_equal(feeder.seen.frames_count, 1);
  assert_memory_equal(feeder.seen.bytes + 2, bytes + FRAME_HEADER_BYTES, 3100);
  assert_int_equal(stream_reader_window(&feeder.reader, &window), 0);
}

static void waiting_for_a_body_loses_nothing(void **state) {
  (void)state;
  unsigned char bytes[256];
  size_t left = append_frame(bytes, 3, 20, 30);
  const unsigned char *at = bytes;
  struct stream_reader reader;
  unsigned char body[30];
  stream_reader_init(&reader, 64, 64);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(stream_reader_next(&reader, &at, &left), STREAM_NEEDS_BODY);
    assert_int_equal(left, 50);
  }
  unsigned char moved[50]; /* the caller may keep the bytes elsewhere meanwhile */
  memcpy(moved, at, left);
  at = moved;
  stream_reader_give_body(&reader, body);
  assert_int_equal(stream_reader_next(&reader, &at, &left), STREAM_HAS_FRAME);
  assert_ptr_equal(reader.meta, moved);
  assert_memory_equal(body, moved + 20, 30);
  assert_int_equal(left, 0);
}

static void expect_error(const unsigned char *bytes, size_t count, enum err error) {
  for (size_t step = 1; step <= count; step++) {
    struct feeder feeder;
    feeder_init(&feeder);
    for (size_t at = 0; at < count; at += step) {
      feeder_feed(&feeder, bytes + at, count - at < step ? count - at : step);
    }
    assert_int_equal(feeder.seen.error, error);
    assert_true(feeder.seen.malformed_count > 0);
    assert_int_equal(feeder.seen.frames_count, 0);
    feeder_feed(&feeder, bytes, 0); /* and so for ever */
    assert_int_equal(feeder.seen.error, error);
  }
}

static void what_is_no_frame_is_malformed(void **state) {
  (void)state;
  unsigned char bytes[256];
  expect_error((const unsigned char *)"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, ERR_MALFORMED);
  append_frame(bytes, 1, 0, 0);
  bytes[3] = '2';
  expect_error(bytes, FRAME_HEADER_BYTES, ERR_VERSION);
  append_frame(bytes, 1, 0, 0);
  bytes[6] = 1; /* the reserved field */
  expect_error(bytes, FRAME_HEADER_BYTES, ERR_MALFORMED);
}

static void declared_sizes_are_limited_before_memory_is_asked_for(void **state) {
  (void)state;
  unsigned char bytes[FRAME_HEADER_BYTES];
  const struct frame_header headers[] = {{.type = 1, .meta_bytes = 513},
                                         {.type = 1, .body_bytes = 4097},
                                         {.type = 1, .meta_bytes = UINT32_MAX},
                                         {.type = 1, .body_bytes = UINT32_MAX}};
  for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
    frame_header_encode(&headers[i], bytes);
    expect_error(bytes, sizeof(bytes), ERR_TOO_LARGE);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_frames_stay_in_place),
      cmocka_unit_test(any_two_cuts_give_the_same),
      cmocka_unit_test(byte_by_byte_gives_the_same),
      cmocka_unit_test(windows_receive_bodies_in_place),
      cmocka_unit_test(waiting_for_a_body_loses_nothing),
      cmocka_unit_test(what_is_no_frame_is_malformed),
      cmocka_unit_test(declared_sizes_are_limited_before_memory_is_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
