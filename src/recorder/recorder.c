#include "recorder/recorder.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/file.h"
#include "os/memory.h"
#include "os/thread.h"

enum {
  RECORDER_RING_ROWS_DEFAULT = 65536,
  RECORDER_RING_ROWS_MAX = 1 << 24,
  /* Rows collect here, so that one write(2) takes hundreds of them. */
  RECORDER_TEXT_BYTES = 128 * 1024,
  /* The reader gives slots back to the reporter after this many rows, not after each: the counter
   * lies in a cache line that both threads look at. */
  RECORDER_RELEASE_ROWS = 64,
};

/* Short against the 250 ms that recorder.h promises, long against the cost of waking. */
#define RECORDER_PERIOD duration_ms(100)

/* One event's ring and file. `written` belongs to the reporter, `read` to the recorder's thread;
 * both only grow, their difference is what waits. Each lies in a cache line of its own. */
struct recorder_stream {
  _Alignas(64) atomic_uint_fast64_t written;
  uint64_t read_seen;    /* the reporter's last look at `read` */
  uint64_t read_at_wake; /* `read` when the reporter last woke the thread */
  atomic_uint_fast64_t dropped;

  _Alignas(64) atomic_uint_fast64_t read;
  atomic_uint_fast64_t saved; /* rows that the kernel has */
  atomic_uint_fast64_t lost;
  struct file_log log;
  bool is_failing;

  _Alignas(64) unsigned char *rows; /* the rest is written before the thread starts */
  size_t row_bytes;
  uint64_t capacity; /* a power of two */
  size_t (*format)(const void *row, char *ret_text, size_t capacity_bytes);
  size_t text_bytes_max; /* of a row */
  const char *file_name;
};

enum {
#define EVENT_BEGIN(event, file) RECORDER_STREAM_##event,
#define COLUMN(event, type, name)
#define EVENT_END(event)
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END
  RECORDER_STREAMS,
};

enum recorder_error_state { RECORDER_ERROR_NONE, RECORDER_ERROR_FILLED };

struct recorder {
  struct recorder_stream streams[RECORDER_STREAMS];
  struct os_event wake;
  struct os_thread thread;
  atomic_bool is_stopping;
  /* Who may touch `error`: the recorder's thread while the state is NONE, else the taker. */
  atomic_int error_state;
  struct error_text error;
  char folder[PATH_MAX];
  char text[RECORDER_TEXT_BYTES];
};

/* ---- the reporter's side --------------------------------------------------------------------- */

static void recorder_push(struct recorder *recorder, struct recorder_stream *stream,
                          const void *row) {
  const uint64_t written = atomic_load_explicit(&stream->written, memory_order_relaxed);
  if (written - stream->read_seen >= stream->capacity / 2) {
    stream->read_seen = atomic_load_explicit(&stream->read, memory_order_acquire);
    if (written - stream->read_seen >= stream->capacity / 2 &&
        stream->read_at_wake != stream->read_seen + 1) {
      stream->read_at_wake = stream->read_seen + 1; /* + 1: 0 is "never woken" */
      os_event_set(&recorder->wake);
    }
    if (written - stream->read_seen == stream->capacity) {
      atomic_fetch_add_explicit(&stream->dropped, 1, memory_order_relaxed);
      return;
    }
  }
  memcpy(stream->rows + (written & (stream->capacity - 1)) * stream->row_bytes, row,
         stream->row_bytes);
  atomic_store_explicit(&stream->written, written + 1, memory_order_release);
}

#define EVENT_BEGIN(event, file)                                                                   \
  static void recorder_on_##event(void *self, const struct telemetry_##event *row) {               \
    struct recorder *recorder = self;                                                              \
    recorder_push(recorder, &recorder->streams[RECORDER_STREAM_##event], row);                     \
  }                                                                                                \
  static void recorder_forget_##event(void *self, const struct telemetry_##event *row) {           \
    (void)self;                                                                                    \
    (void)row;                                                                                     \
  }                                                                                                \
  static size_t recorder_format_##event(const void *row, char *ret_text, size_t capacity_bytes) {  \
    return telemetry_format_##event(row, ret_text, capacity_bytes);                                \
  }
#define COLUMN(event, type, name)
#define EVENT_END(event)
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

struct telemetry_sink recorder_sink(struct recorder *recorder) {
  if (recorder == NULL) {
    return (struct telemetry_sink){.on_request = recorder_forget_request,
                                   .on_action = recorder_forget_action};
  }
  return (struct telemetry_sink){
      .self = recorder, .on_request = recorder_on_request, .on_action = recorder_on_action};
}

