/* A day of calls: for each function the number of calls in each minute, stored sparsely.
 *
 * Read from the text of a file in the schema of the Azure Functions Trace 2019,
 *   HashOwner,HashApp,HashFunction,Trigger,1,2,...,1440
 * (one row a function), or built by a generator (workload/synthetic_day.h). Only minutes with calls
 * are kept, as pairs of variable-length integers (minutes skipped, calls): about two bytes each, so
 * that a full day of 46,000 functions fits in some 25 MB.
 *
 * Immutable after init: any number of workloads may read one trace.
 */
#ifndef CLOCKWORK_WORKLOAD_TRACE_H
#define CLOCKWORK_WORKLOAD_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "workload/fault.h"

enum {
  TRACE_MINUTES = 1440,
  /* Of one function in one minute: a million calls a second, more than any platform serves. */
  TRACE_COUNT_MAX = 60 * 1000 * 1000,
  TRACE_FUNCTIONS_MAX = 1000 * 1000,
  /* The public trace's days. */
  TRACE_ID_MAX = 14,
};

struct trace_function {
  uint64_t calls_count; /* of the day */
  uint32_t begin;       /* where its pairs lie in trace.pairs */
  uint32_t end;
};

struct trace {
  struct trace_function *functions; /* in the order of the file's rows */
  unsigned char *pairs;
  uint64_t calls_count; /* of all functions */
  uint32_t function_count;
  uint32_t pairs_bytes;
};

/* Check `text` and learn how much memory trace_init() needs for it. Tolerated, because real files
 * have them: CRLF, a byte order mark, a missing last newline, empty lines at the end, fields in
 * double quotes, empty count fields (0). Anything else is ERR_MALFORMED, more functions than
 * TRACE_FUNCTIONS_MAX is ERR_TOO_LARGE, and *ret_fault then names line and field; *ret_bytes is
 * untouched. Cost O(text_bytes), a few seconds a GB. */
MUST_USE enum err trace_measure(const char *text, size_t text_bytes, size_t *ret_bytes,
                                struct workload_fault *ret_fault);

/* The trace of a text that trace_measure() accepted (CHECK). `memory` is the caller's, as
 * base/arena.h asks and of that size, and holds all of the result; `text` may go away afterwards.
 */
const struct trace *trace_init(void *memory, const char *text, size_t text_bytes);

/* Write the public file name of a day, "invocations_per_function_md.anon.d01.csv" for 1. */
enum { TRACE_FILE_NAME_BYTES = 48 };
void trace_file_name(uint32_t trace_id, char ret_name[TRACE_FILE_NAME_BYTES]);

/* Walks the minutes of one function that have calls, in order. */
struct trace_cursor {
  uint32_t at;     /* offset of the next pair */
  uint32_t minute; /* after trace_next(): the minute just read, 0 to 1439 */
  uint32_t count;  /* after trace_next(): its calls, > 0 */
};

struct trace_cursor trace_first(const struct trace *trace, uint32_t function);

/* False after the last one. O(1). */
bool trace_next(const struct trace *trace, uint32_t function, struct trace_cursor *cursor);

/* Building a trace from rows of counts, for the reader and the generator. The same rows are given
 * twice: to a builder that only measures, then to one that writes. */
struct trace_builder {
  struct trace *trace; /* NULL: measures only */
  uint64_t calls_count;
  uint64_t row_calls_count;
  uint32_t function_count;
  uint32_t pairs_bytes;
  uint32_t pairs_bytes_max;
  uint32_t row_begin;
  uint32_t next_minute; /* the first that the row may still name */
};

void trace_builder_init_measuring(struct trace_builder *builder);

/* `memory` is the caller's, as base/arena.h asks, of trace_builder_bytes() of a builder that
 * measured `function_count` rows and `pairs_bytes` of pairs, or of fewer pairs if pairs_bytes is
 * only a limit that the rows are known to keep. */
void trace_builder_init(struct trace_builder *builder, void *memory, uint32_t function_count,
                        uint32_t pairs_bytes);

void trace_builder_begin_function(struct trace_builder *builder);

/* Minutes rise within a function (CHECK); a count of 0 is left out. */
void trace_builder_add(struct trace_builder *builder, uint32_t minute, uint32_t count);

void trace_builder_end_function(struct trace_builder *builder);

size_t trace_builder_bytes(const struct trace_builder *builder);

/* Fewer rows than announced are a bug (CHECK), as more are before. */
const struct trace *trace_builder_finish(struct trace_builder *builder);

#endif
