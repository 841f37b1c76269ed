#include "simulator/telemetry_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void flush(struct telemetry_files *files, struct telemetry_file *file) {
  if (file->used_bytes > 0 && !files->has_failed &&
      file_log_append(&file->log, file->block, file->used_bytes, &files->error) != ERR_OK) {
    files->has_failed = true;
  }
  file->used_bytes = 0;
}

static enum err open_one(struct telemetry_file *file, const char *folder, const char *name,
                         const char *header, struct error_text *ret_error) {
  char path[4096];
  const int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
  if (length < 0 || (size_t)length >= sizeof(path)) {
    error_text_set(ret_error, "the path is longer than %zu bytes", sizeof(path));
    return ERR_NOT_FOUND;
  }
  const enum err error = file_log_open(path, &file->log, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  file->block = malloc(TELEMETRY_BLOCK_BYTES);
  if (file->block == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  file->used_bytes = strlen(header);
  memcpy(file->block, header, file->used_bytes);
  return ERR_OK;
}

static void close_one(struct telemetry_file *file) {
  if (file->log.fd > 0) { /* 0: all zero, never opened */
    file_log_close(&file->log);
  }
  free(file->block);
  file->block = NULL;
}

enum err telemetry_files_open(struct telemetry_files *files, const char *folder,
                              struct error_text *ret_error) {
  *files =
      (struct telemetry_files){.requests = {.log = {.fd = -1}}, .actions = {.log = {.fd = -1}}};
  enum err error = open_one(&files->requests, folder, telemetry_file_request(),
                            telemetry_header_request(), ret_error);
  if (error == ERR_OK) {
    error = open_one(&files->actions, folder, telemetry_file_action(), telemetry_header_action(),
                     ret_error);
  }
  if (error != ERR_OK) {
    close_one(&files->requests);
    close_one(&files->actions);
  }
  return error;
}

void telemetry_files_on_request(struct telemetry_files *files,
                                const struct telemetry_request *row) {
  struct telemetry_file *file = &files->requests;
  if (TELEMETRY_BLOCK_BYTES - file->used_bytes < TELEMETRY_ROW_BYTES_MAX_request) {
    flush(files, file);
  }
  file->used_bytes += telemetry_format_request(row, file->block + file->used_bytes,
                                               TELEMETRY_BLOCK_BYTES - file->used_bytes);
}

void telemetry_files_on_action(struct telemetry_files *files, const struct telemetry_action *row) {
  struct telemetry_file *file = &files->actions;
  if (TELEMETRY_BLOCK_BYTES - file->used_bytes < TELEMETRY_ROW_BYTES_MAX_action) {
    flush(files, file);
  }
  file->used_bytes += telemetry_format_action(row, file->block + file->used_bytes,
                                              TELEMETRY_BLOCK_BYTES - file->used_bytes);
}

enum err telemetry_files_close(struct telemetry_files *files, struct error_text *ret_error) {
  flush(files, &files->requests);
  flush(files, &files->actions);
  close_one(&files->requests);
  close_one(&files->actions);
  if (files->has_failed && ret_error != NULL) {
    *ret_error = files->error;
  }
  return files->has_failed ? ERR_IO : ERR_OK;
}
