/* What the host hands to this backend's own kernels: read by the C code that launches them and by
 * nvcc, which compiles them.
 *
 * Each struct is one kernel's single argument and below 4 KiB. Addresses are of device memory and
 * final: a kernel is captured into a graph once per instance. Strides and counts are in elements.
 * `axes` lists are collapsed by the host (see views.h): neighbouring axes that lie as one are one,
 * the last is the fastest of the output.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_KERNEL_PARAMETERS_H
#define CLOCKWORK_BACKEND_CUDA_KERNEL_PARAMETERS_H

#include <stdint.h>

#include "package/plan.h"

enum {
  KERNEL_AXES_MAX = PLAN_RANK_MAX,
  KERNEL_THREADS = 256,
  KERNEL_RECURRENT_THREADS = 512,
  KERNEL_RECURRENT_AT_ONCE = 4, /* sequences of the kernels that take several */
};

/* Shared with the host while a graph runs, in pinned memory. */
struct kernel_cell {
  uint64_t input_address;  /* host, before the launch: the io slot's memory */
  uint64_t output_address; /* likewise */
  uint64_t begin_ns;       /* device, on its %globaltimer */
  uint64_t end_ns;
  uint32_t sequence; /* host counts up before a launch */
  uint32_t is_done;  /* device writes `sequence` here, last of all */
  uint32_t copied;   /* device writes here behind each copy that is being timed; nobody reads it */
};

/* What a graph's first node reads of the cell, in the device's memory for the nodes after it: each
 * block that reads the host's memory waits its turn on the bus. Measured on an H100: a copy of
 * inputs by 132 blocks that did took 115 us. */
struct kernel_places {
  uint64_t input_address;
  uint64_t output_address;
  uint32_t sequence;
};

/* First and last nodes of every graph: bytes between the io slot and where the graph works. */
struct kernel_frame {
  uint64_t cell;   /* device address of a struct kernel_cell */
  uint64_t places; /* of a struct kernel_places */
  uint64_t fixed;
  uint64_t bytes;
};

/* Writes %globaltimer and then `sequence`: how the two clocks are compared. */
struct kernel_ping {
  uint64_t cell;
};

struct kernel_fill {
  uint64_t address;
  uint64_t bytes; /* a multiple of 4 */
  uint32_t seed;
};

struct kernel_copy {
  uint64_t from;
  uint64_t to;
  uint64_t count;
  uint32_t axes;
  uint32_t element_bytes; /* 1, 2, 4, 8 or 16 */
  uint32_t dims[KERNEL_AXES_MAX];
  int64_t from_strides[KERNEL_AXES_MAX];
  int64_t to_strides[KERNEL_AXES_MAX];
};

struct kernel_operand {
  uint64_t address;
  uint32_t type;
  uint32_t is_contiguous; /* stride 1 or 0 on the last axis of a vectorised launch */
  int64_t strides[KERNEL_AXES_MAX];
};

/* Operands of a step as bytes: 0 .. 23 an earlier step, or one of these. */
enum {
  KERNEL_OPERAND_NONE = 255,
  KERNEL_OPERAND_NUMBER = 254,
  KERNEL_OPERAND_PREVIOUS = 253, /* the step just before */
  KERNEL_OPERAND_INPUT = 64,     /* + its index */
};

struct kernel_step {
  uint8_t scalar;
  uint8_t type; /* of the value */
  uint8_t activation;
  uint8_t operands[3];
  uint8_t compute_type; /* the step's own */
  uint8_t operand_type; /* of operand a, for casts */
  float alpha;
  float beta;
  double numbers[3];
};

struct kernel_pointwise {
  uint64_t to;
  uint64_t count; /* elements, or groups of four */
  uint32_t to_type;
  uint32_t inputs_count;
  uint32_t steps_count;
  uint32_t axes;
  uint32_t dims[KERNEL_AXES_MAX];
  int64_t to_strides[KERNEL_AXES_MAX];
  struct kernel_operand inputs[PLAN_POINTWISE_INPUTS];
  struct kernel_step steps[PLAN_POINTWISE_STEPS];
};

/* act(x + bias + residual) in place behind a library's convolution or product. */
struct kernel_epilogue {
  uint64_t from; /* may be `data` */
  uint64_t data;
  uint64_t bias; /* 0: none */
  uint64_t residual;
  uint64_t rows;
  uint32_t columns;
  uint32_t
      channels; /* 0: the bias goes by column; else by row, which is image x channels + channel */
  uint32_t from_pitch;
  uint32_t data_pitch;
  uint32_t residual_pitch;
  uint32_t type;
  uint32_t activation;
  uint32_t residual_last;
  float alpha;
  float beta;
};

/* Images in either layout and in up to three dimensions; unused ones have size 1. */
struct kernel_image {
  uint64_t address;
  uint32_t spatial[3];
  int64_t batch_stride;
  int64_t channel_stride;
  int64_t strides[3];
};