/* ---- the recorder's thread ------------------------------------------------------------------- */

static void recorder_append(struct recorder *recorder, struct recorder_stream *stream,
                            size_t text_bytes, uint64_t rows) {
  if (text_bytes == 0) {
    return;
  }
  struct error_text why;
  if (file_log_append(&stream->log, recorder->text, text_bytes, &why) == ERR_OK) {
    stream->is_failing = false;
    atomic_fetch_add_explicit(&stream->saved, rows, memory_order_relaxed);
    return;
  }
  atomic_fetch_add_explicit(&stream->lost, rows, memory_order_relaxed);
  if (!stream->is_failing &&
      atomic_load_explicit(&recorder->error_state, memory_order_acquire) == RECORDER_ERROR_NONE) {
    error_text_set(&recorder->error, "%.200s/%s: %.60s; its rows are lost until that is mended",
                   recorder->folder, stream->file_name, why.text);
    atomic_store_explicit(&recorder->error_state, RECORDER_ERROR_FILLED, memory_order_release);
  }
  stream->is_failing = true;
}

/* Everything that was reported before this call, in whole rows. */
static void recorder_drain(struct recorder *recorder, struct recorder_stream *stream) {
  const uint64_t written = atomic_load_explicit(&stream->written, memory_order_acquire);
  uint64_t read = atomic_load_explicit(&stream->read, memory_order_relaxed);
  size_t used = 0;
  uint64_t rows = 0;
  while (read != written) {
    if (sizeof(recorder->text) - used < stream->text_bytes_max) {
      recorder_append(recorder, stream, used, rows);
      used = 0;
      rows = 0;
    }
    const unsigned char *row = stream->rows + (read & (stream->capacity - 1)) * stream->row_bytes;
    used += stream->format(row, recorder->text + used, sizeof(recorder->text) - used);
    rows++;
    read++;
    if (read % RECORDER_RELEASE_ROWS == 0 || read == written) {
      atomic_store_explicit(&stream->read, read, memory_order_release);
    }
  }
  recorder_append(recorder, stream, used, rows);
}

