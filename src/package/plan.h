/* A compiled model: one list of fused operations per batch size, the tensors they work on, and
 * where each tensor lies. The compiler writes it, every backend that runs models lowers it, and
 * package/format.h turns it into `model.plan` and back.
 *
 * What holds of every plan that plan_check() accepted, so that a backend need not look again:
 *  - every index is within its table; every tensor lies within its buffer, every buffer within its
 *    place, and no product of sizes overflows;
 *  - operations stand in an order in which they can run; an operation's shapes, types and
 * attributes agree with what is said here of its kind;
 *  - buffers that share bytes of the workspace are never alive at once; an operation's output
 * shares bytes with one of its inputs only where its kind says that this may be;
 *  - what an operation reads, operations before it (or the request, or the weights) have written.
 * That each batch size computes the same function of the same weights is the compiler's word: no
 * check could decide it.
 *
 * Shapes are logical and in ONNX's order (NCHW for images, the batch first); how the elements lie
 * in memory is a tensor's layout. Strings are NUL terminated. All memory belongs to the arena that
 * the plan was read into or built in; a plan is never changed once it was checked. Pure data: any
 * thread.
 */
#ifndef CLOCKWORK_PACKAGE_PLAN_H
#define CLOCKWORK_PACKAGE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

enum {
  PLAN_RANK_MAX = 8,
  PLAN_SPATIAL_MAX = 3,
  PLAN_OPS_MAX = 1 << 16,
  PLAN_TENSORS_MAX = 1 << 18,
  PLAN_OP_INPUTS_MAX = 4096,
  PLAN_POINTWISE_INPUTS = 8,
  PLAN_POINTWISE_STEPS = 24,
  PLAN_PORTS_MAX = 64, /* inputs, and outputs, of a model */
  PLAN_NAME_BYTES = 96,
  PLAN_ALIGN_BYTES = 256, /* of every buffer, in each place */
};

#define PLAN_NONE UINT32_MAX

/* Element types. The numbers are part of the file format. */
enum plan_type {
  PLAN_F32 = 1,
  PLAN_F16 = 2,
  PLAN_F64 = 3,
  PLAN_I8 = 4,
  PLAN_I16 = 5,
  PLAN_I32 = 6,
  PLAN_I64 = 7,
  PLAN_U8 = 8,
  PLAN_U16 = 9,
  PLAN_U32 = 10,
  PLAN_U64 = 11,
  PLAN_BOOL = 12, /* one byte, 0 or 1 */
  PLAN_TYPES_END,
};

/* How convolutions and matrix products compute. fp32: IEEE single. tf32: single in memory, products
 * of 10-bit mantissas allowed. fp16: weights and intermediate floats are PLAN_F16, sums are single;
 * the model's own inputs and outputs keep their types. A backend may compute more exactly than
 * asked (a CPU runs all three in single precision). */
enum plan_precision { PLAN_FP32 = 1, PLAN_TF32 = 2, PLAN_FP16 = 3 };

/* How the elements of a tensor lie.
 * ROW_MAJOR: the last dimension is the fastest, no gaps.
 * CHANNELS_LAST: rank 4 only; logical (N, C, H, W) lies as (N, H, W, C), and `pitch` >= C elements
 * separate a pixel's first channel from the next pixel's: a slice of the channels of a wider image
 * is a tensor too. Of a convolution's weights (K, C/groups, R, S): (K, R, S, C/groups), pitch = C.
 */
enum plan_layout { PLAN_ROW_MAJOR = 1, PLAN_CHANNELS_LAST = 2 };

/* Where a buffer lies. INPUT and OUTPUT: the batch's own area in a GPU's io memory. WEIGHTS: the
 * instance's pages, read-only. WORKSPACE: free for every batch, undefined when it begins. */
enum plan_place { PLAN_INPUT = 1, PLAN_OUTPUT = 2, PLAN_WEIGHTS = 3, PLAN_WORKSPACE = 4 };

