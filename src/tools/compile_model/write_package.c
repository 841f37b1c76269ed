#include "tools/compile_model/write_package.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "package/format.h"

enum { PATH_BYTES = 4096, ZEROS_BYTES = 1 << 16 };

struct writer {
  struct file_log file;
  uint64_t checksum;
  uint64_t bytes;
};

static enum err append(struct writer *w, const void *bytes, uint64_t count,
                       struct error_text *ret_error) {
  w->checksum = format_checksum(w->checksum, bytes, count);
  w->bytes += count;
  return file_log_append(&w->file, bytes, count, ret_error);
}

static enum err append_zeros(struct writer *w, uint64_t count, struct error_text *ret_error) {
  static const unsigned char ZEROS[ZEROS_BYTES];
  while (count > 0) {
    const uint64_t part = count < ZEROS_BYTES ? count : ZEROS_BYTES;
    const enum err error = append(w, ZEROS, part, ret_error);
    if (error != ERR_OK) {
      return error;
    }
    count -= part;
  }
  return ERR_OK;
}

static enum err append_weights(struct writer *w, const struct compile_result *result,
                               struct error_text *ret_error) {
  enum err error = ERR_OK;
  for (uint32_t i = 0; error == ERR_OK && i < result->weights_count; i++) {
    const struct compile_weight *weight = &result->weights[i];
    error = append_zeros(w, weight->offset_bytes - w->bytes, ret_error);
    if (error == ERR_OK) {
      error = append(w, weight->data, weight->bytes, ret_error);
    }
  }
  const uint64_t pages = model_pages_of(result->plan->weights_bytes);
  return error != ERR_OK ? error : append_zeros(w, pages * MODEL_PAGE_BYTES - w->bytes, ret_error);
}

static enum err write_weights(const char *path, const struct compile_result *result,
                              uint64_t *ret_checksum, struct error_text *ret_error) {
  char beside[PATH_BYTES + 32];
  snprintf(beside, sizeof(beside), "%s.%ld.part", path, (long)getpid());
  struct writer w = {.file = {.fd = -1}};
  enum err error = file_log_open(beside, &w.file, ret_error);
  if (error == ERR_OK) {
    error = append_weights(&w, result, ret_error);
  }
  if (error == ERR_OK && (fsync(w.file.fd) != 0 || rename(beside, path) != 0)) {
    error_text_set(ret_error, "%s: %s; choose another folder", path, strerror(errno));
    error = ERR_IO;
  }
  file_log_close(&w.file);
  if (error != ERR_OK) {
    unlink(beside);
  }
  *ret_checksum = w.checksum;
  return error;
}

static enum err write_plan(const char *path, const struct plan *plan, uint64_t weights_checksum,
                           struct error_text *ret_error) {
  const size_t bytes = format_encoded_bytes(plan);
  void *content = malloc(bytes);
  if (content == NULL) {
    error_text_set(ret_error, "Out of memory: the plan has %zu bytes", bytes);
    return ERR_NO_MEMORY;
  }
  format_encode(plan, weights_checksum, content, bytes);
  const enum err error = file_write_atomically(path, content, bytes, ret_error);
  free(content);
  return error;
}

enum err write_package(const char *folder, const struct compile_result *result,
                       struct error_text *ret_error) {
  char weights[PATH_BYTES];
  char plan[PATH_BYTES];
  uint64_t checksum = 0;
  if (snprintf(weights, sizeof(weights), "%s/%s", folder, FORMAT_WEIGHTS_FILE) >= PATH_BYTES ||
      snprintf(plan, sizeof(plan), "%s/%s", folder, FORMAT_PLAN_FILE) >= PATH_BYTES) {
    error_text_set(ret_error, "-o: the folder's name is too long");
    return ERR_IO;
  }
  const enum err error = write_weights(weights, result, &checksum, ret_error);
  return error != ERR_OK ? error : write_plan(plan, result->plan, checksum, ret_error);
}
