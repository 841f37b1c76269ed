#include "simulator/telemetry_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry/columns.h"

static void flush(struct telemetry_files *files, struct telemetry_file *file) {
  if (file->used_bytes > 0 && !files->has_failed &&
      file_log_append(&file->log, file->block, file->used_bytes, &files->error) != ERR_OK) {
    files->has_failed = true;
  }
  file->used_bytes = 0;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* `name`: of the file; a row of it takes row_bytes, a block of columns block_bytes. */
struct kind {
  const char *name;
  const char *header;
  size_t row_bytes;
  size_t block_bytes;
};

static enum err open_one(struct telemetry_file *file, const char *folder, enum telemetry_form form,
                         const struct kind *kind, struct error_text *ret_error) {
  char path[4096];
  const bool has_columns = form == TELEMETRY_COLUMNS;
  const int length = snprintf(path, sizeof(path), "%s/%s", folder, kind->name);
  if (length < 0 || (size_t)length >= sizeof(path)) {
    error_text_set(ret_error, "the path is longer than %zu bytes", sizeof(path));
    return ERR_NOT_FOUND;
  }
  const enum err error = file_log_open(path, &file->log, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  file->block = malloc(larger(TELEMETRY_BLOCK_BYTES, has_columns ? kind->block_bytes : 0));
  file->rows = has_columns ? malloc(TELEMETRY_COLUMNS_ROWS * kind->row_bytes) : NULL;
  if (file->block == NULL || (has_columns && file->rows == NULL)) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  file->used_bytes = (size_t)snprintf(file->block, TELEMETRY_BLOCK_BYTES, "%s%s",
                                      has_columns ? telemetry_columns_magic : "", kind->header);
  return ERR_OK;
}

static void close_one(struct telemetry_file *file) {
  if (file->log.fd > 0) { /* 0: all zero, never opened */
    file_log_close(&file->log);
  }
  free(file->block);
  free(file->rows);
  file->block = NULL;
  file->rows = NULL;
}

enum err telemetry_files_open(struct telemetry_files *files, const char *folder,
                              enum telemetry_form form, struct error_text *ret_error) {
  const bool has_columns = form == TELEMETRY_COLUMNS;
  const struct kind requests = {.name = has_columns ? telemetry_columns_file_request()
                                                    : telemetry_file_request(),
                                .header = telemetry_header_request(),
                                .row_bytes = sizeof(struct telemetry_request),
                                .block_bytes = TELEMETRY_COLUMNS_BYTES_MAX_request};
  const struct kind actions = {.name = has_columns ? telemetry_columns_file_action()
                                                   : telemetry_file_action(),
                               .header = telemetry_header_action(),
                               .row_bytes = sizeof(struct telemetry_action),
                               .block_bytes = TELEMETRY_COLUMNS_BYTES_MAX_action};
  *files = (struct telemetry_files){
      .form = form, .requests = {.log = {.fd = -1}}, .actions = {.log = {.fd = -1}}};
  enum err error = open_one(&files->requests, folder, form, &requests, ret_error);
  if (error == ERR_OK) {
    error = open_one(&files->actions, folder, form, &actions, ret_error);
  }
  if (error != ERR_OK) {
    close_one(&files->requests);
    close_one(&files->actions);
  }
  return error;
}

static void flush_requests(struct telemetry_files *files) {
  struct telemetry_file *file = &files->requests;
  flush(files, file);
  if (file->rows_count > 0) {
    file->used_bytes =
        telemetry_columns_request(file->rows, file->rows_count, (unsigned char *)file->block);
    file->rows_count = 0;
    flush(files, file);
  }
}

static void flush_actions(struct telemetry_files *files) {
  struct telemetry_file *file = &files->actions;
  flush(files, file);
  if (file->rows_count > 0) {
    file->used_bytes =
        telemetry_columns_action(file->rows, file->rows_count, (unsigned char *)file->block);
    file->rows_count = 0;
    flush(files, file);
  }
}

void telemetry_files_on_request(struct telemetry_files *files,
                                const struct telemetry_request *row) {
  struct telemetry_file *file = &files->requests;
  if (files->form == TELEMETRY_COLUMNS) {
    ((struct telemetry_request *)file->rows)[file->rows_count++] = *row;
    if (file->rows_count == TELEMETRY_COLUMNS_ROWS) {
      flush_requests(files);
    }
    return;
  }
  if (TELEMETRY_BLOCK_BYTES - file->used_bytes < TELEMETRY_ROW_BYTES_MAX_request) {
    flush(files, file);
  }
  file->used_bytes += telemetry_format_request(row, file->block + file->used_bytes,
                                               TELEMETRY_BLOCK_BYTES - file->used_bytes);
}

void telemetry_files_on_action(struct telemetry_files *files, const struct telemetry_action *row) {
  struct telemetry_file *file = &files->actions;
  if (files->form == TELEMETRY_COLUMNS) {
    ((struct telemetry_action *)file->rows)[file->rows_count++] = *row;
    if (file->rows_count == TELEMETRY_COLUMNS_ROWS) {
      flush_actions(files);
    }
    return;
  }
  if (TELEMETRY_BLOCK_BYTES - file->used_bytes < TELEMETRY_ROW_BYTES_MAX_action) {
    flush(files, file);
  }
  file->used_bytes += telemetry_format_action(row, file->block + file->used_bytes,
                                              TELEMETRY_BLOCK_BYTES - file->used_bytes);
}

enum err telemetry_files_close(struct telemetry_files *files, struct error_text *ret_error) {
  flush_requests(files);
  flush_actions(files);
  close_one(&files->requests);
  close_one(&files->actions);
  if (files->has_failed && ret_error != NULL) {
    *ret_error = files->error;
  }
  return files->has_failed ? ERR_IO : ERR_OK;
}
