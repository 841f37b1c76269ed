/* The two telemetry files, written in virtual time: no thread and no ring, large blocks. As TSV, or
 * as columns (telemetry/columns.h).
 *
 * Thread: one owner. Cost: about 100 ns a row, and a write(2) every few thousand rows.
 */
#ifndef CLOCKWORK_SIMULATOR_TELEMETRY_FILES_H
#define CLOCKWORK_SIMULATOR_TELEMETRY_FILES_H

#include "base/error.h"
#include "os/error_text.h"
#include "os/file.h"
#include "telemetry/telemetry.h"

enum { TELEMETRY_BLOCK_BYTES = 1 << 20 };

enum telemetry_form { TELEMETRY_TSV, TELEMETRY_COLUMNS };

struct telemetry_file {
  struct file_log log;
  char *block;
  size_t used_bytes;
  void *rows; /* COLUMNS: of the next block */
  uint32_t rows_count;
};

struct telemetry_files {
  enum telemetry_form form;
  struct telemetry_file requests;
  struct telemetry_file actions;
  bool has_failed;
  struct error_text error; /* the first failure */
};

/* Create or empty both files in `folder` and write their header rows. ERR_NOT_FOUND, ERR_IO,
 * ERR_NO_MEMORY. */
MUST_USE enum err telemetry_files_open(struct telemetry_files *files, const char *folder,
                                       enum telemetry_form form, struct error_text *ret_error);

void telemetry_files_on_request(struct telemetry_files *files, const struct telemetry_request *row);
void telemetry_files_on_action(struct telemetry_files *files, const struct telemetry_action *row);

/* Write what is left and close. ERR_IO if any write had failed; `ret_error` says why. Accepts a
 * zeroed one. */
MUST_USE enum err telemetry_files_close(struct telemetry_files *files,
                                        struct error_text *ret_error);

#endif
