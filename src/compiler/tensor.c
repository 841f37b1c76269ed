/* Tensors of the file as constants: inline, raw or external bytes. */
#include <string.h>

#include "compiler/lowering.h"

bool lower_type(int32_t onnx_type, enum plan_type *ret_type) {
  static const enum plan_type TYPES[] = {
      [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT] = PLAN_F32,
      [ONNX__TENSOR_PROTO__DATA_TYPE__UINT8] = PLAN_U8,
      [ONNX__TENSOR_PROTO__DATA_TYPE__INT8] = PLAN_I8,
      [ONNX__TENSOR_PROTO__DATA_TYPE__UINT16] = PLAN_U16,
      [ONNX__TENSOR_PROTO__DATA_TYPE__INT16] = PLAN_I16,
      [ONNX__TENSOR_PROTO__DATA_TYPE__INT32] = PLAN_I32,
      [ONNX__TENSOR_PROTO__DATA_TYPE__INT64] = PLAN_I64,
      [ONNX__TENSOR_PROTO__DATA_TYPE__BOOL] = PLAN_BOOL,
      [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16] = PLAN_F16,
      [ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE] = PLAN_F64,
      [ONNX__TENSOR_PROTO__DATA_TYPE__UINT32] = PLAN_U32,
      [ONNX__TENSOR_PROTO__DATA_TYPE__UINT64] = PLAN_U64,
  };
  if (onnx_type < 0 || (size_t)onnx_type >= sizeof(TYPES) / sizeof(TYPES[0]) ||
      TYPES[onnx_type] == 0) {
    return false;
  }
  *ret_type = TYPES[onnx_type];
  return true;
}

static const char *name_of(const Onnx__TensorProto *tensor) {
  return tensor->name != NULL ? tensor->name : "";
}

static bool read_offset(const char *text, uint64_t otherwise, uint64_t *ret_value) {
  if (text == NULL) {
    *ret_value = otherwise;
    return true;
  }
  uint64_t value = 0;
  if (*text == '\0') {
    return false;
  }
  for (; *text != '\0'; text++) {
    if (*text < '0' || *text > '9' || value > UINT64_MAX / 10 - 9) {
      return false;
    }
    value = value * 10 + (uint64_t)(*text - '0');
  }
  *ret_value = value;
  return true;
}

/* The tensor's bytes within its external file. */
static const void *external_bytes(struct compiler *compiler, const Onnx__TensorProto *tensor,
                                  uint64_t bytes) {
  struct context *context = &compiler->context;
  const char *path = onnx_external_entry(tensor, "location");
  const struct external *file = NULL;
  for (uint32_t i = 0; path != NULL && i < compiler->externals_count; i++) {
    if (strcmp(compiler->externals[i].path, path) == 0) {
      file = &compiler->externals[i];
    }
  }
  uint64_t offset = 0;
  uint64_t length = 0;
  if (file == NULL || !read_offset(onnx_external_entry(tensor, "offset"), 0, &offset) ||
      !read_offset(onnx_external_entry(tensor, "length"), bytes, &length)) {
    context_fail(context, ERR_MALFORMED, "the external data of tensor '%s' has no valid place",
                 name_of(tensor));
  }
  if (length != bytes || offset > file->bytes_count || bytes > file->bytes_count - offset) {
    context_fail(context, ERR_MALFORMED,
                 "tensor '%s' is to be %llu bytes at %llu of '%s', which has %llu", name_of(tensor),
                 (unsigned long long)bytes, (unsigned long long)offset, path,
                 (unsigned long long)file->bytes_count);
  }
  return file->bytes + offset;
}

/* int32_data holds all types up to 32 bits but float; copies them to their own width. */
static void narrow(const int32_t *from, uint64_t count, uint32_t width, void *to) {
  for (uint64_t i = 0; i < count; i++) {
    if (width == 1) {
      ((uint8_t *)to)[i] = (uint8_t)from[i];
    } else {
      ((uint16_t *)to)[i] = (uint16_t)from[i];
    }
  }
}

