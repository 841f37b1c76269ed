/* The pages of one GPU: which are free, and which hold the weights of which model instance.
 *
 * Guarantees: a page belongs to at most one instance; an instance's pages become findable only as
 * a whole; pages_free + the pages of all instances = pages_total at every moment.
 *
 * An instance is named by its first page ("head"), so memory is bounded by pages, whatever the
 * number of models: 16 bytes a page for the lists, 8 for the free stack and the load under way, and
 * 12 to 24 for the index. A matrix of models x GPUs would be 400 million entries for 100,000 x
 * 4,096. Whether an instance is there is one look into the index, a cache line, and no page.
 * Cost: find O(1) expected, load and evict O(pages of the instance).
 */
#ifndef CLOCKWORK_EXECUTOR_PAGE_CACHE_H
#define CLOCKWORK_EXECUTOR_PAGE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

#define PAGE_NONE UINT32_MAX

enum page_state {
  PAGE_FREE,
  PAGE_BODY,     /* belongs to the instance of some head */
  PAGE_LOADING,  /* head of an instance whose weights are being copied */
  PAGE_RESIDENT, /* head of an instance that is wholly there */
  PAGE_LEAVING,  /* head of an instance that was evicted and not yet handed out as such */
};

struct page {
  uint32_t next;     /* the instance's next page; PAGE_NONE at its end */
  uint32_t chain;    /* head: next in the list of the leaving */
  uint32_t model_id; /* head */
  uint32_t state : 3;
  uint32_t count : 29; /* head: pages of the instance */
};

/* Of an instance that is loading or resident, at the place that the hash of its model says or
 * behind, without a gap. Only as much of the index is in use as the instances need: thousands of
 * GPUs are looked at in turns, and what is spread less stays in the processor's caches. */
struct page_index {
  uint32_t model_id;
  uint32_t head_plus_one; /* so that zeroed memory is an empty index */
};

struct page_cache {
  struct page *pages;
  uint32_t *free_stack;
  struct page_index *index;
  uint32_t *loading_pages;
  uint32_t pages_total;
  uint32_t free_count;
  uint32_t index_mask;   /* of the part in use: a power of two less one */
  uint32_t loading_head; /* PAGE_NONE: no load under way */
  uint32_t leaving_first;
  uint32_t leaving_last;
  uint32_t leaving_pages;
  uint32_t resident_count;
  uint32_t indexed_count; /* loading or resident */
};

/* Carve memory for `capacity_pages` and open the cache with `pages_total` of them, all free. */
void page_cache_init(struct page_cache *cache, struct arena *arena, uint32_t capacity_pages,
                     uint32_t pages_total);

/* The head of an instance that is loading or resident; PAGE_NONE if neither. */
uint32_t page_cache_find(const struct page_cache *cache, uint32_t model_id);

static inline bool page_cache_is_resident(const struct page_cache *cache, uint32_t model_id) {
  const uint32_t head = page_cache_find(cache, model_id);
  return head != PAGE_NONE && head != cache->loading_head;
}

/* Free now, or as soon as the leaving are handed out. */
static inline uint32_t page_cache_free_count(const struct page_cache *cache) {
  return cache->free_count + cache->leaving_pages;
}

/* Take `pages_count` > 0 pages for an instance that is not there, one load at a time. Returns them
 * as an array that holds until page_cache_end_load(); NULL if fewer are free. */
const uint32_t *page_cache_begin_load(struct page_cache *cache, uint32_t model_id,
                                      uint32_t pages_count);

/* The load under way ended: the instance is resident, or its pages are free again. */
void page_cache_end_load(struct page_cache *cache, bool is_loaded);

/* From now on the resident instance `head` can't be found; page_cache_next_evicted() frees its
 * pages. */
void page_cache_begin_evict(struct page_cache *cache, uint32_t head);

struct page_cache_evicted {
  uint32_t model_id;
  const uint32_t *pages; /* hold until an eviction that follows a begin_load */
  uint32_t pages_count;
};

/* The next evicted instance, in order of eviction, whose pages are free from now on. False: none.
 */
bool page_cache_next_evicted(struct page_cache *cache, struct page_cache_evicted *ret_evicted);

/* CHECK the guarantees above. O(pages). */
void page_cache_validate(const struct page_cache *cache);

#endif
