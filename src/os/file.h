/* Whole files: mapped, read, replaced; and a log that grows by whole blocks.
 *
 * Paths are the caller's; no function keeps one, unless it says so. Every function that can fail
 * tells why in `ret_error` (NULL if not wanted): one line with the path and the mend.
 * Thread: any. Cost: blocking file I/O; not for a thread that serves requests.
 */
#ifndef CLOCKWORK_OS_FILE_H
#define CLOCKWORK_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/error_text.h"

/* A read-only view of a file. An empty file has size_bytes 0 and bytes that must not be read. */
struct file_map {
  const unsigned char *bytes;
  size_t size_bytes;
};

/* ERR_NOT_FOUND, ERR_TOO_LARGE (more than size_bytes_max), ERR_IO (also: not a regular file).
 * The file must not be cut while it is mapped: reading past its end would kill the process. */
MUST_USE enum err file_map_open(const char *path, size_t size_bytes_max, struct file_map *ret_map,
                                struct error_text *ret_error);

/* Accepts NULL and a zeroed or closed map. */
void file_map_close(struct file_map *map);

/* The whole content on the heap, plus a 0 byte behind it that ret_size_bytes doesn't count. The
 * caller frees with free(). For text files; works for pipes and /proc too. Errors as above, and
 * ERR_NO_MEMORY. */
MUST_USE enum err file_read(const char *path, size_t size_bytes_max, char **ret_content,
                            size_t *ret_size_bytes, struct error_text *ret_error);

/* Replace or create `path` so that a reader sees the old or the new content, never a part: written
 * beside it, then renamed. ERR_IO. */
MUST_USE enum err file_write_atomically(const char *path, const void *content, size_t size_bytes,
                                        struct error_text *ret_error);

/* True if `path` is a directory in which this process may make files. */
bool os_directory_is_writable(const char *path);

/* Makes the folder `path` and those above it that lack; what is there is left as it is. ERR_IO. */
MUST_USE enum err os_make_directories(const char *path, struct error_text *ret_error);

/* A file that is only appended to, in blocks that are wholly there or not at all. */
struct file_log {
  int fd; /* -1: not open */
  uint64_t size_bytes;
};

/* Create or empty `path`. ERR_NOT_FOUND: no such folder; ERR_IO. */
MUST_USE enum err file_log_open(const char *path, struct file_log *ret_log,
                                struct error_text *ret_error);

/* Append all of `bytes`, with one write(2) unless the kernel takes less. On failure what was
 * written of the block is cut off again, so that a disk that ran full leaves whole blocks. A
 * process killed inside a write that the kernel had split (seen only when the disk runs full)
 * leaves the first part: at most one torn block, at the end. ERR_IO. */
MUST_USE enum err file_log_append(struct file_log *log, const void *bytes, size_t count,
                                  struct error_text *ret_error);

/* Accepts NULL and a closed log. */
void file_log_close(struct file_log *log);

#endif
