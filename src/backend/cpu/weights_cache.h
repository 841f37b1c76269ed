/* A device's memory for weights: pages of MODEL_PAGE_BYTES, and windows of addresses in which an
 * instance's pages lie one behind the other.
 *
 * The pages are taken once, in the kernel's huge pages where it gives them, and resident from then
 * on. A LOAD gets any free pages, as the executor chose them; moving them into the instance's
 * window is a matter of page tables (mremap: about 10 us a page), so kernels see contiguous weights
 * and no byte is copied twice. A page stays where it was last used until it is moved again, so an
 * EVICT costs nothing.
 *
 * Thread: one owns a cache (the device's LOAD engine); windows may be reserved by any.
 */
#ifndef CLOCKWORK_BACKEND_CPU_WEIGHTS_CACHE_H
#define CLOCKWORK_BACKEND_CPU_WEIGHTS_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct weights_cache {
  unsigned char *home; /* page i's first place: home + i * MODEL_PAGE_BYTES */
  uint32_t pages;
  unsigned char **where; /* page i's place now */
};

/* ERR_NO_MEMORY. A failed one may be finished. */
MUST_USE enum err weights_cache_init(struct weights_cache *cache, uint32_t pages);

/* After all windows were released. Accepts a zeroed one. */
void weights_cache_finish(struct weights_cache *cache);

/* Addresses for `pages` pages, which hold nothing yet. NULL: the address space is used up. */
unsigned char *weights_window_reserve(uint32_t pages);

/* Pages that lie in it are lost: only before weights_cache_finish(). Accepts NULL. */
void weights_window_release(unsigned char *window, uint32_t pages);

/* Move these pages into the window, in this order; what they hold is undefined. ERR_NO_MEMORY: the
 * kernel has no more mappings for this process; the pages stay with the cache. */
MUST_USE enum err weights_cache_map(struct weights_cache *cache, const uint32_t *pages,
                                    uint32_t pages_count, unsigned char *window);

/* Memory in huge pages where the kernel gives them, zeroed, aligned to MODEL_PAGE_BYTES; becomes
 * resident when touched. NULL: none left. `bytes` as it is given back. */
void *huge_memory_take(size_t bytes);
void huge_memory_give(void *memory, size_t bytes);

#endif
