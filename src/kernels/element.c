#include "kernels/element.h"

#include <math.h>
#include <string.h>

double element_half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double number = 0;
  if (exponent == 31) {
    number = mantissa != 0 ? (double)NAN : (double)INFINITY;
  } else {
    const uint64_t scale = (uint64_t)(1023 - 24 + (exponent > 0 ? exponent - 1 : 0)) << 52;
    double unit = 0;
    memcpy(&unit, &scale, sizeof(unit));
    number = unit * (exponent > 0 ? 1024 + mantissa : mantissa);
  }
  return (bits & 0x8000) != 0 ? -number : number;
}

uint16_t element_double_to_half(double number) {
  const uint16_t sign = signbit(number) ? 0x8000 : 0;
  const double size = fabs(number);
  if (isnan(number)) {
    return 0x7e00;
  }
  if (size >= 65520) {
    return sign | 0x7c00;
  }
  if (size < 0x1p-14) { /* subnormal: units of 2^-24; 1024 of them is the smallest normal */
    return (uint16_t)(sign | (uint16_t)nearbyint(size * 0x1p24));
  }
  uint64_t bits = 0;
  memcpy(&bits, &size, sizeof(bits));
  const int exponent = (int)(bits >> 52) - 1023;
  const uint64_t scale = (uint64_t)(1023 + 10 - exponent) << 52;
  double unit = 0;
  memcpy(&unit, &scale, sizeof(unit));
  /* 1024 .. 2048; a carry into the exponent is right as it is. */
  const uint32_t mantissa = (uint32_t)nearbyint(size * unit);
  return (uint16_t)(sign | (uint16_t)(((uint32_t)(exponent + 14) << 10) + mantissa));
}

double element_load(enum plan_type type, const void *data, uint64_t index) {
  switch (type) {
  case PLAN_F32:
    return (double)((const float *)data)[index];
  case PLAN_F64:
    return ((const double *)data)[index];
  case PLAN_F16:
    return element_half_to_double(((const uint16_t *)data)[index]);
  case PLAN_U64:
    return (double)((const uint64_t *)data)[index];
  default:
    return (double)element_load_int(type, data, index);
  }
}

/* The low 64 bits of a float's integer part. */
static int64_t truncated(double number) {
  if (isnan(number)) {
    return 0;
  }
  if (number >= 0x1p63 && number < 0x1p64) {
    return (int64_t)(uint64_t)number;
  }
  return number >= 0x1p63 ? INT64_MAX : number < -0x1p63 ? INT64_MIN : (int64_t)number;
}

int64_t element_load_int(enum plan_type type, const void *data, uint64_t index) {
  switch (type) {
  case PLAN_I64:
  case PLAN_U64:
    return ((const int64_t *)data)[index];
  case PLAN_I32:
    return ((const int32_t *)data)[index];
  case PLAN_U32:
    return ((const uint32_t *)data)[index];
  case PLAN_I16:
    return ((const int16_t *)data)[index];
  case PLAN_U16:
    return ((const uint16_t *)data)[index];
  case PLAN_I8:
    return ((const int8_t *)data)[index];
  case PLAN_U8:
  case PLAN_BOOL:
    return ((const uint8_t *)data)[index];
  default:
    return truncated(element_load(type, data, index));
  }
}

void element_store(enum plan_type type, void *data, uint64_t index, double number) {
  switch (type) {
  case PLAN_F32:
    ((float *)data)[index] = (float)number;
    break;
  case PLAN_F64:
    ((double *)data)[index] = number;
    break;
  case PLAN_F16:
    ((uint16_t *)data)[index] = element_double_to_half(number);
    break;
  default:
    element_store_int(type, data, index, truncated(number));
    break;
  }
}

void element_store_int(enum plan_type type, void *data, uint64_t index, int64_t number) {
  switch (type) {
  case PLAN_I64:
  case PLAN_U64:
    ((int64_t *)data)[index] = number;
    break;
  case PLAN_I32:
  case PLAN_U32:
    ((uint32_t *)data)[index] = (uint32_t)(uint64_t)number;
    break;
  case PLAN_I16:
  case PLAN_U16:
    ((uint16_t *)data)[index] = (uint16_t)(uint64_t)number;
    break;
  case PLAN_I8:
  case PLAN_U8:
    ((uint8_t *)data)[index] = (uint8_t)(uint64_t)number;
    break;
  case PLAN_BOOL:
    ((uint8_t *)data)[index] = number != 0;
    break;
  default:
    element_store(type, data, index, (double)number);
    break;
  }
}

struct element_range element_part(uint64_t count, uint32_t part, uint32_t parts) {
  /* count / parts first, so that the product can't overflow. */
  const uint64_t whole = count / parts;
  const uint64_t rest = count % parts;
  return (struct element_range){.begin = whole * part + rest * part / parts,
                                .end = whole * (part + 1) + rest * (part + 1) / parts};
}

void element_coordinates(const struct plan_tensor *tensor, uint64_t index,
                         uint32_t ret_coordinates[PLAN_RANK_MAX]) {
  for (uint32_t axis = tensor->rank; axis-- > 0;) {
    ret_coordinates[axis] = (uint32_t)(index % tensor->dims[axis]);
    index /= tensor->dims[axis];
  }
}

uint64_t element_offset(uint32_t rank, const uint32_t *coordinates, const uint64_t *strides) {
  uint64_t offset = 0;
  for (uint32_t axis = 0; axis < rank; axis++) {
    offset += coordinates[axis] * strides[axis];
  }
  return offset;
}

double element_activate(const struct plan_activation *activation, double x) {
  const double alpha = (double)activation->alpha;
  const double beta = (double)activation->beta;
  switch (activation->kind) {
  case PLAN_ACT_RELU:
    return x > 0 ? x : x < 0 ? 0 : x;
  case PLAN_ACT_CLIP: {
    const double low = x < alpha ? alpha : x;
    return low > beta ? beta : low;
  }
  case PLAN_ACT_LEAKY_RELU:
    return x < 0 ? alpha * x : x;
  case PLAN_ACT_SIGMOID:
    return 1 / (1 + exp(-x));
  case PLAN_ACT_SWISH:
    return x / (1 + exp(-x));
  case PLAN_ACT_HARD_SIGMOID:
    return fmin(fmax(alpha * x + beta, 0), 1);
  case PLAN_ACT_HARD_SWISH:
    return x * fmin(fmax(x / 6 + 0.5, 0), 1);
  case PLAN_ACT_TANH:
    return tanh(x);
  case PLAN_ACT_GELU_ERF:
    return x * (1 + erf(x * 0.70710678118654752440)) / 2;
  case PLAN_ACT_GELU_TANH:
    return x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))) / 2;
  case PLAN_ACT_ELU:
    return x < 0 ? alpha * expm1(x) : x;
  default:
    return x;
  }
}