/* The typed field that holds the elements when they are not raw; NULL: the count is wrong. */
static const void *typed_bytes(struct compiler *compiler, const Onnx__TensorProto *tensor,
                               enum plan_type type, uint64_t elements) {
  switch (type) {
  case PLAN_F32:
    return tensor->n_float_data == elements ? tensor->float_data : NULL;
  case PLAN_F64:
    return tensor->n_double_data == elements ? tensor->double_data : NULL;
  case PLAN_I64:
    return tensor->n_int64_data == elements ? tensor->int64_data : NULL;
  case PLAN_U64:
    return tensor->n_uint64_data == elements ? tensor->uint64_data : NULL;
  case PLAN_I32:
    return tensor->n_int32_data == elements ? tensor->int32_data : NULL;
  case PLAN_U32: {
    if (tensor->n_uint64_data != elements) {
      return NULL;
    }
    uint32_t *copy = context_take(&compiler->context, elements, sizeof(copy[0]));
    for (uint64_t i = 0; i < elements; i++) {
      copy[i] = (uint32_t)tensor->uint64_data[i];
    }
    return copy;
  }
  default: {
    if (tensor->n_int32_data != elements) {
      return NULL;
    }
    const uint32_t width = plan_type_bytes(type);
    void *copy = context_take(&compiler->context, elements, width);
    narrow(tensor->int32_data, elements, width, copy);
    return copy;
  }
  }
}

uint32_t lower_tensor(struct compiler *compiler, struct graph *graph,
                      const Onnx__TensorProto *tensor) {
  struct context *context = &compiler->context;
  enum plan_type type = 0;
  uint32_t dims[PLAN_RANK_MAX] = {0};
  if (!tensor->has_data_type || !lower_type(tensor->data_type, &type)) {
    context_fail(context, ERR_UNSUPPORTED,
                 "tensor '%s' has element type %d, which is not supported; floats, integers and "
                 "bool are",
                 name_of(tensor), tensor->data_type);
  }
  if (tensor->segment != NULL || tensor->n_dims > PLAN_RANK_MAX) {
    context_fail(context, ERR_UNSUPPORTED,
                 "tensor '%s' is stored in segments or has over %d dimensions", name_of(tensor),
                 PLAN_RANK_MAX);
  }
  for (size_t i = 0; i < tensor->n_dims; i++) {
    if (tensor->dims[i] < 0 || tensor->dims[i] > INT32_MAX) {
      context_fail(context, ERR_MALFORMED, "tensor '%s' has dimension %lld", name_of(tensor),
                   (long long)tensor->dims[i]);
    }
    dims[i] = (uint32_t)tensor->dims[i];
  }
  const uint32_t value = graph_add_value(graph, type, (uint32_t)tensor->n_dims, dims);
  const uint64_t elements = graph_elements(graph, value);
  const uint64_t bytes = graph_bytes(graph, value);
  const void *data = NULL;
  if (elements == 0) {
    data = context_take(context, 1, 1);
  } else if (tensor->has_data_location &&
             tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
    data = external_bytes(compiler, tensor, bytes);
  } else if (tensor->has_raw_data) {
    data = tensor->raw_data.len == bytes ? tensor->raw_data.data : NULL;
  } else {
    data = typed_bytes(compiler, tensor, type, elements);
  }
  if (data == NULL) {
    context_fail(context, ERR_MALFORMED, "tensor '%s' doesn't hold the %llu elements of its shape",
                 name_of(tensor), (unsigned long long)elements);
  }
  if ((uintptr_t)data % plan_type_bytes(type) != 0) {
    void *aligned = context_take(context, bytes, 1);
    memcpy(aligned, data, bytes);
    data = aligned;
  }
  if (type == PLAN_BOOL) {
    uint8_t *flags = context_take(context, elements, 1);
    for (uint64_t i = 0; i < elements; i++) {
      flags[i] = ((const uint8_t *)data)[i] != 0;
    }
    data = flags;
  }
  graph_value(graph, value)->data = data;
  return value;
}