struct kernel_window {
  struct kernel_image from;
  struct kernel_image to;
  uint64_t count; /* of the output */
  uint32_t type;
  uint32_t channels; /* of the output */
  uint32_t is_channels_last;
  int32_t kernel[3];
  int32_t stride[3];
  int32_t dilation[3];
  int32_t before[3];
};

struct kernel_pool {
  struct kernel_window window;
  uint32_t kind;
  uint32_t p;
  uint32_t count_padding;
  int32_t declared_end[3]; /* MEAN with count_padding: position behind the padded image */
};

struct kernel_conv {
  struct kernel_window window;
  uint64_t weights;
  int64_t weight_strides[5]; /* K, C/groups, then spatial */
  uint64_t bias;
  struct kernel_image residual; /* address 0: none */
  uint32_t channels_in_group;
  uint32_t channels_out_group;
  uint32_t residual_last;
  uint32_t activation;
  float alpha;
  float beta;
};

/* The first convolution of an image network; see stem.cuh. */
struct kernel_stem {
  uint64_t places_of_slot; /* of a struct kernel_places, or 0 */
  uint64_t from;           /* planes of single floats; in the io slot, if there are its places */
  uint64_t to;             /* CHANNELS_LAST */
  uint64_t filters;
  uint64_t bias;
  int64_t batch_stride;
  int64_t channel_stride;
  int64_t row_stride;
  uint32_t places[2]; /* of blocks, down and across an image of the output */
  uint32_t places_count;
  int32_t to_height;
  int32_t to_width;
  int32_t to_pitch;
  int32_t channels;
  uint32_t height;
  uint32_t width;
  uint32_t filters_count;
  /* In shared memory: what a place looks at, `rows` of `span` pixels, `pitch` elements apart. */
  uint32_t rows;
  uint32_t span;
  uint32_t pitch;
  uint32_t image_offset; /* bytes, behind the filters */
  uint32_t steps;        /* of the tensor cores, for a row of the window */
  int32_t kernel[2];
  int32_t stride[2];
  int32_t before[2];
  uint32_t activation;
  float alpha;
  float beta;
};

struct kernel_reduce {
  uint64_t from;
  uint64_t to;
  uint32_t type;
  uint32_t to_type; /* of reduce_columns */
  float divisor;    /* likewise */
  uint32_t kind;
  uint32_t last_index;
  uint32_t activation;
  float alpha;
  float beta;
  uint64_t outputs;
  uint64_t reduced;
  uint32_t axes; /* of the output */
  uint32_t reduced_axes;
  uint32_t dims[KERNEL_AXES_MAX];
  int64_t from_strides[KERNEL_AXES_MAX];
  int64_t to_strides[KERNEL_AXES_MAX];
  uint32_t reduced_dims[KERNEL_AXES_MAX];
  int64_t reduced_strides[KERNEL_AXES_MAX];
};

/* Rows of `length` elements `stride` apart: outer x inner of them. */
struct kernel_softmax {
  uint64_t from;
  uint64_t to;
  uint32_t type;
  uint32_t length;
  uint64_t rows;
  uint64_t inner;
  uint32_t logarithm;
  uint32_t hard;
};

struct kernel_norm {
  uint64_t from;
  uint64_t to;
  uint64_t scale; /* 0: none */
  uint64_t shift;
  uint64_t rows;
  uint64_t length;
  uint32_t type;
  uint32_t rms;
  uint32_t groups; /* GROUP_NORM: of channels, else 0 */
  uint32_t group_channels;
  uint64_t channel_length; /* elements of a channel */
  float epsilon;
};

struct kernel_lrn {
  uint64_t from;
  uint64_t to;
  uint64_t count;
  uint64_t inner; /* elements between neighbouring channels when ROW_MAJOR */
  uint32_t type;
  uint32_t channels;
  uint32_t from_pitch; /* CHANNELS_LAST, else 0 */
  uint32_t to_pitch;
  uint32_t size;
  float alpha;
  float beta;
  float bias;
};

struct kernel_pad {
  uint64_t from;
  uint64_t to;
  uint64_t count;
  uint32_t rank;
  uint32_t element_bytes;
  uint32_t mode;
  uint32_t dims_from[KERNEL_AXES_MAX];
  uint32_t dims_to[KERNEL_AXES_MAX];
  int32_t before[KERNEL_AXES_MAX];
  uint8_t fill[8]; /* one element, unless is_half */
  uint32_t is_half;
  float half_fill;
};

/* GATHER: outer x indices x inner. */
struct kernel_gather {
  uint64_t from;
  uint64_t indices;
  uint64_t to;
  uint64_t count;
  uint64_t inner;
  uint64_t indices_count;
  uint64_t axis_length;
  uint32_t index_type;
  uint32_t element_bytes;
};

/* What indices name: each of `tuples` tuples of `depth` indices a place in a tensor, where `width`
 * elements lie in a row. Tuple t's place is what `dims` and `strides` make of t itself (a batch, or
 * the position along the axes without an index) plus each index times its `place_strides`. */
