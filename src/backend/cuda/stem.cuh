/* The first convolution of an image network on the tensor cores, straight from the image as it
 * arrives: planes of single floats, at most four of them; windows that move by two.
 *
 * cuDNN wants channels in multiples of four or eight; with three it runs at a tenth of its speed,
 * and a kernel in front must reorder the image. Here a block takes the rows that a stretch of
 * output pixels looks at into shared memory, four channels a pixel (missing ones zero). Of a row,
 * the window of one output pixel is then 32 elements in a run, and that of its neighbour begins
 * eight elements on: a matrix whose rows overlap, which the tensor cores read as it lies. The
 * filters are laid out to match and stay for all of a block's stretches. */
#include <mma.h>

enum {
  STEM_THREADS = 256,
  STEM_WARPS = STEM_THREADS / 32,
  STEM_FILTERS = 64,
  STEM_PIXELS = 128,                     /* of output, sixteen a warp */
  STEM_ROW = 32,                         /* eight taps by four channels */
  STEM_STEP = 8,                         /* from pixel to pixel: two of four channels */
  STEM_SPAN = 2 * (STEM_PIXELS - 1) + 8, /* pixels of a row of the image */
  STEM_PITCH = (STEM_SPAN * 4 + 31) / 32 * 32,
  STEM_AT_ONCE = 4,
};

template <typename T> struct stem_traits;

template <> struct stem_traits<__half> {
  enum { DEPTH = 16, PAD = 8 };
  typedef __half precision;
  static __device__ inline __half element(float x) {
    return __float2half_rn(x);
  }
};

template <> struct stem_traits<float> {
  enum { DEPTH = 8, PAD = 4 };
  typedef nvcuda::wmma::precision::tf32 precision;
  static __device__ inline float element(float x) {
    return nvcuda::wmma::__float_to_tf32(x);
  }
};

struct stem_place {
  uint32_t batch;
  int32_t row;    /* of the output */
  int32_t column; /* the stretch's first */
};

__device__ inline stem_place stem_place_of(const kernel_stem &p, uint32_t stretch) {
  stem_place place;
  place.column = (int32_t)(stretch % p.stretches * STEM_PIXELS);
  place.row = (int32_t)(stretch / p.stretches % p.to_height);
  place.batch = stretch / p.stretches / p.to_height;
  return place;
}

/* The rows of the image under a stretch. All loads of STEM_AT_ONCE pixels are under way before the
 * first is stored. */
template <typename T>
__device__ inline void stem_take_rows(const kernel_stem &p, const stem_place &place, T *rows) {
  const float *image = (const float *)p.from + (int64_t)place.batch * p.batch_stride;
  const int32_t top = place.row * p.stride[0] - p.before[0];
  const int32_t left = place.column * 2 - p.before[1];
  const uint32_t count = (uint32_t)p.kernel[0] * STEM_SPAN;
  for (uint32_t first = threadIdx.x; first < count; first += STEM_THREADS * STEM_AT_ONCE) {
    float held[STEM_AT_ONCE][4];
#pragma unroll
    for (int a = 0; a < STEM_AT_ONCE; a++) {
      const uint32_t i = first + a * STEM_THREADS;
      const int32_t y = top + (int32_t)(i / STEM_SPAN), x = left + (int32_t)(i % STEM_SPAN);
      const bool is_inside = i < count && (uint32_t)y < p.height && (uint32_t)x < p.width;
      const float *pixel = image + (int64_t)y * p.row_stride + x;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        held[a][c] = is_inside && c < p.channels ? __ldg(pixel + c * p.channel_stride) : 0.0f;
      }
    }
#pragma unroll
    for (int a = 0; a < STEM_AT_ONCE; a++) {
      const uint32_t i = first + a * STEM_THREADS;
      if (i < count) {
        T *to = rows + i / STEM_SPAN * STEM_PITCH + i % STEM_SPAN * 4;
#pragma unroll
        for (int c = 0; c < 4; c++) {
          to[c] = stem_traits<T>::element(held[a][c]);
        }
      }
    }
  }
}

/* filters[STEM_FILTERS][rows x STEM_ROW], what is not there zero. */
template <typename T>
__device__ inline void stem_take_filters(const kernel_stem &p, uint32_t first_filter, T *filters,
                                         uint32_t pitch) {
  const uint32_t tap = threadIdx.x % STEM_ROW / 4, channel = threadIdx.x % 4;
  const uint32_t count = STEM_FILTERS * (uint32_t)p.kernel[0];
#pragma unroll 4
  for (uint32_t i = threadIdx.x / 32; i < count; i += STEM_WARPS) {
    const uint32_t filter = i / p.kernel[0], row = i % p.kernel[0];
    const bool is_there =
        first_filter + filter < p.filters_count && tap < p.kernel[1] && channel < p.channels;
    const uint64_t from =
        (((uint64_t)(first_filter + filter) * p.kernel[0] + row) * p.kernel[1] + tap) * p.channels +
        channel;
    filters[filter * pitch + row * STEM_ROW + tap * 4 + channel] =
        stem_traits<T>::element(is_there ? (float)__ldg((const T *)p.filters + from) : 0.0f);
  }
}

