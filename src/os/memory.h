/* Memory for the pure modules: taken once at start, given back at the end.
 *
 * Thread: any. Cost: a system call for large blocks.
 */
#ifndef CLOCKWORK_OS_MEMORY_H
#define CLOCKWORK_OS_MEMORY_H

#include <stddef.h>

/* Zeroed, aligned to 64 bytes (what arena_init asks). Blocks from 64 KiB on come straight from the
 * kernel in 4 KiB pages that become resident when first touched, so a limit that is never reached
 * costs no memory; huge pages are declined because one touched byte would make 2 MiB resident.
 * NULL: none left. `size_bytes` 0 gives a pointer that must only be given back. */
void *os_memory_take(size_t size_bytes);

/* `size_bytes` as it was taken. Accepts NULL. */
void os_memory_give(void *memory, size_t size_bytes);

/* Zeroed, from the kernel in huge pages (2 MiB) where it has them and aligned to them: for memory
 * that will be used whole. NULL: none left. `size_bytes` above 0. */
void *os_memory_take_huge(size_t size_bytes);

/* `size_bytes` as it was taken. Accepts NULL. */
void os_memory_give_huge(void *memory, size_t size_bytes);

#endif