/* A stretch of bytes. Tensors that share a buffer share memory: views of one another (a reshape),
 * or slices of the channels of one image (a concatenation that nobody has to perform). */
struct plan_buffer {
  enum plan_place place;
  uint64_t offset_bytes; /* from the begin of the place, a multiple of PLAN_ALIGN_BYTES */
  uint64_t bytes;        /* > 0 */
  uint32_t first_op;     /* WORKSPACE: alive from the begin of this operation ... */
  uint32_t last_op;      /* ... to the end of this one */
};

struct plan_tensor {
  enum plan_type type;
  enum plan_layout layout;
  uint32_t rank;
  uint32_t dims[PLAN_RANK_MAX]; /* >= 1 each (a scalar has rank 0); unused ones are 1 */
  uint32_t pitch;               /* CHANNELS_LAST: see there; else 0 */
  uint32_t buffer;
  uint64_t offset_bytes; /* of the first element, from the begin of its buffer */
};

/* y = f(x), elementwise, applied to a convolution's or product's sum. */
enum plan_activation_kind {
  PLAN_ACT_NONE = 0,
  PLAN_ACT_RELU = 1,
  PLAN_ACT_CLIP = 2,         /* min(max(x, alpha), beta) */
  PLAN_ACT_LEAKY_RELU = 3,   /* x < 0 ? alpha x : x */
  PLAN_ACT_SIGMOID = 4,      /* 1 / (1 + exp(-x)) */
  PLAN_ACT_SWISH = 5,        /* x sigmoid(x) */
  PLAN_ACT_HARD_SIGMOID = 6, /* min(max(alpha x + beta, 0), 1) */
  PLAN_ACT_HARD_SWISH = 7,   /* x min(max(x / 6 + 1 / 2, 0), 1) */
  PLAN_ACT_TANH = 8,
  PLAN_ACT_GELU_ERF = 9,   /* x (1 + erf(x / sqrt 2)) / 2 */
  PLAN_ACT_GELU_TANH = 10, /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
  PLAN_ACT_ELU = 11,       /* x < 0 ? alpha (exp(x) - 1) : x */
  PLAN_ACTS_END,
};

struct plan_activation {
  enum plan_activation_kind kind;
  float alpha;
  float beta;
};

/* What an operation does. The numbers are part of the file format. In what follows in[i] and out[i]
 * are its tensors; "same" means equal dims; float is F32, F16 or F64. Unless said otherwise all
 * tensors of an operation have one float type, layouts may differ from tensor to tensor only where
 * CHANNELS_LAST is named, and outputs share no bytes with inputs. */
