#include "executor/page_cache.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

enum { PAGES = 50, MODELS = 40, NOBODY = -1 };

struct fixture {
  struct arena arena;
  struct page_cache cache;
};

static struct fixture open_cache(uint32_t capacity_pages, uint32_t pages_total) {
  struct fixture fixture;
  struct arena counting;
  arena_init_counting(&counting);
  page_cache_init(&fixture.cache, &counting, capacity_pages, pages_total);
  fixture.arena = test_arena_open(counting.used_bytes);
  page_cache_init(&fixture.cache, &fixture.arena, capacity_pages, pages_total);
  return fixture;
}

static void all_pages_can_be_had(void **state) {
  (void)state;
  struct fixture fixture = open_cache(PAGES + 5, PAGES);
  assert_null(page_cache_begin_load(&fixture.cache, 1, PAGES + 1));
  const uint32_t *pages = page_cache_begin_load(&fixture.cache, 1, PAGES);
  assert_non_null(pages);
  assert_int_equal(pages[0], 0);
  assert_false(page_cache_is_resident(&fixture.cache, 1));
  assert_int_not_equal(page_cache_find(&fixture.cache, 1), PAGE_NONE);
  page_cache_end_load(&fixture.cache, true);
  assert_true(page_cache_is_resident(&fixture.cache, 1));
  assert_null(page_cache_begin_load(&fixture.cache, 2, 1));
  page_cache_validate(&fixture.cache);
  test_arena_close(&fixture.arena);
}

static void an_empty_cache_holds_nothing(void **state) {
  (void)state;
  struct fixture fixture = open_cache(0, 0);
  assert_null(page_cache_begin_load(&fixture.cache, 1, 1));
  assert_int_equal(page_cache_find(&fixture.cache, 1), PAGE_NONE);
  page_cache_validate(&fixture.cache);
  test_arena_close(&fixture.arena);
}

static void random_use_matches_owners_by_page(void **state) {
  (void)state;
  struct fixture fixture = open_cache(PAGES, PAGES);
  struct page_cache *cache = &fixture.cache;
  int owners[PAGES];
  uint32_t sizes[MODELS] = {0}; /* pages of what is resident */
  uint32_t free_count = PAGES;
  for (int page = 0; page < PAGES; page++) {
    owners[page] = NOBODY;
  }
  struct prng prng;
  prng_init(&prng, 13, 0);
  int loads = 0;
  for (int step = 0; step < 30000; step++) {
    const uint32_t model = (uint32_t)prng_below(&prng, MODELS);
    if (sizes[model] == 0) {
      const uint32_t wanted = 1 + (uint32_t)prng_below(&prng, 12);
      const uint32_t *pages = page_cache_begin_load(cache, model, wanted);
      assert_int_equal(pages != NULL, wanted <= free_count);
      if (pages == NULL) {
        continue;
      }
      loads++;
      for (uint32_t i = 0; i < wanted; i++) {
        assert_int_equal(owners[pages[i]], NOBODY);
        owners[pages[i]] = (int)model;
      }
      const bool is_loaded = prng_below(&prng, 10) != 0;
      page_cache_end_load(cache, is_loaded);
      for (int page = 0; page < PAGES && !is_loaded; page++) {
        owners[page] = owners[page] == (int)model ? NOBODY : owners[page];
      }
      sizes[model] = is_loaded ? wanted : 0;
      free_count -= sizes[model];
    } else {
      page_cache_begin_evict(cache, page_cache_find(cache, model));
      assert_int_equal(page_cache_find(cache, model), PAGE_NONE);
      struct page_cache_evicted evicted;
      assert_true(page_cache_next_evicted(cache, &evicted));
      assert_int_equal(evicted.model_id, model);
      assert_int_equal(evicted.pages_count, sizes[model]);
      for (uint32_t i = 0; i < evicted.pages_count; i++) {
        assert_int_equal(owners[evicted.pages[i]], model);
        owners[evicted.pages[i]] = NOBODY;
      }
      free_count += sizes[model];
      sizes[model] = 0;
      assert_false(page_cache_next_evicted(cache, &evicted));
    }
    assert_int_equal(page_cache_free_count(cache), free_count);
    assert_int_equal(page_cache_is_resident(cache, model), sizes[model] != 0);
    if (step % 64 == 0) {
      page_cache_validate(cache);
    }
  }
  assert_true(loads > 1000);
  test_arena_close(&fixture.arena);
}

static void evictions_come_out_in_order_and_stay_readable(void **state) {
  (void)state;
  struct fixture fixture = open_cache(PAGES, PAGES);
  struct page_cache *cache = &fixture.cache;
  for (uint32_t model = 0; model < 5; model++) {
    assert_non_null(page_cache_begin_load(cache, model, 10));
    page_cache_end_load(cache, true);
  }
  const uint32_t order[] = {3, 0, 4};
  for (int i = 0; i < 3; i++) {
    page_cache_begin_evict(cache, page_cache_find(cache, order[i]));
  }
  assert_int_equal(page_cache_free_count(cache), 30);
  page_cache_validate(cache);
  struct page_cache_evicted evicted[3];
  for (int i = 0; i < 3; i++) {
    assert_true(page_cache_next_evicted(cache, &evicted[i]));
    assert_int_equal(evicted[i].model_id, order[i]);
  }
  page_cache_validate(cache);
  /* A load that takes the pages again leaves the arrays as they are. */
  assert_non_null(page_cache_begin_load(cache, 9, 30));
  for (int i = 0; i < 3; i++) {
    for (uint32_t page = 0; page < 10; page++) {
      assert_int_equal(evicted[i].pages[page] / 10, order[i]);
    }
  }
  test_arena_close(&fixture.arena);
}

static void load_twice_at_once(void *cache) {
  page_cache_begin_load(cache, 8, 1);
  page_cache_begin_load(cache, 9, 1);
}

static void load_what_is_there(void *cache) {
  page_cache_begin_load(cache, 1, 1);
}

static void evict_free_page(void *cache) {
  page_cache_begin_evict(cache, PAGES - 1);
}

static void misuse_aborts(void **state) {
  (void)state;
  struct fixture fixture = open_cache(PAGES, PAGES);
  assert_non_null(page_cache_begin_load(&fixture.cache, 1, 2));
  page_cache_end_load(&fixture.cache, true);
  assert_true(test_dies(load_twice_at_once, &fixture.cache));
  assert_true(test_dies(load_what_is_there, &fixture.cache));
  assert_true(test_dies(evict_free_page, &fixture.cache));
  test_arena_close(&fixture.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_pages_can_be_had),
      cmocka_unit_test(an_empty_cache_holds_nothing),
      cmocka_unit_test(random_use_matches_owners_by_page),
      cmocka_unit_test(evictions_come_out_in_order_and_stay_readable),
      cmocka_unit_test(misuse_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
