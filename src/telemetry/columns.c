#include "telemetry/columns.h"

#include <string.h>

#include "base/check.h"

const char telemetry_columns_magic[] = "clockwork-columns 1\n";

/* Little-endian, as all machines that this is built for are: a copy of the number's own bytes. */
static unsigned char *put(unsigned char *at, const void *number, size_t bytes) {
  memcpy(at, number, bytes);
  return at + bytes;
}

static uint64_t bits_i64(int64_t value) {
  return (uint64_t)value;
}

static uint64_t bits_u64(uint64_t value) {
  return value;
}

static uint64_t bits_u32(uint32_t value) {
  return value;
}

static uint64_t bits_real(double value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static uint32_t width_of(uint64_t largest) {
  return largest == 0            ? 0
         : largest <= UINT8_MAX  ? 1
         : largest <= UINT16_MAX ? 2
         : largest <= UINT32_MAX ? 4
                                 : 8;
}

/* One column's place in a block. */
struct column {
  unsigned char *head; /* where its base and width go */
  unsigned char *data; /* where its values go */
};

static struct column put_column(struct column column, const uint64_t *values, uint32_t count) {
  int64_t base = (int64_t)values[0];
  int64_t top = base;
  for (uint32_t i = 1; i < count; i++) {
    const int64_t value = (int64_t)values[i];
    base = value < base ? value : base;
    top = value > top ? value : top;
  }
  const uint32_t width = width_of((uint64_t)top - (uint64_t)base);
  column.head = put(column.head, &base, sizeof(base));
  column.head = put(column.head, &width, sizeof(width));
  for (uint32_t i = 0; i < count && width > 0; i++) {
    const uint64_t value = values[i] - (uint64_t)base;
    column.data = put(column.data, &value, width);
  }
  return column;
}

static size_t put_head(unsigned char *block, uint32_t count, const unsigned char *end) {
  const size_t bytes = (size_t)(end - block);
  const uint32_t rest = (uint32_t)(bytes - 8);
  put(put(block, &count, sizeof(count)), &rest, sizeof(rest));
  return bytes;
}

enum {
#define EVENT_BEGIN(event, file) COLUMNS_##event = 0
#define COLUMN(event, type, name) +1
#define EVENT_END(event) ,
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END
};

#define EVENT_BEGIN(event, file)                                                                   \
  size_t telemetry_columns_##event(const struct telemetry_##event *rows, uint32_t count,           \
                                   unsigned char *ret_block) {                                     \
    CHECK_GT(count, 0);                                                                            \
    CHECK_LE(count, TELEMETRY_COLUMNS_ROWS);                                                       \
    uint64_t values[TELEMETRY_COLUMNS_ROWS];                                                       \
    struct column column = {.head = ret_block + 8};                                                \
    column.data = column.head + 12 * COLUMNS_##event;
#define COLUMN(event, type, name)                                                                  \
  for (uint32_t i = 0; i < count; i++) {                                                           \
    values[i] = bits_##type(rows[i].name);                                                         \
  }                                                                                                \
  column = put_column(column, values, count);
#define EVENT_END(event)                                                                           \
  return put_head(ret_block, count, column.data);                                                  \
  }
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

/* The TSV file's name with another ending. */
const char *telemetry_columns_file_request(void) {
  return "clockwork_request_log.columns";
}

const char *telemetry_columns_file_action(void) {
  return "clockwork_action_log.columns";
}
