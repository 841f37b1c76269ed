/* Each message's fields are listed once, in wire order; encode and decode are that list, read in
 * two ways, so they can't disagree. */
#include "wire/messages.h"

/* Texts: u16 length, then the bytes. Control characters are refused: texts end up in logs. */
static void write_text(struct wire_writer *writer, const char *text, size_t capacity) {
  const size_t length = strnlen(text, capacity - 1);
  wire_write_u16(writer, (uint16_t)length);
  wire_write_bytes(writer, text, length);
}

static void read_text(struct wire_reader *reader, char *ret_text, size_t capacity) {
  const uint16_t length = wire_read_u16(reader);
  const unsigned char *bytes = length < capacity ? wire_read_bytes(reader, length) : NULL;
  ret_text[0] = '\0';
  if (bytes == NULL) {
    reader->has_failed = true;
    return;
  }
  for (uint16_t i = 0; i < length; i++) {
    if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
      reader->has_failed = true;
      return;
    }
  }
  memcpy(ret_text, bytes, length);
  ret_text[length] = '\0';
}

static void write_real(struct wire_writer *writer, double value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  wire_write_u64(writer, bits);
}

static double read_real(struct wire_reader *reader) {
  const uint64_t bits = wire_read_u64(reader);
  double value = 0;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

static bool read_bool(struct wire_reader *reader) {
  const uint8_t value = wire_read_u8(reader);
  if (value > 1) {
    reader->has_failed = true;
  }
  return value == 1;
}

static void write_spec(struct wire_writer *writer, const struct model_spec *spec) {
  write_text(writer, spec->name, sizeof(spec->name));
  wire_write_u64(writer, spec->input_bytes);
  wire_write_u64(writer, spec->output_bytes);
  wire_write_u64(writer, spec->weights_bytes);
  wire_write_u32(writer, spec->clock_mhz);
  wire_write_i64(writer, spec->load.ns);
  wire_write_u32(writer, spec->batch_kinds);
  for (uint32_t i = 0; i < spec->batch_kinds && i < MODEL_BATCH_KINDS; i++) {
    wire_write_u32(writer, spec->batch_sizes[i]);
    wire_write_i64(writer, spec->execute[i].ns);
  }
}

static void read_spec(struct wire_reader *reader, struct model_spec *ret_spec) {
  *ret_spec = (struct model_spec){.batch_kinds = 0};
  read_text(reader, ret_spec->name, sizeof(ret_spec->name));
  ret_spec->input_bytes = wire_read_u64(reader);
  ret_spec->output_bytes = wire_read_u64(reader);
  ret_spec->weights_bytes = wire_read_u64(reader);
  ret_spec->weights_pages = model_pages_of(ret_spec->weights_bytes);
  ret_spec->clock_mhz = wire_read_u32(reader);
  ret_spec->load.ns = wire_read_i64(reader);
  const uint32_t batch_kinds = wire_read_u32(reader);
  if (batch_kinds > MODEL_BATCH_KINDS) {
    reader->has_failed = true;
    return;
  }
  ret_spec->batch_kinds = batch_kinds;
  for (uint32_t i = 0; i < batch_kinds; i++) {
    ret_spec->batch_sizes[i] = wire_read_u32(reader);
    ret_spec->execute[i].ns = wire_read_i64(reader);
  }
}

#define FIELDS_load_request(F) F(u64, request_id) F(u32, copies) F(text, path)
#define FIELDS_load_answer(F)                                                                      \
  F(u64, request_id)                                                                               \
  F(u32, result)                                                                                   \
  F(u32, first_model_id)                                                                           \
  F(u32, copies)                                                                                   \
  F(u64, input_bytes) F(u64, output_bytes) F(i64, execute_one_ns) F(text, message)
#define FIELDS_infer_request(F)                                                                    \
  F(u64, request_id)                                                                               \
  F(u32, user_id)                                                                                  \
  F(u32, model_id)                                                                                 \
  F(u32, batch_size)                                                                               \
  F(real, slo_factor) F(u32, input_bytes) F(encoding, encoding) F(flag, wants_output)
#define FIELDS_infer_answer(F)                                                                     \
  F(u64, request_id)                                                                               \
  F(u32, result) F(u32, model_id) F(u32, batch_size) F(u32, output_bytes) F(i64, latency_ns)
#define FIELDS_list_request(F) F(u64, request_id) F(u32, first_model_id)
#define FIELDS_list_answer(F) F(u64, request_id) F(u32, next_model_id) F(u32, entries_count)
#define FIELDS_list_entry(F)                                                                       \
  F(u32, model_id) F(u64, input_bytes) F(u64, output_bytes) F(i64, execute_one_ns) F(text, name)
#define FIELDS_evict_request(F) F(u64, request_id) F(u32, model_id)
#define FIELDS_evict_answer(F) F(u64, request_id) F(u32, result) F(u32, evicted_count)
#define FIELDS_ping(F) F(i64, sent_ns)
#define FIELDS_pong(F) F(i64, ping_sent_ns) F(i64, received_ns) F(i64, answered_ns)
#define FIELDS_load_model(F)                                                                       \
  F(u64, action_id)                                                                                \
  F(u32, first_model_id) F(u32, copies) F(u32, max_batch) F(i64, max_execute_ns) F(text, path)
#define FIELDS_model_loaded(F) F(u64, action_id) F(u32, status) F(spec, spec)
#define FIELDS_action(F)                                                                           \
  F(u64, action_id)                                                                                \
  F(u8, type)                                                                                      \
  F(u32, gpu_index)                                                                                \
  F(u32, model_id)                                                                                 \
  F(u32, batch_size)                                                                               \
  F(i64, earliest_ns) F(i64, latest_ns) F(flag, wants_outputs) F(u32, inputs_count)
#define FIELDS_action_input(F) F(u32, input_bytes) F(u32, stored_bytes) F(encoding, encoding)
#define FIELDS_result(F)                                                                           \
  F(u64, action_id)                                                                                \
  F(u8, type)                                                                                      \
  F(u32, status)                                                                                   \
  F(u32, gpu_index)                                                                                \
  F(u32, model_id)                                                                                 \
  F(u32, batch_size)                                                                               \
  F(i64, input_begin_ns)                                                                           \
  F(i64, input_end_ns)                                                                             \
  F(i64, run_begin_ns)                                                                             \
  F(i64, run_end_ns)                                                                               \
  F(i64, output_begin_ns)                                                                          \
  F(i64, output_end_ns)                                                                            \
  F(u32, clock_before_mhz)                                                                         \
  F(u32, clock_after_mhz) F(i64, received_ns) F(i64, sent_ns) F(u64, bad_inputs)
#define FIELDS_get_state(F) F(u64, action_id)
#define FIELDS_state(F) F(u64, action_id) F(u32, gpus_count) F(u32, models_count)
#define FIELDS_state_gpu(F) F(text, name) F(u32, pages) F(u32, clock_mhz) F(u32, resident_count)
#define FIELDS_state_model(F) F(u32, first_model_id) F(u32, copies) F(text, path) F(spec, spec)
#define FIELDS_clear_cache(F) F(u64, action_id)
#define FIELDS_cache_cleared(F) F(u64, action_id) F(u32, pages_freed)
#define FIELDS_gpu_lost(F) F(u32, gpu_index) F(text, reason)

#define ENCODE_u8(field) wire_write_u8(writer, message->field);
#define ENCODE_u32(field) wire_write_u32(writer, message->field);
#define ENCODE_u64(field) wire_write_u64(writer, message->field);
#define ENCODE_i64(field) wire_write_i64(writer, message->field);
#define ENCODE_real(field) write_real(writer, message->field);
#define ENCODE_flag(field) wire_write_u8(writer, message->field ? 1 : 0);
#define ENCODE_encoding(field) wire_write_u8(writer, message->field);
#define ENCODE_text(field) write_text(writer, message->field, sizeof(message->field));
#define ENCODE_spec(field) write_spec(writer, &message->field);
#define ENCODE_(type, field) ENCODE_##type(field)

#define DECODE_u8(field) ret_message->field = wire_read_u8(reader);
#define DECODE_u32(field) ret_message->field = wire_read_u32(reader);
#define DECODE_u64(field) ret_message->field = wire_read_u64(reader);
#define DECODE_i64(field) ret_message->field = wire_read_i64(reader);
#define DECODE_real(field) ret_message->field = read_real(reader);
#define DECODE_flag(field) ret_message->field = read_bool(reader);
#define DECODE_encoding(field)                                                                     \
  ret_message->field = wire_read_u8(reader);                                                       \
  if (ret_message->field > WIRE_LZ4) {                                                             \
    reader->has_failed = true;                                                                     \
  }
#define DECODE_text(field) read_text(reader, ret_message->field, sizeof(ret_message->field));
#define DECODE_spec(field) read_spec(reader, &ret_message->field);
#define DECODE_(type, field) DECODE_##type(field)

#define WIRE_DEFINE_(name)                                                                         \
  void wire_encode_##name(struct wire_writer *writer, const struct wire_##name *message) {         \
    FIELDS_##name(ENCODE_)                                                                         \
  }                                                                                                \
  enum err wire_decode_##name(struct wire_reader *reader, struct wire_##name *ret_message) {       \
    FIELDS_##name(DECODE_) return reader->has_failed ? ERR_MALFORMED : ERR_OK;                     \
  }
WIRE_MESSAGES(WIRE_DEFINE_)
