#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* `what` is a verb: "open", "read". The kernel's words follow; they are clear enough for a person
 * once the path stands beside them. */
static enum err file_fail(struct error_text *ret_error, const char *what, const char *path,
                          int number) {
  error_text_set(ret_error, "%s: cannot %s: %s", path, what, strerror(number));
  return number == ENOENT || number == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
}

static enum err file_fail_too_large(struct error_text *ret_error, const char *path,
                                    size_t size_bytes_max) {
  error_text_set(ret_error, "%s: larger than the %zu bytes that are allowed for it", path,
                 size_bytes_max);
  return ERR_TOO_LARGE;
}

enum err file_map_open(const char *path, size_t size_bytes_max, struct file_map *ret_map,
                       struct error_text *ret_error) {
  /* Without O_NONBLOCK a pipe is waited for until somebody writes to it. */
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return file_fail(ret_error, "open", path, errno);
  }
  struct stat status;
  if (fstat(fd, &status) != 0) {
    const int number = errno;
    close(fd);
    return file_fail(ret_error, "look at", path, number);
  }
  if (!S_ISREG(status.st_mode)) {
    close(fd);
    error_text_set(ret_error, "%s: not a regular file", path);
    return ERR_IO;
  }
  const size_t size = (size_t)status.st_size;
  if (size > size_bytes_max) {
    close(fd);
    return file_fail_too_large(ret_error, path, size_bytes_max);
  }
  struct file_map map = {.bytes = NULL, .size_bytes = size};
  if (size > 0) { /* the kernel maps no empty file */
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
      const int number = errno;
      close(fd);
      return file_fail(ret_error, "map", path, number);
    }
    map.bytes = bytes;
  }
  close(fd);
  *ret_map = map;
  return ERR_OK;
}

void file_map_close(struct file_map *map) {
  if (map == NULL) {
    return;
  }
  if (map->bytes != NULL) {
    munmap((void *)(uintptr_t)map->bytes, map->size_bytes);
  }
  *map = (struct file_map){.bytes = NULL};
}

/* All of `fd` into *ret_content; 0 or an errno, EFBIG for more than the maximum. */
static int file_read_all(int fd, size_t size_bytes_max, char **ret_content,
                         size_t *ret_size_bytes) {
  size_t capacity = 16 * 1024;
  size_t size = 0;
  char *content = malloc(capacity);
  if (content == NULL) {
    return ENOMEM;
  }
  for (;;) {
    const ssize_t got = read(fd, content + size, capacity - 1 - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      const int number = errno;
      free(content);
      return number;
    }
    if (got == 0) {
      break;
    }
    size += (size_t)got;
    if (size > size_bytes_max) {
      free(content);
      return EFBIG;
    }
    if (size == capacity - 1) {
      capacity *= 2;
      char *larger = realloc(content, capacity);
      if (larger == NULL) {
        free(content);
        return ENOMEM;
      }
      content = larger;
    }
  }
  content[size] = '\0';
  *ret_content = content;
  *ret_size_bytes = size;
  return 0;
}

enum err file_read(const char *path, size_t size_bytes_max, char **ret_content,
                   size_t *ret_size_bytes, struct error_text *ret_error) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return file_fail(ret_error, "open", path, errno);
  }
  const int number = file_read_all(fd, size_bytes_max, ret_content, ret_size_bytes);
  close(fd);
  switch (number) {
  case 0:
    return ERR_OK;
  case EFBIG:
    return file_fail_too_large(ret_error, path, size_bytes_max);
  case ENOMEM:
    error_text_set(ret_error, "%s: no memory to read it", path);
    return ERR_NO_MEMORY;
  default:
    return file_fail(ret_error, "read", path, number);
  }
}

/* 0 or an errno; *ret_written counts also on failure. */
static int file_write_all(int fd, const void *bytes, size_t count, size_t *ret_written) {
  const char *at = bytes;
  *ret_written = 0;
  while (*ret_written < count) {
    const ssize_t written = write(fd, at + *ret_written, count - *ret_written);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      return errno;
    }
    *ret_written += (size_t)written;
  }
  return 0;
}

enum err file_write_atomically(const char *path, const void *content, size_t size_bytes,
                               struct error_text *ret_error) {
  char beside[PATH_MAX];
  const int length = snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
  if (length < 0 || (size_t)length >= sizeof(beside)) {
    return file_fail(ret_error, "write", path, ENAMETOOLONG);
  }
  const int fd = mkostemp(beside, O_CLOEXEC);
  if (fd < 0) {
    return file_fail(ret_error, "make a file beside", path, errno);
  }
  size_t written;
  int number = file_write_all(fd, content, size_bytes, &written);
  if (number == 0 && fchmod(fd, 0644) != 0) { /* mkostemp makes files that only the owner reads */
    number = errno;
  }
  if (close(fd) != 0 && number == 0) {
    number = errno;
  }
  if (number == 0 && rename(beside, path) != 0) {
    number = errno;
  }
  if (number != 0) {
    unlink(beside);
    return file_fail(ret_error, "write", path, number);
  }
  return ERR_OK;
}

bool os_directory_is_writable(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISDIR(status.st_mode) && access(path, W_OK | X_OK) == 0;
}

enum err os_make_directories(const char *path, struct error_text *ret_error) {
  char part[PATH_MAX];
  const size_t length = strlen(path);
  if (length >= sizeof(part)) {
    error_text_set(ret_error, "%.60s…: the folder's name is too long; give a shorter one", path);
    return ERR_IO;
  }
  for (size_t i = 1; i <= length; i++) {
    if (path[i] != '/' && path[i] != '\0') {
      continue;
    }
    memcpy(part, path, i);
    part[i] = '\0';
    if (mkdir(part, 0777) == 0) {
      continue;
    }
    const int reason = errno == EEXIST ? ENOTDIR : errno;
    struct stat status;
    if (stat(part, &status) != 0 || !S_ISDIR(status.st_mode)) {
      error_text_set(ret_error, "%.200s: can't make this folder: %s; choose another", part,
                     strerror(reason));
      return ERR_IO;
    }
  }
  return ERR_OK;
}

enum err file_log_open(const char *path, struct file_log *ret_log, struct error_text *ret_error) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) {
    return file_fail(ret_error, "write", path, errno);
  }
  *ret_log = (struct file_log){.fd = fd, .size_bytes = 0};
  return ERR_OK;
}

enum err file_log_append(struct file_log *log, const void *bytes, size_t count,
                         struct error_text *ret_error) {
  size_t written;
  const int number = file_write_all(log->fd, bytes, count, &written);
  if (number == 0) {
    log->size_bytes += count;
    return ERR_OK;
  }
  if (written > 0 && ftruncate(log->fd, (off_t)log->size_bytes) != 0) {
    log->size_bytes += written; /* a device, or worse: the torn block stays */
  }
  error_text_set(ret_error, "cannot write: %s", strerror(number));
  return ERR_IO;
}

void file_log_close(struct file_log *log) {
  if (log == NULL || log->fd < 0) {
    return;
  }
  close(log->fd);
  log->fd = -1;
}