enum plan_op_kind {
  /* out0 = act(conv(in0, in1) + in2 + in3) (or act(...) + in3, see conv.residual_last).
   * in0 (N, C, spatial...), in1 (K, C/groups, kernel...), in2 bias (K) or PLAN_NONE, in3 residual,
   * same as out0, or PLAN_NONE. Rank 4: in0, in3, out0 CHANNELS_LAST with any pitch, in1
   * CHANNELS_LAST; or all ROW_MAJOR. Ranks 3 and 5: ROW_MAJOR. out0 may be in3 itself. */
  PLAN_OP_CONV = 1,
  /* Transposed convolution; in1 is (C, K/groups, kernel...), ROW_MAJOR as everything here. Of the
   * full result, (in - 1) stride + (kernel - 1) dilation + 1 long, pads_before is cut off in front;
   * out0's dims say where it ends, at or past pads_after before the full one's end. */
  PLAN_OP_CONV_TRANSPOSE = 2,
  /* out0 = act(alpha * A B + in2 + in3), A = in0 (..., M, K) or, transpose_a, (..., K, M); B = in1
   * likewise; leading dims broadcast as in numpy. in2: bias of N elements or PLAN_NONE; in3:
   * residual, same as out0, or PLAN_NONE. ROW_MAJOR, rank >= 2. out0 may be in3 itself. */
  PLAN_OP_MATMUL = 3,
  /* Maximum or mean over windows; rank 4, in0 and out0 CHANNELS_LAST or both ROW_MAJOR; or ranks 3
   * and 5 ROW_MAJOR. */
  PLAN_OP_POOL = 4,
  /* A small program per element; see struct plan_pointwise. Inputs broadcast to out0 as in numpy;
   * any types; layouts may differ: elements are matched by logical position. out0 may be any input
   * that has its dims, layout, pitch and an element of the same size. Also serves casts, expansions
   * and changes of layout. */
  PLAN_OP_POINTWISE = 5,
  /* out0 = in0 reduced over the axes in reduce.axes (a bit per axis), which become 1 in out0's
   * dims. Float, I32, I64; ARG_MAX and ARG_MIN: one axis, out0 I64. in0 may be CHANNELS_LAST (out0
   * too, or ROW_MAJOR). */
  PLAN_OP_REDUCE = 6,
  /* Over one axis; in0, out0 same, ROW_MAJOR. out0 may be in0. */
  PLAN_OP_SOFTMAX = 7,
  /* out0 = (in0 - mean) / sqrt(variance + epsilon) * in1 + in2 over the axes from normalize.axis to
   * the last; in1, in2: elements of these axes, or PLAN_NONE. ROW_MAJOR. rms: without mean. out0
   * may be in0. */
  PLAN_OP_LAYER_NORM = 8,
  /* Over each of normalize.groups groups of channels and all spatial positions of one image; in1,
   * in2 (C). Rank >= 3, ROW_MAJOR. Instance normalisation is groups = C. */
  PLAN_OP_GROUP_NORM = 9,
  /* in0 / (bias + alpha / size * sum of squares of `size` neighbouring channels) ^ beta. Rank >= 3;
     either layout. */
  PLAN_OP_LRN = 10,
  /* out0's axis i is in0's axis transpose.permutation[i]. Any type. ROW_MAJOR. */
  PLAN_OP_TRANSPOSE = 11,
  /* Inputs one after another along `axis`. Any type. All one layout; CHANNELS_LAST with any pitch.
   */
  PLAN_OP_CONCAT = 12,
  /* out0[i] = in0[start + i * step] per axis; steps may be negative. Any type, all one layout. */
  PLAN_OP_SLICE = 13,
  /* before[] elements of fill, edge, reflect or wrap in front of each axis; behind follows from the
     dims. Any type, ROW_MAJOR. */
  PLAN_OP_PAD = 14,
  /* out0 = take(in0, in1, axis): in0's dims with `axis` replaced by in1's dims. in1 I32 or I64,
   * negative counts from the end, out-of-range ones are held at the nearest valid index (in all
   * four kinds of gathering and scattering). ROW_MAJOR. */
  PLAN_OP_GATHER = 15,
  PLAN_OP_GATHER_ELEMENTS = 16, /* out0 same as in1, along `axis` */
  PLAN_OP_GATHER_ND = 17,       /* in1 (..., depth): `batch_dims` leading axes are matched */
  /* out0 = in0 with in2's elements put (or added, multiplied, min, max: gather.reduction) at in1.
   */
  PLAN_OP_SCATTER_ELEMENTS = 18,
  PLAN_OP_SCATTER_ND = 19,
  /* Rank 4 (rank 3, 5 ROW_MAJOR); either layout, in0 and out0 the same. */
  PLAN_OP_RESIZE = 20,
  /* out0 values, out1 I64 indices (either may be PLAN_NONE): the k greatest or smallest along
     `axis`. Float, I32, I64. */
  PLAN_OP_TOPK = 21,
  PLAN_OP_CUMSUM = 22, /* along `axis` */
  /* out0 = in0 where kept by the diagonal, else 0. Any type. */
  PLAN_OP_TRILU = 23,
  /* in0 X (T, N, I), in1 W, in2 R, in3 bias, in4 unused (PLAN_NONE), in5 initial h, in6 initial c,
   * in7 peepholes (PLAN_NONE where absent) as in ONNX, all float ROW_MAJOR; out0 Y (T, D, N, H),
   * out1 last h, out2 last c (PLAN_NONE where not wanted). */
  PLAN_OP_LSTM = 24,
  PLAN_OP_GRU = 25,
  PLAN_OP_RNN = 26,
  PLAN_OPS_END,
};

