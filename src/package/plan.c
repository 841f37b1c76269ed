#include "package/plan.h"

uint32_t plan_type_bytes(enum plan_type type) {
  switch (type) {
  case PLAN_I8:
  case PLAN_U8:
  case PLAN_BOOL:
    return 1;
  case PLAN_F16:
  case PLAN_I16:
  case PLAN_U16:
    return 2;
  case PLAN_F32:
  case PLAN_I32:
  case PLAN_U32:
    return 4;
  case PLAN_F64:
  case PLAN_I64:
  case PLAN_U64:
    return 8;
  case PLAN_TYPES_END:
    break;
  }
  return 0;
}

const char *plan_type_text(enum plan_type type) {
  static const char *const TEXTS[PLAN_TYPES_END] = {
      [PLAN_F32] = "float32", [PLAN_F16] = "float16", [PLAN_F64] = "float64", [PLAN_I8] = "int8",
      [PLAN_I16] = "int16",   [PLAN_I32] = "int32",   [PLAN_I64] = "int64",   [PLAN_U8] = "uint8",
      [PLAN_U16] = "uint16",  [PLAN_U32] = "uint32",  [PLAN_U64] = "uint64",  [PLAN_BOOL] = "bool",
  };
  const bool is_known = type >= PLAN_F32 && type < PLAN_TYPES_END;
  return is_known ? TEXTS[type] : "unknown type";
}

bool plan_type_is_float(enum plan_type type) {
  return type == PLAN_F32 || type == PLAN_F16 || type == PLAN_F64;
}

const char *plan_op_kind_text(enum plan_op_kind kind) {
  static const char *const TEXTS[PLAN_OPS_END] = {
      [PLAN_OP_CONV] = "conv",
      [PLAN_OP_CONV_TRANSPOSE] = "conv_transpose",
      [PLAN_OP_MATMUL] = "matmul",
      [PLAN_OP_POOL] = "pool",
      [PLAN_OP_POINTWISE] = "pointwise",
      [PLAN_OP_REDUCE] = "reduce",
      [PLAN_OP_SOFTMAX] = "softmax",
      [PLAN_OP_LAYER_NORM] = "layer_norm",
      [PLAN_OP_GROUP_NORM] = "group_norm",
      [PLAN_OP_LRN] = "lrn",
      [PLAN_OP_TRANSPOSE] = "transpose",
      [PLAN_OP_CONCAT] = "concat",
      [PLAN_OP_SLICE] = "slice",
      [PLAN_OP_PAD] = "pad",
      [PLAN_OP_GATHER] = "gather",
      [PLAN_OP_GATHER_ELEMENTS] = "gather_elements",
      [PLAN_OP_GATHER_ND] = "gather_nd",
      [PLAN_OP_SCATTER_ELEMENTS] = "scatter_elements",
      [PLAN_OP_SCATTER_ND] = "scatter_nd",
      [PLAN_OP_RESIZE] = "resize",
      [PLAN_OP_TOPK] = "topk",
      [PLAN_OP_CUMSUM] = "cumsum",
      [PLAN_OP_TRILU] = "trilu",
      [PLAN_OP_LSTM] = "lstm",
      [PLAN_OP_GRU] = "gru",
      [PLAN_OP_RNN] = "rnn",
  };
  const bool is_known = kind >= PLAN_OP_CONV && kind < PLAN_OPS_END;
  return is_known ? TEXTS[kind] : "unknown operation";
}

uint32_t plan_op_kind_gates(enum plan_op_kind kind) {
  return kind == PLAN_OP_LSTM ? 4 : kind == PLAN_OP_GRU ? 3 : kind == PLAN_OP_RNN ? 1 : 0;
}

uint64_t plan_tensor_elements(const struct plan_tensor *tensor) {
  uint64_t elements = 1;
  for (uint32_t i = 0; i < tensor->rank; i++) {
    elements *= tensor->dims[i];
  }
  return elements;
}

void plan_tensor_strides(const struct plan_tensor *tensor, uint64_t ret_strides[PLAN_RANK_MAX]) {
  if (tensor->layout == PLAN_CHANNELS_LAST) {
    const uint64_t row = (uint64_t)tensor->pitch * tensor->dims[3];
    ret_strides[0] = row * tensor->dims[2];
    ret_strides[1] = 1;
    ret_strides[2] = row;
    ret_strides[3] = tensor->pitch;
    return;
  }
  uint64_t distance = 1;
  for (uint32_t i = tensor->rank; i-- > 0;) {
    ret_strides[i] = distance;
    distance *= tensor->dims[i];
  }
}

uint64_t plan_tensor_span_bytes(const struct plan_tensor *tensor) {
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(tensor, strides);
  uint64_t last = 0;
  for (uint32_t i = 0; i < tensor->rank; i++) {
    last += (tensor->dims[i] - 1) * strides[i];
  }
  return (last + 1) * plan_type_bytes(tensor->type);
}