template <typename T>
__device__ inline void stem_finish(const kernel_stem &p, const stem_place &place,
                                   uint32_t first_filter, const float *sums,
                                   const float (&bias)[packed<T>::WIDTH]) {
  enum { WIDTH = packed<T>::WIDTH, GROUPS = STEM_FILTERS / WIDTH };
  const uint32_t lane_index = threadIdx.x % 32;
  const uint32_t group = lane_index % GROUPS * WIDTH;
  const int32_t first = place.column + (int32_t)(threadIdx.x / 32 * 16);
  const int64_t line = ((int64_t)place.batch * p.to_height + place.row) * p.to_width;
  if (first_filter + group >= p.filters_count) {
    return;
  }
  for (uint32_t i = lane_index / GROUPS; i < 16; i += 32 / GROUPS) {
    if (first + (int32_t)i >= p.to_width) {
      return;
    }
    float v[WIDTH];
#pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      v[k] = sums[i * STEM_FILTERS + group + k] + bias[k];
    }
    if (p.activation == PLAN_ACT_RELU) {
#pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        v[k] = v[k] < 0.0f ? 0.0f : v[k];
      }
    } else {
      for (int k = 0; k < WIDTH; k++) {
        v[k] = activate(p.activation, v[k], p.alpha, p.beta);
      }
    }
    store_packed((T *)p.to + (line + first + i) * p.to_pitch + first_filter + group, v);
  }
}

template <typename T> __device__ inline void stem_run(const kernel_stem &p) {
  using namespace nvcuda::wmma;
  typedef stem_traits<T> traits;
  enum { WIDTH = packed<T>::WIDTH, TILES = STEM_FILTERS / 16 };
  extern __shared__ __align__(128) unsigned char memory[];
  const uint32_t pitch = (uint32_t)p.kernel[0] * STEM_ROW + traits::PAD;
  T *rows = (T *)memory;
  T *filters = (T *)(memory + p.filters_offset);
  const uint32_t warp = threadIdx.x / 32;
  float *sums = (float *)memory + warp * 16 * STEM_FILTERS; /* in the rows' place */
  const uint32_t first_filter = blockIdx.y * STEM_FILTERS;
  stem_take_filters<T>(p, first_filter, filters, pitch);
  float bias[WIDTH];
#pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    const uint32_t filter = first_filter + threadIdx.x % (STEM_FILTERS / WIDTH) * WIDTH + k;
    bias[k] = p.bias != 0 && filter < p.filters_count ? (float)((const T *)p.bias)[filter] : 0.0f;
  }
  for (uint32_t stretch = blockIdx.x; stretch < p.stretches_count; stretch += gridDim.x) {
    const stem_place place = stem_place_of(p, stretch);
    stem_take_rows<T>(p, place, rows);
    __syncthreads();
    const bool has_pixels = place.column + (int32_t)warp * 16 < p.to_width;
    fragment<accumulator, 16, 16, traits::DEPTH, float> sum[TILES];
#pragma unroll
    for (int i = 0; i < TILES; i++) {
      fill_fragment(sum[i], 0.0f);
    }
    for (int row = 0; row < p.kernel[0] && has_pixels; row++) {
#pragma unroll
      for (int k = 0; k < STEM_ROW; k += traits::DEPTH) {
        fragment<matrix_a, 16, 16, traits::DEPTH, typename traits::precision, row_major> a;
        load_matrix_sync(a, rows + row * STEM_PITCH + warp * 16 * STEM_STEP + k, STEM_STEP);
#pragma unroll
        for (int i = 0; i < TILES; i++) {
          fragment<matrix_b, 16, 16, traits::DEPTH, typename traits::precision, col_major> b;
          load_matrix_sync(b, filters + i * 16 * pitch + row * STEM_ROW + k, pitch);
          mma_sync(sum[i], a, b, sum[i]);
        }
      }
    }
    __syncthreads(); /* the sums take the rows' place */
    if (has_pixels) {
#pragma unroll
      for (int i = 0; i < TILES; i++) {
        store_matrix_sync(sums + i * 16, sum[i], STEM_FILTERS, mem_row_major);
      }
      __syncwarp();
      stem_finish<T>(p, place, first_filter, sums, bias);
    }
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(STEM_THREADS)
    stem_f32(const __grid_constant__ kernel_stem p) {
  stem_run<float>(p);
}

extern "C" __global__ void __launch_bounds__(STEM_THREADS)
    stem_f16(const __grid_constant__ kernel_stem p) {
  stem_run<__half>(p);
}