struct plan_conv {
  uint32_t spatial; /* 1 .. 3 */
  uint32_t groups;
  uint32_t strides[PLAN_SPATIAL_MAX];
  uint32_t dilations[PLAN_SPATIAL_MAX];
  uint32_t pads_before[PLAN_SPATIAL_MAX];
  uint32_t pads_after[PLAN_SPATIAL_MAX];
  bool residual_last; /* in3 is added after the activation */
  struct plan_activation activation;
};

struct plan_matmul {
  bool transpose_a;
  bool transpose_b;
  float alpha;
  struct plan_activation activation;
};

enum plan_pool_kind { PLAN_POOL_MAX = 1, PLAN_POOL_MEAN = 2, PLAN_POOL_LP = 3 };

struct plan_pool {
  enum plan_pool_kind kind;
  uint32_t spatial;
  uint32_t kernel[PLAN_SPATIAL_MAX];
  uint32_t strides[PLAN_SPATIAL_MAX];
  uint32_t dilations[PLAN_SPATIAL_MAX];
  uint32_t pads_before[PLAN_SPATIAL_MAX];
  uint32_t pads_after[PLAN_SPATIAL_MAX]; /* as needed for the last window; those past the image hold
                                            nothing */
  bool count_padding; /* MEAN: divide by the window's size within the padded image as declared */
  uint32_t declared_pads_after[PLAN_SPATIAL_MAX]; /* MEAN with count_padding: without what ceil_mode
                                                     added */
  uint32_t p;                                     /* LP */
};

/* The elementary functions of a pointwise program. a, b, c are operands. Comparisons and logic give
 * BOOL. Integers wrap; division by zero of integers gives 0; shifts beyond the width give 0. */
enum plan_scalar {
  PLAN_S_COPY = 1, /* a */
  PLAN_S_CAST = 2, /* a, from its own type to the step's: floats truncate towards 0 to integers, NaN
                      gives 0 */
  PLAN_S_CAST_SATURATE = 3, /* likewise, held within the integer type's range */
  PLAN_S_ADD = 4,
  PLAN_S_SUB = 5,
  PLAN_S_MUL = 6,
  PLAN_S_DIV = 7,  /* integers: towards 0 */
  PLAN_S_MOD = 8,  /* sign of b */
  PLAN_S_FMOD = 9, /* sign of a */
  PLAN_S_POW = 10,
  PLAN_S_MIN = 11,
  PLAN_S_MAX = 12,
  PLAN_S_NEG = 13,
  PLAN_S_ABS = 14,
  PLAN_S_SIGN = 15,
  PLAN_S_FLOOR = 16,
  PLAN_S_CEIL = 17,
  PLAN_S_ROUND = 18, /* half to even */
  PLAN_S_SQRT = 19,
  PLAN_S_RECIPROCAL = 20,
  PLAN_S_EXP = 21,
  PLAN_S_LOG = 22,
  PLAN_S_SIN = 23,
  PLAN_S_COS = 24,
  PLAN_S_TAN = 25,
  PLAN_S_ASIN = 26,
  PLAN_S_ACOS = 27,
  PLAN_S_ATAN = 28,
  PLAN_S_SINH = 29,
  PLAN_S_COSH = 30,
  PLAN_S_TANH = 31,
  PLAN_S_ASINH = 32,
  PLAN_S_ACOSH = 33,
  PLAN_S_ATANH = 34,
  PLAN_S_ERF = 35,
  PLAN_S_ACTIVATION = 36, /* the step's activation of a */
  PLAN_S_SOFTPLUS = 37,   /* log(1 + exp(a)) */
  PLAN_S_SOFTSIGN = 38,   /* a / (1 + |a|) */
  PLAN_S_SELU = 39, /* beta (a < 0 ? alpha (exp(a) - 1) : a), alpha and beta from the activation */
  PLAN_S_FMA = 40,  /* a b + c: a folded batch normalisation */
  PLAN_S_SELECT = 41, /* a ? b : c; a BOOL */
  PLAN_S_EQUAL = 42,
  PLAN_S_LESS = 43,
  PLAN_S_LESS_EQUAL = 44,
  PLAN_S_GREATER = 45,
  PLAN_S_GREATER_EQUAL = 46,
  PLAN_S_AND = 47, /* BOOL */
  PLAN_S_OR = 48,
  PLAN_S_XOR = 49,
  PLAN_S_NOT = 50,
  PLAN_S_BIT_AND = 51, /* integers */
  PLAN_S_BIT_OR = 52,
  PLAN_S_BIT_XOR = 53,
  PLAN_S_BIT_NOT = 54,
  PLAN_S_SHIFT_LEFT = 55,
  PLAN_S_SHIFT_RIGHT = 56,
  PLAN_S_IS_NAN = 57,
  PLAN_S_IS_INF = 58, /* either sign; alpha != 0: positive ones, beta != 0: negative ones */
  PLAN_SCALARS_END,
};

