/* Telemetry to disk, without ever holding up the thread that reports it.
 *
 * The reporting thread copies a row into a bounded ring (one ring per event; no lock, no system
 * call; a system call only when a ring is half full). The recorder's own thread wakes every 100 ms,
 * turns rows into text and writes them.
 *
 * Guarantees:
 *  - rows of one event stand in the file in the order in which they were reported;
 *  - a full ring drops the new row and counts it, the reporter goes on;
 *  - after recorder_destroy() every row that was not counted as dropped or lost is in its file;
 *  - a row is handed to the kernel within 250 ms of its report while the disk keeps up, so a
 * process killed by SIGKILL loses under a second; writes are of whole rows (file_log_append in
 *    os/file.h says when a last row can still be torn);
 *  - a disk that is full or gone loses rows, which are counted, and nothing else; recording goes on
 *    when there is room again.
 *
 * Cost: about 50 ns per row for the reporter, under 1 us for the recorder's thread. Idle: ten
 * wakeups a second.
 */
#ifndef CLOCKWORK_RECORDER_RECORDER_H
#define CLOCKWORK_RECORDER_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/error_text.h"
#include "telemetry/telemetry.h"

/* Where the published system's scripts look when CLOCKWORK_LOG_DIR says nothing. */
#define RECORDER_FALLBACK_FOLDER "/local"

struct recorder_options {
  const char *folder;          /* the value of CLOCKWORK_LOG_DIR; NULL if that is not set */
  const char *fallback_folder; /* NULL: RECORDER_FALLBACK_FOLDER */
  uint32_t ring_rows;          /* of each event; 0: 65,536; rounded up to a power of two */
};

struct recorder_counters {
  uint64_t rows_written; /* handed to the kernel */
  uint64_t rows_dropped; /* the ring was full */
  uint64_t rows_lost;    /* the disk refused them */
};

struct recorder;

/* Empty both files in options->folder, else in the fallback folder, write their header rows and
 * start the thread. `options` is only read here.
 * ERR_NOT_FOUND: neither folder is there and writable; ERR_IO, ERR_NO_MEMORY: `ret_error` (may be
 * NULL) says what. The caller prints it and goes on without. Existing files are overwritten, as the
 * original does. */
MUST_USE enum err recorder_create(const struct recorder_options *options,
                                  struct recorder **ret_recorder, struct error_text *ret_error);

/* A sink into this recorder, valid until recorder_destroy. With NULL: a sink that forgets, so that
 * a program without telemetry needs no branch. Its functions belong to one thread. */
struct telemetry_sink recorder_sink(struct recorder *recorder);

/* The folder that was chosen. Valid until recorder_destroy. */
const char *recorder_folder(const struct recorder *recorder);

/* Thread: any. All zero for NULL. */
void recorder_counters(const struct recorder *recorder, struct recorder_counters *ret_counters);

/* True once after each time that writing began to fail (not again until it has succeeded in
 * between); `ret_error` then has the line to print. For a program's periodic summary.
 * Thread: any, one at a time. False for NULL. */
bool recorder_take_error(struct recorder *recorder, struct error_text *ret_error);

/* Write what is in the rings, close the files, end the thread. `ret_counters` (may be NULL) gets
 * the final counts. Accepts NULL (counts are then zero). Cost: blocks until the disk took the rest.
 */
void recorder_destroy(struct recorder *recorder, struct recorder_counters *ret_counters);

#endif
