#include "backend/cpu/weights_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "model/model.h"

static const size_t PAGE = MODEL_PAGE_BYTES;

/* Addresses aligned to a page of ours, so that huge pages of the kernel fit and move as a whole. */
static unsigned char *map_aligned(size_t bytes, int protection, int flags) {
  const size_t wanted = bytes + PAGE;
  unsigned char *mapped =
      mmap(NULL, wanted, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (mapped == MAP_FAILED) {
    return NULL;
  }
  const size_t before = (PAGE - (uintptr_t)mapped % PAGE) % PAGE;
  if (before > 0) {
    munmap(mapped, before);
  }
  munmap(mapped + before + bytes, PAGE - before);
  return mapped + before;
}

void *huge_memory_take(size_t bytes) {
  const size_t rounded = (bytes + PAGE - 1) / PAGE * PAGE;
  unsigned char *memory = map_aligned(rounded, PROT_READ | PROT_WRITE, MAP_NORESERVE);
  if (memory != NULL) {
    (void)madvise(memory, rounded, MADV_HUGEPAGE); /* a kernel without them: small pages */
  }
  return memory;
}

void huge_memory_give(void *memory, size_t bytes) {
  if (memory != NULL) {
    munmap(memory, (bytes + PAGE - 1) / PAGE * PAGE);
  }
}

enum err weights_cache_init(struct weights_cache *cache, uint32_t pages) {
  *cache = (struct weights_cache){.pages = pages};
  cache->where = calloc(pages, sizeof(*cache->where));
  cache->home = huge_memory_take(pages * PAGE);
  if (cache->where == NULL || cache->home == NULL ||
      madvise(cache->home, pages * PAGE, MADV_POPULATE_WRITE) != 0) {
    return ERR_NO_MEMORY;
  }
  for (uint32_t i = 0; i < pages; i++) {
    cache->where[i] = cache->home + i * PAGE;
  }
  return ERR_OK;
}

void weights_cache_finish(struct weights_cache *cache) {
  huge_memory_give(cache->home, cache->pages * PAGE);
  free(cache->where);
  *cache = (struct weights_cache){.pages = 0};
}

unsigned char *weights_window_reserve(uint32_t pages) {
  return map_aligned(pages * PAGE, PROT_NONE, MAP_NORESERVE);
}

void weights_window_release(unsigned char *window, uint32_t pages) {
  if (window != NULL) {
    munmap(window, pages * PAGE);
  }
}

/* `target` must hold no page. What the page leaves behind is reserved as before, so that no other
 * mapping of the process can come to lie there. */
static enum err move_page(struct weights_cache *cache, uint32_t page, unsigned char *target) {
  unsigned char *from = cache->where[page];
  if (mremap(from, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, target) ==
      MAP_FAILED) {
    return ERR_NO_MEMORY;
  }
  cache->where[page] = target;
  /* Refused only when mappings are short; an empty readable range is as good for us. */
  (void)mmap(from, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return ERR_OK;
}

/* What lay at `target` since its instance was evicted goes home. */
static enum err vacate(struct weights_cache *cache, const unsigned char *target) {
  for (uint32_t i = 0; i < cache->pages; i++) {
    if (cache->where[i] == target) {
      return move_page(cache, i, cache->home + i * PAGE);
    }
  }
  return ERR_OK;
}

enum err weights_cache_map(struct weights_cache *cache, const uint32_t *pages, uint32_t pages_count,
                           unsigned char *window) {
  for (uint32_t i = 0; i < pages_count; i++) {
    CHECK_LT(pages[i], cache->pages);
    unsigned char *target = window + i * PAGE;
    if (cache->where[pages[i]] == target) {
      continue;
    }
    enum err error = vacate(cache, target);
    if (error == ERR_OK) {
      error = move_page(cache, pages[i], target);
    }
    if (error != ERR_OK) {
      return error;
    }
  }
  return ERR_OK;
}