/* Operand of a step: an input of the operation, the value of an earlier step, or a number. */
enum plan_operand_kind {
  PLAN_OPERAND_NONE,
  PLAN_OPERAND_INPUT,
  PLAN_OPERAND_STEP,
  PLAN_OPERAND_NUMBER
};

struct plan_operand {
  enum plan_operand_kind kind;
  uint32_t index; /* of the input or step */
  double number;  /* exact for every integer below 2^53, which is all a NUMBER may be */
};

/* One step computes in `type` (F16 operands are computed in single precision and rounded when
 * stored) and its operands have that type, but for CAST (any) and SELECT's a (BOOL); the value of a
 * comparison, IS_*, AND, OR, XOR, NOT is BOOL, that of all others `type`. */
struct plan_step {
  enum plan_scalar scalar;
  enum plan_type type;
  struct plan_operand a;
  struct plan_operand b;
  struct plan_operand c;
  struct plan_activation activation;
};

/* The last step's value is the output's element, of the output's type. */
struct plan_pointwise {
  uint32_t steps_count; /* 1 .. PLAN_POINTWISE_STEPS */
  const struct plan_step *steps;
};

enum plan_reduce_kind {
  PLAN_REDUCE_SUM = 1,
  PLAN_REDUCE_MEAN = 2,
  PLAN_REDUCE_MAX = 3,
  PLAN_REDUCE_MIN = 4,
  PLAN_REDUCE_PROD = 5,
  PLAN_REDUCE_L1 = 6,
  PLAN_REDUCE_L2 = 7,
  PLAN_REDUCE_LOG_SUM = 8,
  PLAN_REDUCE_LOG_SUM_EXP = 9,
  PLAN_REDUCE_SUM_SQUARE = 10,
  PLAN_REDUCE_ARG_MAX = 11,
  PLAN_REDUCE_ARG_MIN = 12,
  PLAN_REDUCES_END,
};

struct plan_reduce {
  enum plan_reduce_kind kind;
  uint32_t axes;                     /* bit i: axis i */
  bool last_index;                   /* ARG_*: of equal ones the last */
  struct plan_activation activation; /* of the result */
};

struct plan_softmax {
  uint32_t axis;
  bool logarithm;
  bool hard; /* 1 at the first greatest, else 0 */
};

struct plan_normalize {
  uint32_t axis;   /* LAYER_NORM */
  uint32_t groups; /* GROUP_NORM */
  bool rms;
  float epsilon;
};

struct plan_lrn {
  uint32_t size;
  float alpha;
  float beta;
  float bias;
};

struct plan_transpose {
  uint32_t permutation[PLAN_RANK_MAX];
};

