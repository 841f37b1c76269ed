/* Telemetry events as structs and as rows of tab-separated text; both come from events.def.
 *
 * The scheduler reports into a sink; who listens (recorder, simulator, test) is not its business.
 * A row is independent of locale, compiler and machine: same event, same bytes.
 *
 * Pure. Thread: any, no state. Cost: telemetry_format_action takes about 100 ns.
 */
#ifndef CLOCKWORK_TELEMETRY_TELEMETRY_H
#define CLOCKWORK_TELEMETRY_TELEMETRY_H

#include <stddef.h>
#include <stdint.h>

/* The C type behind each column type of events.def, and the most characters it prints. */
#define TELEMETRY_TYPE_i64 int64_t
#define TELEMETRY_TYPE_u64 uint64_t
#define TELEMETRY_TYPE_u32 uint32_t
#define TELEMETRY_TYPE_real double
enum {
  TELEMETRY_WIDTH_i64 = 20,
  TELEMETRY_WIDTH_u64 = 20,
  TELEMETRY_WIDTH_u32 = 10,
  TELEMETRY_WIDTH_real = 32,
};

/* struct telemetry_request, struct telemetry_action: a field for each column, in its order. */
#define EVENT_BEGIN(event, file) struct telemetry_##event {
#define COLUMN(event, type, name) TELEMETRY_TYPE_##type name;
#define EVENT_END(event)                                                                           \
  }                                                                                                \
  ;
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

/* TELEMETRY_ROW_BYTES_MAX_request, _action: room that every row fits in (a tab or newline follows
 * each column). */
enum {
#define EVENT_BEGIN(event, file) TELEMETRY_ROW_BYTES_MAX_##event = 0
#define COLUMN(event, type, name) +TELEMETRY_WIDTH_##type + 1
#define EVENT_END(event) ,
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END
};

/* For each event:
 *   telemetry_file_EVENT()     the file's name, without folder;
 *   telemetry_header_EVENT()   the header row, with its newline;
 *   telemetry_format_EVENT()   writes one row, with its newline, no 0 byte; returns its length, or
 * 0 (nothing written) if `capacity_bytes` is below the event's TELEMETRY_ROW_BYTES_MAX. Texts have
 * static storage. A real prints as an integer when it is one, else with the fewest decimals that
 * read back as the same value, where 15 significant digits suffice for that (every number that a
 * person typed); other values are rounded to 15 significant digits and at most 18 decimals. From
 * 2^63 on it prints as inf or -inf, a NaN as nan.
 */
#define EVENT_BEGIN(event, file)                                                                   \
  const char *telemetry_file_##event(void);                                                        \
  const char *telemetry_header_##event(void);                                                      \
  size_t telemetry_format_##event(const struct telemetry_##event *row, char *ret_text,             \
                                  size_t capacity_bytes);
#define COLUMN(event, type, name)
#define EVENT_END(event)
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

/* Where events go. Both functions are set, copy what they want to keep, and never block. */
struct telemetry_sink {
  void *self;
  void (*on_request)(void *self, const struct telemetry_request *row);
  void (*on_action)(void *self, const struct telemetry_action *row);
};

#endif
