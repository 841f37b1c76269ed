#include "package/format.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka.h"
#include "support/memory.h"
#include "support/small_plan.h"

struct encoded {
  unsigned char *bytes; /* just as many as there are, so that ASan sees a step outside */
  size_t count;
};

static struct encoded encode_small(void) {
  struct small_plan small;
  small_plan_init(&small);
  struct encoded encoded = {.count = format_encoded_bytes(&small.plan)};
  encoded.bytes = malloc(encoded.count);
  assert_non_null(encoded.bytes);
  format_encode(&small.plan, 0x1122334455667788, encoded.bytes, encoded.count);
  return encoded;
}

/* On success the caller closes the arena. */
static enum err decode(const void *bytes, size_t count, struct arena *ret_arena,
                       const struct plan **ret_plan, struct plan_fault *ret_fault) {
  size_t needed = 0;
  uint64_t weights_checksum = 0;
  enum err error = format_decoded_bytes(bytes, count, &needed);
  if (error != ERR_OK) {
    return error;
  }
  /* No file makes a reader take more than a fixed multiple of its length. */
  assert_true(needed < 64 * count + 65536);
  *ret_arena = test_arena_open(needed);
  error = format_decode(bytes, count, ret_arena, ret_plan, &weights_checksum, ret_fault);
  if (error != ERR_OK) {
    test_arena_close(ret_arena);
  } else {
    assert_true(weights_checksum == 0x1122334455667788);
  }
  return error;
}

static void knows_the_check_value_of_its_checksum(void **state) {
  (void)state;
  assert_true(format_checksum(0, "123456789", 9) == 0x995dc9bbdf1939fa);
  const uint64_t begun = format_checksum(0, "12345", 5);
  assert_true(format_checksum(begun, "6789", 4) == 0x995dc9bbdf1939fa);
}

static void gives_back_what_was_written(void **state) {
  (void)state;
  struct encoded encoded = encode_small();
  struct arena arena;
  const struct plan *plan = NULL;
  struct plan_fault fault;
  assert_int_equal(decode(encoded.bytes, encoded.count, &arena, &plan, &fault), ERR_OK);
  assert_string_equal(plan->name, "small");
  assert_int_equal(plan->batches[1].batch_size, 2);
  assert_int_equal(plan->batches[1].ops[SMALL_OP_CONV].conv.activation.kind, PLAN_ACT_RELU);
  assert_int_equal(plan->batches[1].ops[SMALL_OP_CONV].inputs[3], PLAN_NONE);

  assert_int_equal(format_encoded_bytes(plan), encoded.count);
  unsigned char *again = malloc(encoded.count);
  assert_non_null(again);
  format_encode(plan, 0x1122334455667788, again, encoded.count);
  assert_memory_equal(again, encoded.bytes, encoded.count);
  free(again);
  free(encoded.bytes);
  test_arena_close(&arena);
}

static void refuses_every_shorter_file(void **state) {
  (void)state;
  struct encoded encoded = encode_small();
  for (size_t count = 0; count < encoded.count; count++) {
    unsigned char *copy = malloc(count + 1);
    assert_non_null(copy);
    memcpy(copy + 1, encoded.bytes, count);
    size_t needed = 0;
    assert_int_equal(format_decoded_bytes(copy + 1, count, &needed), ERR_MALFORMED);
    free(copy);
  }
  free(encoded.bytes);
}

static void notices_every_changed_byte(void **state) {
  (void)state;
  struct encoded encoded = encode_small();
  enum { VERSION_AT = 8, RESERVED_END = 16, WEIGHTS_CHECKSUM_AT = 32, HEADER = 40 };
  for (size_t i = 0; i < encoded.count; i++) {
    if (i >= WEIGHTS_CHECKSUM_AT && i < HEADER) {
      continue; /* the weights' checksum is held against the weights, by who reads them */
    }
    encoded.bytes[i] ^= 0x10;
    size_t needed = 0;
    const bool is_version = i >= VERSION_AT && i < RESERVED_END;
    assert_int_equal(format_decoded_bytes(encoded.bytes, encoded.count, &needed),
                     is_version ? ERR_VERSION : ERR_MALFORMED);
    encoded.bytes[i] ^= 0x10;
  }
  free(encoded.bytes);
}

/* Readers of a name would see less than the file has; found by the fuzzer. */
static void refuses_a_nul_within_a_name(void **state) {
  (void)state;
  struct encoded encoded = encode_small();
  enum { PAYLOAD_CHECKSUM_AT = 24, HEADER = 40, NAME_AT = HEADER + 4 };
  assert_memory_equal(encoded.bytes + NAME_AT, "small", 5);
  encoded.bytes[NAME_AT + 2] = '\0';
  const uint64_t checksum = format_checksum(0, encoded.bytes + HEADER, encoded.count - HEADER);
  for (int i = 0; i < 8; i++) {
    encoded.bytes[PAYLOAD_CHECKSUM_AT + i] = (unsigned char)(checksum >> (8 * i));
  }
  struct arena arena;
  const struct plan *plan = NULL;
  struct plan_fault fault;
  assert_int_equal(decode(encoded.bytes, encoded.count, &arena, &plan, &fault), ERR_MALFORMED);
  free(encoded.bytes);
}

/* The layout is a contract with files on disks: these are the first bytes that version 1 ever
 * wrote, and the checksum of all. Another layout needs another version. */
static void writes_what_version_1_always_wrote(void **state) {
  (void)state;
  struct encoded encoded = encode_small();
  static const unsigned char head[] = {'C', 'W', 'P', 'L', 'A', 'N', '\r', '\n', 1, 0, 0, 0};
  assert_memory_equal(encoded.bytes, head, sizeof(head));
  const uint64_t golden = UINT64_C(0xd98d74613607584a);
  const uint64_t found = format_checksum(0, encoded.bytes, encoded.count);
  if (found != golden) {
    fail_msg("checksum %#llx of %zu bytes", (unsigned long long)found, encoded.count);
  }
  free(encoded.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(knows_the_check_value_of_its_checksum),
      cmocka_unit_test(gives_back_what_was_written),
      cmocka_unit_test(refuses_every_shorter_file),
      cmocka_unit_test(notices_every_changed_byte),
      cmocka_unit_test(refuses_a_nul_within_a_name),
      cmocka_unit_test(writes_what_version_1_always_wrote),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