struct plan_slice {
  uint32_t starts[PLAN_RANK_MAX];
  int32_t steps[PLAN_RANK_MAX]; /* != 0 */
};

enum plan_pad_mode {
  PLAN_PAD_FILL = 1,
  PLAN_PAD_EDGE = 2,
  PLAN_PAD_REFLECT = 3,
  PLAN_PAD_WRAP = 4
};

struct plan_pad {
  enum plan_pad_mode mode;
  int32_t before[PLAN_RANK_MAX]; /* negative: cut off */
  double fill;
};

enum plan_scatter_reduction {
  PLAN_SCATTER_PUT = 0,
  PLAN_SCATTER_ADD = 1,
  PLAN_SCATTER_MUL = 2,
  PLAN_SCATTER_MIN = 3,
  PLAN_SCATTER_MAX = 4,
};

struct plan_gather {
  uint32_t axis;
  uint32_t batch_dims;
  enum plan_scatter_reduction reduction;
};

enum plan_resize_mode { PLAN_RESIZE_NEAREST = 1, PLAN_RESIZE_LINEAR = 2, PLAN_RESIZE_CUBIC = 3 };
enum plan_resize_coordinates {
  PLAN_RESIZE_HALF_PIXEL = 1,         /* (x + 1/2) / scale - 1/2 */
  PLAN_RESIZE_PYTORCH_HALF_PIXEL = 2, /* likewise; 0 where the output's size is 1 */
  PLAN_RESIZE_ALIGN_CORNERS = 3,      /* x (in - 1) / (out - 1) */
  PLAN_RESIZE_ASYMMETRIC = 4,         /* x / scale */
};
enum plan_resize_rounding {
  PLAN_ROUND_PREFER_FLOOR = 1,
  PLAN_ROUND_PREFER_CEIL = 2,
  PLAN_ROUND_FLOOR = 3,
  PLAN_ROUND_CEIL = 4,
};

struct plan_resize {
  enum plan_resize_mode mode;
  enum plan_resize_coordinates coordinates;
  enum plan_resize_rounding rounding; /* NEAREST */
  float scales[PLAN_RANK_MAX];        /* out / in, as the model gives them */
  float cubic_a;
  bool exclude_outside;
};

struct plan_topk {
  uint32_t axis;
  bool largest; /* else the smallest first */
};

struct plan_cumsum {
  uint32_t axis;
  bool exclusive;
  bool reverse;
};

struct plan_trilu {
  bool upper;
  int32_t diagonal;
};

enum plan_direction { PLAN_FORWARD = 1, PLAN_REVERSE = 2, PLAN_BIDIRECTIONAL = 3 };

struct plan_recurrent {
  enum plan_direction direction;
  uint32_t hidden;
  bool linear_before_reset; /* GRU */
  /* LSTM: f, g, h; GRU: f, g; RNN: f; per direction. */
  struct plan_activation activations[6];
};

struct plan_op {
  enum plan_op_kind kind;
  uint32_t inputs_count;
  uint32_t outputs_count;
  const uint32_t *inputs;  /* tensor indices, PLAN_NONE where an optional one is absent */
  const uint32_t *outputs; /* likewise */
  union {
    struct plan_conv conv; /* CONV, CONV_TRANSPOSE */
    struct plan_matmul matmul;
    struct plan_pool pool;
    struct plan_pointwise pointwise;
    struct plan_reduce reduce;
    struct plan_softmax softmax;
    struct plan_normalize normalize; /* LAYER_NORM, GROUP_NORM */
    struct plan_lrn lrn;
    struct plan_transpose transpose;
    uint32_t axis; /* CONCAT */
    struct plan_slice slice;
    struct plan_pad pad;
    struct plan_gather gather; /* GATHER*, SCATTER* */
    struct plan_resize resize;
    struct plan_topk topk;
    struct plan_cumsum cumsum;
    struct plan_trilu trilu;
    struct plan_recurrent recurrent; /* LSTM, GRU, RNN */
  };
  char name[PLAN_NAME_BYTES]; /* of the node it came from; may be empty */
};

