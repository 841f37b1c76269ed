#include "compiler/onnx_reader.h"

#include <stdbool.h>
#include <string.h>

enum {
  NESTING_MAX =
      64, /* an If in an If adds three levels; models that people export have one or two */
  WIRE_VARINT = 0,
  WIRE_64 = 1,
  WIRE_LENGTH = 2,
  WIRE_32 = 5,
};

struct level {
  size_t end;
  const ProtobufCMessageDescriptor *descriptor;
  uint64_t seen; /* a bit per singular message field, by its place in the descriptor */
};

static bool read_varint(const uint8_t *bytes, size_t end, size_t *at, uint64_t *ret_value) {
  uint64_t value = 0;
  for (uint32_t shift = 0; shift < 70; shift += 7) {
    if (*at >= end) {
      return false;
    }
    const uint8_t byte = bytes[(*at)++];
    if (shift < 64) {
      value |= (uint64_t)(byte & 0x7f) << shift;
    }
    if ((byte & 0x80) == 0) {
      *ret_value = value;
      return true;
    }
  }
  return false;
}

/* Steps over one field; one with a message of its own opens a level. NULL: well formed. */
static const char *step(const uint8_t *bytes, size_t *at, struct level *levels, uint32_t *depth) {
  struct level *level = &levels[*depth - 1];
  uint64_t tag = 0;
  uint64_t length = 0;
  if (!read_varint(bytes, level->end, at, &tag) || tag >> 3 == 0 || tag >> 32 != 0) {
    return "a field's tag is damaged";
  }
  switch (tag & 7) {
  case WIRE_VARINT:
    return read_varint(bytes, level->end, at, &length) ? NULL : "a number is cut off";
  case WIRE_64:
    length = 8;
    break;
  case WIRE_32:
    length = 4;
    break;
  case WIRE_LENGTH:
    if (!read_varint(bytes, level->end, at, &length)) {
      return "a length is cut off";
    }
    break;
  default:
    return "a field has an unknown wire type";
  }
  if (length > level->end - *at) {
    return "a field is longer than the message around it; the file may be cut off";
  }
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(level->descriptor, (unsigned)(tag >> 3));
  if ((tag & 7) != WIRE_LENGTH || field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) {
    *at += (size_t)length;
    return NULL;
  }
  if (field->label != PROTOBUF_C_LABEL_REPEATED) {
    const uint64_t bit = UINT64_C(1) << ((field - level->descriptor->fields) & 63);
    if ((level->seen & bit) != 0) {
      return "a message occurs twice where one may";
    }
    level->seen |= bit;
  }
  if (*depth == NESTING_MAX) {
    return "messages are nested too deep";
  }
  levels[(*depth)++] = (struct level){.end = *at + (size_t)length, .descriptor = field->descriptor};
  return NULL;
}

static void check_bytes(struct context *context, const uint8_t *bytes, size_t bytes_count) {
  struct level levels[NESTING_MAX] = {
      {.end = bytes_count, .descriptor = &onnx__model_proto__descriptor}};
  uint32_t depth = 1;
  size_t at = 0;
  while (depth > 0) {
    if (at == levels[depth - 1].end) {
      depth--;
      continue;
    }
    const char *wrong = step(bytes, &at, levels, &depth);
    if (wrong != NULL) {
      context_fail(context, ERR_MALFORMED, "is no ONNX file, or damaged: at byte %zu %s", at,
                   wrong);
    }
  }
}

static void *allocate(void *context, size_t bytes) {
  return context_try_take(context, bytes);
}

static void release(void *context, void *memory) {
  (void)context; /* the arena goes as a whole */
  (void)memory;
}

Onnx__ModelProto *onnx_read_model(struct context *context, const void *bytes, size_t bytes_count) {
  check_bytes(context, bytes, bytes_count);
  ProtobufCAllocator allocator = {.alloc = allocate, .free = release, .allocator_data = context};
  Onnx__ModelProto *model = onnx__model_proto__unpack(&allocator, bytes_count, bytes);
  if (model == NULL) {
    context_fail(context, ERR_MALFORMED, "is no ONNX file, or damaged, or too large");
  }
  return model;
}

const char *onnx_external_entry(const Onnx__TensorProto *tensor, const char *key) {
  for (size_t i = 0; i < tensor->n_external_data; i++) {
    const Onnx__StringStringEntryProto *entry = tensor->external_data[i];
    if (entry->key != NULL && entry->value != NULL && strcmp(entry->key, key) == 0) {
      return entry->value;
    }
  }
  return NULL;
}
