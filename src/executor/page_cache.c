#include "executor/page_cache.h"

#include <string.h>

#include "base/check.h"
#include "base/prng.h"

/* Room for as many models as most GPUs hold, in a few cache lines. */
enum { PLACES_FIRST = 128 };

/* So many of them are used at most: two thirds. */
static uint32_t places_filled(uint32_t places) {
  return places - places / 3;
}

static uint32_t places_for(uint32_t pages) {
  uint32_t count = PLACES_FIRST;
  while (places_filled(count) < pages) {
    count *= 2;
  }
  return count;
}

void page_cache_init(struct page_cache *cache, struct arena *arena, uint32_t capacity_pages,
                     uint32_t pages_total) {
  CHECK_LE(pages_total, capacity_pages);
  CHECK_LT(capacity_pages, UINT32_C(1) << 29);
  const uint32_t places_count = places_for(capacity_pages);
  *cache = (struct page_cache){
      .pages = arena_take(arena, capacity_pages, sizeof(struct page)),
      .free_stack = arena_take(arena, capacity_pages, sizeof(uint32_t)),
      .index = arena_take(arena, places_count, sizeof(struct page_index)),
      .loading_pages = arena_take(arena, capacity_pages, sizeof(uint32_t)),
      .pages_total = pages_total,
      .free_count = pages_total,
      .index_mask = PLACES_FIRST - 1,
      .loading_head = PAGE_NONE,
      .leaving_first = PAGE_NONE,
      .leaving_last = PAGE_NONE,
  };
  if (arena_is_counting(arena)) {
    return;
  }
  /* The lowest page is on top: page numbers in a trace stay small and readable. */
  for (uint32_t i = 0; i < pages_total; i++) {
    cache->free_stack[i] = pages_total - 1 - i;
  }
}

static uint32_t home_of(const struct page_cache *cache, uint32_t model_id) {
  return (uint32_t)prng_mix(model_id) & cache->index_mask;
}

/* Where the model stands, or the empty place where it would. */
static struct page_index *locate(const struct page_cache *cache, uint32_t model_id) {
  uint32_t at = home_of(cache, model_id);
  while (cache->index[at].head_plus_one != 0 && cache->index[at].model_id != model_id) {
    at = (at + 1) & cache->index_mask;
  }
  return &cache->index[at];
}

uint32_t page_cache_find(const struct page_cache *cache, uint32_t model_id) {
  return locate(cache, model_id)->head_plus_one - 1; /* 0 - 1 is PAGE_NONE */
}

static void index_add(struct page_cache *cache, uint32_t head) {
  const uint32_t model_id = cache->pages[head].model_id;
  *locate(cache, model_id) = (struct page_index){.model_id = model_id, .head_plus_one = head + 1};
}

/* Twice as much of the index is used from now on: what stands in it finds its place anew. */
static void index_grow(struct page_cache *cache) {
  const uint32_t places = cache->index_mask + 1;
  memset(cache->index, 0, places * sizeof(*cache->index));
  cache->index_mask = places * 2 - 1;
  for (uint32_t i = 0; i < cache->pages_total; i++) {
    const uint32_t state = cache->pages[i].state;
    if (state == PAGE_LOADING || state == PAGE_RESIDENT) {
      index_add(cache, i);
    }
  }
}

/* Those behind it, up to the next gap, close up unless they would come before their home. */
static void index_remove(struct page_cache *cache, uint32_t head) {
  struct page_index *hole = locate(cache, cache->pages[head].model_id);
  CHECK_EQ(hole->head_plus_one, head + 1);
  uint32_t at = (uint32_t)(hole - cache->index);
  for (;;) {
    at = (at + 1) & cache->index_mask;
    struct page_index *entry = &cache->index[at];
    if (entry->head_plus_one == 0) {
      break;
    }
    const uint32_t from_home = (at - home_of(cache, entry->model_id)) & cache->index_mask;
    const uint32_t from_hole = (at - (uint32_t)(hole - cache->index)) & cache->index_mask;
    if (from_home >= from_hole) {
      *hole = *entry;
      hole = entry;
    }
  }
  *hole = (struct page_index){.head_plus_one = 0};
  cache->indexed_count--;
}

/* Push the instance's pages on the free stack, where they lie side by side. */
static void free_pages_of(struct page_cache *cache, uint32_t head) {
  for (uint32_t at = head; at != PAGE_NONE; at = cache->pages[at].next) {
    cache->free_stack[cache->free_count++] = at;
    cache->pages[at].state = PAGE_FREE;
  }
  CHECK_LE(cache->free_count, cache->pages_total);
}