/* One batch size's program. */
struct plan_batch {
  uint32_t batch_size;
  uint32_t buffers_count;
  const struct plan_buffer *buffers;
  uint32_t tensors_count;
  const struct plan_tensor *tensors;
  uint32_t ops_count;
  const struct plan_op *ops;
  const uint32_t *inputs;   /* tensor of each input port, in the plan's order */
  const uint32_t *outputs;  /* tensor of each output port */
  uint64_t input_bytes;     /* of the INPUT place */
  uint64_t output_bytes;    /* of the OUTPUT place */
  uint64_t workspace_bytes; /* of the WORKSPACE place */
  uint64_t naive_bytes;     /* what the workspace would be without sharing; for reports */
};

/* An input or output of the model as its users see it. A request's input is its ports' bytes one
 * after another in this order, ROW_MAJOR, without gaps and without the batch; its output likewise.
 * In a batch's INPUT and OUTPUT places each port has a tensor (batch, dims...), ROW_MAJOR. */
struct plan_port {
  char name[PLAN_NAME_BYTES];
  enum plan_type type;
  uint32_t rank; /* of dims, without the batch */
  uint32_t dims[PLAN_RANK_MAX];
  bool batched; /* false: the tensor has no batch axis; such a plan has batch size 1 alone */
  uint64_t bytes_per_request;
};

struct plan {
  char name[MODEL_NAME_BYTES];
  enum plan_precision precision;
  uint32_t inputs_count; /* 1 .. PLAN_PORTS_MAX */
  const struct plan_port *inputs;
  uint32_t outputs_count; /* 1 .. PLAN_PORTS_MAX */
  const struct plan_port *outputs;
  uint64_t input_bytes;   /* of one request */
  uint64_t output_bytes;  /* of one request */
  uint64_t weights_bytes; /* of the WEIGHTS place, all batch sizes together; a multiple of
                             PLAN_ALIGN_BYTES, > 0 */
  uint32_t batch_kinds;   /* 1 .. MODEL_BATCH_KINDS, batch sizes rising from 1 */
  const struct plan_batch *batches;
};

/* Bytes of one element; 0 for what is no type. */
uint32_t plan_type_bytes(enum plan_type type);

/* "float32", "int64", ... ; never NULL, static storage. */
const char *plan_type_text(enum plan_type type);

/* Whether a type is F32, F16 or F64. */
bool plan_type_is_float(enum plan_type type);

/* "conv", "matmul", ...; never NULL, static storage. */
const char *plan_op_kind_text(enum plan_op_kind kind);

/* Gates of a hidden unit: 4 of LSTM, 3 of GRU, 1 of RNN; 0: not a recurrent kind. */
uint32_t plan_op_kind_gates(enum plan_op_kind kind);

/* Number of elements of a tensor: the product of its dims. The tensor is of a checked plan. */
uint64_t plan_tensor_elements(const struct plan_tensor *tensor);

/* Bytes from its first element to behind its last, gaps of a pitch included. */
uint64_t plan_tensor_span_bytes(const struct plan_tensor *tensor);

/* Distance in elements between neighbours along each logical axis: rank entries. */
void plan_tensor_strides(const struct plan_tensor *tensor, uint64_t ret_strides[PLAN_RANK_MAX]);

/* What plan_check() found wrong, for one line of a message. */
struct plan_fault {
  uint32_t batch_size; /* 0: of the plan as a whole */
  uint32_t op;         /* PLAN_NONE: of no operation */
  char text[160];      /* what is wrong, with the values; NUL terminated */
};

/* Whether everything said at the top of this header holds. `scratch`: plan_check_bytes() of memory.
 * False: *ret_fault says what was found first. Cost: n log n in buffers, linear in all else. */
size_t plan_check_bytes(const struct plan *plan);
bool plan_check(const struct plan *plan, void *scratch, struct plan_fault *ret_fault);

#endif