static void *recorder_run(void *user) {
  struct recorder *recorder = user;
  bool is_stopping;
  do {
    os_event_wait(&recorder->wake, RECORDER_PERIOD);
    /* Read before draining: what was reported before the stop is then seen by the drain. */
    is_stopping = atomic_load_explicit(&recorder->is_stopping, memory_order_acquire);
    for (int i = 0; i < RECORDER_STREAMS; i++) {
      recorder_drain(recorder, &recorder->streams[i]);
    }
  } while (!is_stopping);
  return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err recorder_choose_folder(struct recorder *recorder,
                                       const struct recorder_options *options,
                                       struct error_text *ret_error) {
  const char *fallback =
      options->fallback_folder != NULL ? options->fallback_folder : RECORDER_FALLBACK_FOLDER;
  const char *folder = options->folder;
  if (folder == NULL || !os_directory_is_writable(folder)) {
    folder = fallback;
  }
  if (!os_directory_is_writable(folder)) {
    error_text_set(ret_error,
                   "CLOCKWORK_LOG_DIR %s%.120s, and %.120s is no folder that can be written; "
                   "set it to one",
                   options->folder != NULL ? "names no such folder: " : "is not set",
                   options->folder != NULL ? options->folder : "", fallback);
    return ERR_NOT_FOUND;
  }
  const int length = snprintf(recorder->folder, sizeof(recorder->folder), "%s", folder);
  if (length < 0 || (size_t)length >= sizeof(recorder->folder) - 64) { /* room for a file's name */
    error_text_set(ret_error, "the name of the folder is too long");
    return ERR_TOO_LARGE;
  }
  return ERR_OK;
}

static enum err recorder_open(struct recorder *recorder, struct recorder_stream *stream,
                              const char *header, uint32_t ring_rows,
                              struct error_text *ret_error) {
  stream->capacity = 1;
  while (stream->capacity < ring_rows) {
    stream->capacity *= 2;
  }
  stream->rows = os_memory_take(stream->capacity * stream->row_bytes);
  if (stream->rows == NULL) {
    error_text_set(ret_error, "no memory for %llu rows", (unsigned long long)stream->capacity);
    return ERR_NO_MEMORY;
  }
  char path[PATH_MAX + 64];
  snprintf(path, sizeof(path), "%s/%s", recorder->folder, stream->file_name);
  struct error_text why;
  enum err err = file_log_open(path, &stream->log, &why);
  if (err == ERR_OK) {
    err = file_log_append(&stream->log, header, strlen(header), &why);
  }
  if (err != ERR_OK) {
    error_text_set(ret_error, "%.280s", why.text);
  }
  return err;
}

static void recorder_free(struct recorder *recorder) {
  for (int i = 0; i < RECORDER_STREAMS; i++) {
    struct recorder_stream *stream = &recorder->streams[i];
    file_log_close(&stream->log);
    os_memory_give(stream->rows, stream->capacity * stream->row_bytes);
  }
  os_event_finish(&recorder->wake);
  os_memory_give(recorder, sizeof(*recorder));
}

enum err recorder_create(const struct recorder_options *options, struct recorder **ret_recorder,
                         struct error_text *ret_error) {
  struct recorder *recorder = os_memory_take(sizeof(*recorder));
  if (recorder == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  const char *headers[RECORDER_STREAMS];
  recorder->wake.fd = -1;
#define EVENT_BEGIN(event, file)                                                                   \
  headers[RECORDER_STREAM_##event] = telemetry_header_##event();                                   \
  recorder->streams[RECORDER_STREAM_##event].log.fd = -1;                                          \
  recorder->streams[RECORDER_STREAM_##event].row_bytes = sizeof(struct telemetry_##event);         \
  recorder->streams[RECORDER_STREAM_##event].format = recorder_format_##event;                     \
  recorder->streams[RECORDER_STREAM_##event].text_bytes_max = TELEMETRY_ROW_BYTES_MAX_##event;     \
  recorder->streams[RECORDER_STREAM_##event].file_name = telemetry_file_##event();
#define COLUMN(event, type, name)
#define EVENT_END(event)
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

  uint32_t ring_rows = options->ring_rows == 0 ? RECORDER_RING_ROWS_DEFAULT : options->ring_rows;
  if (ring_rows > RECORDER_RING_ROWS_MAX) {
    ring_rows = RECORDER_RING_ROWS_MAX;
  }
  enum err err = recorder_choose_folder(recorder, options, ret_error);
  for (int i = 0; i < RECORDER_STREAMS && err == ERR_OK; i++) {
    err = recorder_open(recorder, &recorder->streams[i], headers[i], ring_rows, ret_error);
  }
  if (err != ERR_OK) {
    goto fail;
  }
  err = os_event_init(&recorder->wake);
  if (err == ERR_OK) {
    err = os_thread_start(&recorder->thread, "recorder", recorder_run, recorder);
  }
  if (err != ERR_OK) {
    error_text_set(ret_error, "cannot start its thread: %s", err_text(err));
    goto fail;
  }
  *ret_recorder = recorder;
  return ERR_OK;

fail:
  recorder_free(recorder);
  return err;
}

const char *recorder_folder(const struct recorder *recorder) {
  return recorder->folder;
}

void recorder_counters(const struct recorder *recorder, struct recorder_counters *ret_counters) {
  *ret_counters = (struct recorder_counters){0};
  if (recorder == NULL) {
    return;
  }
  for (int i = 0; i < RECORDER_STREAMS; i++) {
    const struct recorder_stream *stream = &recorder->streams[i];
    ret_counters->rows_written += atomic_load_explicit(&stream->saved, memory_order_relaxed);
    ret_counters->rows_dropped += atomic_load_explicit(&stream->dropped, memory_order_relaxed);
    ret_counters->rows_lost += atomic_load_explicit(&stream->lost, memory_order_relaxed);
  }
}

bool recorder_take_error(struct recorder *recorder, struct error_text *ret_error) {
  if (recorder == NULL ||
      atomic_load_explicit(&recorder->error_state, memory_order_acquire) != RECORDER_ERROR_FILLED) {
    return false;
  }
  *ret_error = recorder->error;
  atomic_store_explicit(&recorder->error_state, RECORDER_ERROR_NONE, memory_order_release);
  return true;
}

void recorder_destroy(struct recorder *recorder, struct recorder_counters *ret_counters) {
  if (recorder != NULL) {
    atomic_store_explicit(&recorder->is_stopping, true, memory_order_release);
    os_event_set(&recorder->wake);
    os_thread_join(&recorder->thread);
  }
  if (ret_counters != NULL) {
    recorder_counters(recorder, ret_counters);
  }
  if (recorder != NULL) {
    recorder_free(recorder);
  }
}