const uint32_t *page_cache_begin_load(struct page_cache *cache, uint32_t model_id,
                                      uint32_t pages_count) {
  CHECK_EQ(cache->loading_head, PAGE_NONE);
  CHECK_GT(pages_count, 0);
  CHECK_EQ(page_cache_find(cache, model_id), PAGE_NONE);
  if (pages_count > cache->free_count) {
    return NULL;
  }
  uint32_t next = PAGE_NONE;
  for (uint32_t i = pages_count; i > 0; i--) {
    const uint32_t page = cache->free_stack[cache->free_count - i];
    cache->loading_pages[i - 1] = page;
    cache->pages[page] = (struct page){.next = next, .state = PAGE_BODY};
    next = page;
  }
  cache->free_count -= pages_count;
  const uint32_t head = next;
  struct page *first = &cache->pages[head];
  first->model_id = model_id;
  first->state = PAGE_LOADING;
  first->count = pages_count & ((UINT32_C(1) << 29) - 1);
  cache->indexed_count++;
  if (cache->indexed_count > places_filled(cache->index_mask + 1)) {
    index_grow(cache);
  } else {
    index_add(cache, head);
  }
  cache->loading_head = head;
  return cache->loading_pages;
}

void page_cache_end_load(struct page_cache *cache, bool is_loaded) {
  const uint32_t head = cache->loading_head;
  CHECK_NE(head, PAGE_NONE);
  cache->loading_head = PAGE_NONE;
  if (is_loaded) {
    cache->pages[head].state = PAGE_RESIDENT;
    cache->resident_count++;
    return;
  }
  index_remove(cache, head);
  free_pages_of(cache, head);
}

void page_cache_begin_evict(struct page_cache *cache, uint32_t head) {
  struct page *page = &cache->pages[head];
  CHECK_EQ(page->state, PAGE_RESIDENT);
  index_remove(cache, head);
  page->state = PAGE_LEAVING;
  page->chain = PAGE_NONE;
  if (cache->leaving_last == PAGE_NONE) {
    cache->leaving_first = head;
  } else {
    cache->pages[cache->leaving_last].chain = head;
  }
  cache->leaving_last = head;
  cache->leaving_pages += page->count;
  cache->resident_count--;
}

bool page_cache_next_evicted(struct page_cache *cache, struct page_cache_evicted *ret_evicted) {
  const uint32_t head = cache->leaving_first;
  if (head == PAGE_NONE) {
    return false;
  }
  const struct page *page = &cache->pages[head];
  cache->leaving_first = page->chain;
  if (cache->leaving_first == PAGE_NONE) {
    cache->leaving_last = PAGE_NONE;
  }
  cache->leaving_pages -= page->count;
  *ret_evicted = (struct page_cache_evicted){.model_id = page->model_id,
                                             .pages = cache->free_stack + cache->free_count,
                                             .pages_count = page->count};
  free_pages_of(cache, head);
  return true;
}

/* The instance's pages are `count` pages of the right kind, linked. */
static void validate_instance(const struct page_cache *cache, uint32_t head) {
  const struct page *first = &cache->pages[head];
  uint32_t count = 1;
  for (uint32_t at = first->next; at != PAGE_NONE; at = cache->pages[at].next) {
    CHECK_LT(at, cache->pages_total);
    CHECK_EQ(cache->pages[at].state, PAGE_BODY);
    CHECK_LE(++count, first->count);
  }
  CHECK_EQ(count, first->count);
  const uint32_t found = page_cache_find(cache, first->model_id);
  if (first->state == PAGE_LEAVING) {
    CHECK_NE(found, head);
  } else {
    CHECK_EQ(found, head);
  }
}

void page_cache_validate(const struct page_cache *cache) {
  uint32_t free_count = 0;
  uint32_t owned_count = 0;
  uint32_t body_count = 0;
  uint32_t heads_count[PAGE_LEAVING + 1] = {0};
  uint32_t leaving_pages = 0;
  for (uint32_t i = 0; i < cache->pages_total; i++) {
    const struct page *page = &cache->pages[i];
    CHECK_LE(page->state, PAGE_LEAVING);
    heads_count[page->state]++;
    if (page->state == PAGE_FREE) {
      free_count++;
    } else if (page->state == PAGE_BODY) {
      body_count++;
    } else {
      validate_instance(cache, i);
      owned_count += page->count;
      leaving_pages += page->state == PAGE_LEAVING ? page->count : 0;
    }
  }
  /* Every body page was counted by exactly one head: lists that shared pages would claim more. */
  const uint32_t heads =
      heads_count[PAGE_LOADING] + heads_count[PAGE_RESIDENT] + heads_count[PAGE_LEAVING];
  CHECK_EQ(owned_count, body_count + heads);
  CHECK_EQ(free_count, cache->free_count);
  CHECK_EQ(free_count + owned_count, cache->pages_total);
  CHECK_EQ(heads_count[PAGE_RESIDENT], cache->resident_count);
  CHECK_EQ(heads_count[PAGE_RESIDENT] + heads_count[PAGE_LOADING], cache->indexed_count);
  CHECK_EQ(heads_count[PAGE_LOADING], cache->loading_head != PAGE_NONE);
  CHECK_EQ(leaving_pages, cache->leaving_pages);
  for (uint32_t i = 0; i < cache->free_count; i++) {
    CHECK_LT(cache->free_stack[i], cache->pages_total);
    CHECK_EQ(cache->pages[cache->free_stack[i]].state, PAGE_FREE);
  }
}
