/* Telemetry as blocks of columns: a third of the bytes of the TSV files, and read as fast as
 * memory.
 *
 * A file is
 *   "clockwork-columns 1\n"
 *   the header row of the TSV file, with its newline
 *   blocks, each:
 *     u32 rows, at most TELEMETRY_COLUMNS_ROWS    u32 bytes that follow in this block
 *     for each column: i64 base, u32 width         width: 0, 1, 2, 4 or 8
 *     for each column: rows x width bytes, value - base as an unsigned number
 * All little-endian, without padding. Width 0: all values are the base. A real is kept as its bits.
 * A block that is cut off at the end of a file is no block.
 *
 * Pure. Cost: about 5 ns a value.
 */
#ifndef CLOCKWORK_TELEMETRY_COLUMNS_H
#define CLOCKWORK_TELEMETRY_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "telemetry/telemetry.h"

enum {
  /* Two seconds and more of arrivals: times within a block fit in four bytes. */
  TELEMETRY_COLUMNS_ROWS = 16384,
};

/* What a file begins with, before the header row. */
extern const char telemetry_columns_magic[];

/* TELEMETRY_COLUMNS_BYTES_MAX_request, _action: room for any block. */
enum {
#define EVENT_BEGIN(event, file) TELEMETRY_COLUMNS_BYTES_MAX_##event = 8
#define COLUMN(event, type, name) +12 + 8 * TELEMETRY_COLUMNS_ROWS
#define EVENT_END(event) ,
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END
};

/* For each event:
 *   telemetry_columns_file_EVENT()  the file's name, without folder;
 *   telemetry_columns_EVENT()       writes `count` rows, 1 to TELEMETRY_COLUMNS_ROWS (CHECK), as a
 * block into `ret_block`, which has room for TELEMETRY_COLUMNS_BYTES_MAX_EVENT; returns its bytes.
 */
#define EVENT_BEGIN(event, file)                                                                   \
  const char *telemetry_columns_file_##event(void);                                                \
  size_t telemetry_columns_##event(const struct telemetry_##event *rows, uint32_t count,           \
                                   unsigned char *ret_block);
#define COLUMN(event, type, name)
#define EVENT_END(event)
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

#endif