struct kernel_tuple_places {
  uint64_t indices;
  uint64_t tuples; /* < 2^32 - 1 */
  uint64_t width;
  uint32_t index_type;
  uint32_t depth;
  uint32_t axes;
  uint32_t dims[KERNEL_AXES_MAX];
  int64_t strides[KERNEL_AXES_MAX];
  uint32_t lengths[KERNEL_AXES_MAX];
  int64_t place_strides[KERNEL_AXES_MAX];
};

/* GATHER_ELEMENTS, GATHER_ND. */
struct kernel_gather_places {
  struct kernel_tuple_places places;
  uint64_t from;
  uint64_t to;
  uint32_t element_bytes;
};

/* Of one place that updates may go to. */
struct kernel_target {
  uint32_t winner; /* 0: none yet. PUT: the last tuple + 1; else 2^32 - 1 - the first tuple */
  uint32_t count;  /* of tuples; not with PUT */
};

/* SCATTER_ELEMENTS, SCATTER_ND: three kernels, one after the other. */
struct kernel_scatter {
  struct kernel_tuple_places places;
  uint64_t from;
  uint64_t updates;
  uint64_t to;
  uint64_t count;   /* of from's elements */
  uint64_t targets; /* struct kernel_target[targets_count]: places / width */
  uint64_t targets_count;
  uint64_t target_of; /* uint32_t[tuples] */
  uint32_t type;
  uint32_t element_bytes;
  uint32_t reduction;
};

struct kernel_trilu {
  uint64_t from;
  uint64_t to;
  uint64_t count;
  uint32_t rows;
  uint32_t columns;
  uint32_t element_bytes;
  uint32_t upper;
  int32_t diagonal;
};

/* Lines of `length` elements `inner` apart: `lines` of them, outer x inner. */
struct kernel_topk {
  uint64_t from;
  uint64_t values;  /* 0: not wanted */
  uint64_t indices; /* likewise */
  uint64_t lines;
  uint64_t inner;
  uint32_t length;
  uint32_t k;
  uint32_t type;
  uint32_t element_bytes;
  uint32_t largest;
};

struct kernel_cumsum {
  uint64_t from;
  uint64_t to;
  uint64_t lines;
  uint64_t inner;
  uint32_t length;
  uint32_t type;
  uint32_t exclusive;
  uint32_t reverse;
};

/* LSTM, GRU, RNN: steps [first_step, first_step + steps) of each direction's own order, given what
 * the inputs come to. A cluster of `parts` blocks does `at_once` sequences of one direction, each
 * block its share of the hidden units. */
struct kernel_recurrent {
  uint64_t
      gates; /* W x without bias: (directions, steps, batch, gates x hidden), of the op's type */
  uint64_t recurrence; /* R */
  uint64_t bias;       /* 0: none; as are the next */
  uint64_t first_h;
  uint64_t first_c;
  uint64_t peepholes;
  uint64_t to; /* Y */
  uint64_t last_h;
  uint64_t last_c;
  uint64_t state; /* h, then c, between two launches: (directions, batch, hidden), F64 if type is,
                     else F32 */
  uint32_t first_step;
  uint32_t steps;
  uint32_t steps_total;
  uint32_t batch;
  uint32_t groups; /* of sequences */
  uint32_t hidden;
  uint32_t directions;
  uint32_t gates_count; /* 4, 3 or 1 */
  uint32_t is_first_reverse;
  uint32_t linear_before_reset;
  uint32_t parts;
  uint32_t units;   /* of a block, the last one's may be fewer */
  uint32_t is_kept; /* a block's rows of R stay in its shared memory */
  uint32_t activations[6];
  float alphas[6];
  float betas[6];
};

struct kernel_resize {
  uint64_t from;
  uint64_t to;
  uint64_t count;
  uint32_t type;
  uint32_t rank;
  uint32_t mode;
  uint32_t coordinates;
  uint32_t rounding;
  uint32_t exclude_outside;
  float cubic_a;
  uint32_t dims_from[KERNEL_AXES_MAX];
  uint32_t dims_to[KERNEL_AXES_MAX];
  uint32_t order[KERNEL_AXES_MAX]; /* axes, the fastest of the output last */
  int64_t from_strides[KERNEL_AXES_MAX];
  int64_t to_strides[KERNEL_AXES_MAX];
  float scales[KERNEL_AXES_MAX];
};

/* A product that no library call fits: batches by strides. */
struct kernel_matmul {
  uint64_t a;
  uint64_t b;
  uint64_t to;
  uint64_t bias;
  uint64_t residual;
  uint32_t type;
  uint32_t m, n, k;
  int64_t a_row, a_column, b_row, b_column;
  uint32_t axes;
  uint64_t batches;
  uint32_t dims[KERNEL_AXES_MAX];
  int64_t a_strides[KERNEL_AXES_MAX];
  int64_t b_strides[KERNEL_AXES_MAX];
  float scale;
  uint32_t activation;
  float alpha;
  float beta;
};

#endif
