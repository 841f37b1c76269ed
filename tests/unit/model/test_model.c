#include "model/model.h"

#include <string.h>

#include "support/cmocka.h"

static struct model_spec valid_spec(void) {
  struct model_spec spec = {
      .name = "resnet50_v2",
      .input_bytes = 602112,
      .output_bytes = 4000,
      .weights_bytes = 102160300,
      .weights_pages = 7,
      .batch_kinds = 3,
      .batch_sizes = {1, 2, 4},
      .load = {8320000},
      .execute = {{2730000}, {4050000}, {5870000}},
      .clock_mhz = 1380,
  };
  return spec;
}

static void pages_round_up(void **state) {
  (void)state;
  assert_int_equal(model_pages_of(0), 0);
  assert_int_equal(model_pages_of(1), 1);
  assert_int_equal(model_pages_of(MODEL_PAGE_BYTES), 1);
  assert_int_equal(model_pages_of(MODEL_PAGE_BYTES + 1), 2);
  assert_int_equal(model_pages_of(102160300), 7);
  assert_int_equal(model_pages_of(UINT64_MAX), UINT32_MAX);
  assert_int_equal(model_pages_of((uint64_t)MODEL_PAGE_BYTES * UINT32_MAX), UINT32_MAX);
}

static void batch_kind(void **state) {
  (void)state;
  const struct model_spec spec = valid_spec();
  assert_int_equal(model_batch_kind(&spec, 1), 0);
  assert_int_equal(model_batch_kind(&spec, 4), 2);
  assert_int_equal(model_batch_kind(&spec, 3), MODEL_BATCH_KINDS);
  assert_int_equal(model_batch_kind(&spec, 0), MODEL_BATCH_KINDS);
  assert_int_equal(model_batch_kind(&spec, UINT32_MAX), MODEL_BATCH_KINDS);
}

static void assert_invalid(struct model_spec spec) {
  assert_false(model_spec_is_valid(&spec));
}

static void validity(void **state) {
  (void)state;
  struct model_spec spec = valid_spec();
  assert_true(model_spec_is_valid(&spec));
  memset(spec.name, 'x', sizeof(spec.name));
  assert_invalid(spec);
  spec = valid_spec();
  spec.clock_mhz = 0;
  assert_invalid(spec);
  spec.clock_mhz = MODEL_CLOCK_MAX_MHZ + 1;
  assert_invalid(spec);
  spec = valid_spec();
  spec.batch_kinds = 0;
  assert_invalid(spec);
  spec.batch_kinds = MODEL_BATCH_KINDS + 1;
  assert_invalid(spec);
  spec = valid_spec();
  spec.batch_sizes[0] = 2;
  assert_invalid(spec);
  spec = valid_spec();
  spec.batch_sizes[2] = 2;
  assert_invalid(spec);
  spec.batch_sizes[2] = MODEL_BATCH_MAX + 1;
  assert_invalid(spec);
  spec = valid_spec();
  spec.weights_pages = 6;
  assert_invalid(spec);
  spec.weights_pages = 0;
  spec.weights_bytes = 0;
  assert_invalid(spec);
  spec = valid_spec();
  spec.load.ns = 0;
  assert_invalid(spec);
  spec.load.ns = 3600 * NS_PER_S + 1;
  assert_invalid(spec);
  spec = valid_spec();
  spec.execute[1].ns = -1;
  assert_invalid(spec);
  spec.execute[1].ns = INT64_MAX;
  assert_invalid(spec);
  spec = valid_spec();
  spec.input_bytes = (uint64_t)UINT32_MAX + 1;
  assert_invalid(spec);
  spec = valid_spec();
  spec.output_bytes = UINT64_MAX;
  assert_invalid(spec);
  spec = valid_spec();
  spec.execute[3].ns = -1; /* beyond batch_kinds: not looked at */
  assert_true(model_spec_is_valid(&spec));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pages_round_up),
      cmocka_unit_test(batch_kind),
      cmocka_unit_test(validity),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
