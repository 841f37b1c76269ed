/* The first convolution of an image network on the tensor cores, straight from the image as it
 * arrives: planes of single floats, at most four of them; windows that move by two columns.
 *
 * cuDNN wants channels in multiples of four or eight; with three it runs at a tenth of its speed,
 * and a kernel in front must reorder the image. Here a block takes what STEM_ROWS x STEM_COLUMNS
 * pixels of output look at into shared memory, channels side by side. A row of the window of one
 * output pixel is then a run of elements, and that of its neighbour begins two pixels on: a matrix
 * whose rows overlap, which the tensor cores' operands are read from as it lies. What a run is too
 * long meets filters of zero. The filters are laid out as operands and stay for all of a block's
 * places. */

enum {
  STEM_THREADS = 256,
  STEM_WARPS = STEM_THREADS / 32,
  STEM_FILTERS = 64, /* half of them a warp */
  STEM_ROWS = 8,     /* two a warp */
  STEM_COLUMNS = 16,
  STEM_STEP = 2, /* columns of the image from pixel to pixel */
  STEM_AT_ONCE = 8,
  STEM_PAIRS = STEM_FILTERS / 16, /* of tiles of eight filters */
};

template <typename T> struct stem_traits;

/* An operand's lane holds elements of its row, in the order in which the other operand's does. */
template <> struct stem_traits<__half> {
  enum { DEPTH = 16 };
  static __device__ inline __half element(float x) {
    return __float2half_rn(x);
  }
  static __device__ inline void take_row(const __half *row, uint32_t &low, uint32_t &high) {
    low = *(const uint32_t *)(row + threadIdx.x % 4 * 2);
    high = *(const uint32_t *)(row + threadIdx.x % 4 * 2 + 8);
  }
  /* Position in a step of the lane's element `i` of `register_index`. */
  static __device__ inline uint32_t position(uint32_t lane, uint32_t register_index, uint32_t i) {
    return lane % 4 * 2 + register_index * 8 + i;
  }
  static __device__ inline void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

template <> struct stem_traits<float> {
  enum { DEPTH = 8 };
  static __device__ inline float element(float x) {
    uint32_t rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return __uint_as_float(rounded);
  }
  static __device__ inline void take_row(const float *row, uint32_t &low, uint32_t &high) {
    const uint2 both = *(const uint2 *)(row + threadIdx.x % 4 * 2);
    low = both.x;
    high = both.y;
  }
  static __device__ inline uint32_t position(uint32_t lane, uint32_t register_index, uint32_t) {
    return lane % 4 * 2 + register_index;
  }
  static __device__ inline void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

struct stem_place {
  uint32_t batch;
  int32_t row; /* the first, of the output */
  int32_t column;
};

__device__ inline stem_place stem_place_of(const kernel_stem &p, uint32_t index) {
  stem_place place;
  place.column = (int32_t)(index % p.places[1] * STEM_COLUMNS);
  place.row = (int32_t)(index / p.places[1] % p.places[0] * STEM_ROWS);
  place.batch = index / p.places[1] / p.places[0];
  return place;
}

/* The image under a place, `from` being the first plane of its batch: a warp takes a row of one
 * channel at a time, and has STEM_AT_ONCE of them under way before it stores the first. */
template <typename T>
__device__ inline void stem_take_image(const kernel_stem &p, const float *from,
                                       const stem_place &place, T *image) {
  const int32_t top = place.row * p.stride[0] - p.before[0];
  const int32_t left = place.column * STEM_STEP - p.before[1];
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t count = p.rows * (uint32_t)p.channels;
  for (uint32_t first = threadIdx.x / 32; first < count; first += STEM_WARPS * STEM_AT_ONCE) {
    float held[STEM_AT_ONCE][2];
#pragma unroll
    for (int a = 0; a < STEM_AT_ONCE; a++) {
      const uint32_t i = first + a * STEM_WARPS;
      const uint32_t row = i / p.channels, channel = i % p.channels;
      const int32_t y = top + (int32_t)row;
      const float *line = from + (int64_t)channel * p.channel_stride + (int64_t)y * p.row_stride;
      const bool is_there = i < count && (uint32_t)y < p.height;
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const int32_t x = left + (int32_t)lane + 32 * k;
        held[a][k] = is_there && lane + 32 * k < p.span && (uint32_t)x < p.width ? line[x] : 0.0f;
      }
    }
#pragma unroll
    for (int a = 0; a < STEM_AT_ONCE; a++) {
      const uint32_t i = first + a * STEM_WARPS;
      const uint32_t row = i / p.channels, channel = i % p.channels;
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const uint32_t x = lane + 32 * k;
        if (i < count && x < p.span) {
          image[row * p.pitch + x * p.channels + channel] = stem_traits<T>::element(held[a][k]);
        }
      }
    }
  }
}

/* Which filter the lane's column of a tile is: so that a lane's sums of four tiles are eight
 * filters in a row. */
__device__ inline uint32_t stem_filter_of(uint32_t lane, uint32_t tile) {
  const uint32_t column = lane / 4;
  return tile / 4 * 32 + column / 2 * 8 + tile % 4 * 2 + column % 2;
}

/* Operands of 16 bytes: [row of the window][step][pair of tiles][lane]. */
template <typename T>
__device__ inline void stem_take_filters(const kernel_stem &p, uint32_t first_filter, T *operands) {
  enum { A_REGISTER = 4 / sizeof(T), ELEMENTS = 16 / sizeof(T) };
  const uint32_t run = (uint32_t)(p.kernel[1] * p.channels);
  const uint32_t count = (uint32_t)p.kernel[0] * p.steps * STEM_PAIRS * 32;
#pragma unroll 4
  for (uint32_t i = threadIdx.x; i < count; i += STEM_THREADS) {
    const uint32_t lane = i % 32, pair = i / 32 % STEM_PAIRS;
    const uint32_t step = i / 32 / STEM_PAIRS % p.steps, row = i / 32 / STEM_PAIRS / p.steps;
#pragma unroll
    for (uint32_t k = 0; k < ELEMENTS; k++) {
      const uint32_t filter = first_filter + stem_filter_of(lane, pair * 2 + k / A_REGISTER / 2);
      const uint32_t at = step * stem_traits<T>::DEPTH +
                          stem_traits<T>::position(lane, k / A_REGISTER % 2, k % A_REGISTER);
      const bool is_there = filter < p.filters_count && at < run;
      operands[i * ELEMENTS + k] = stem_traits<T>::element(
          is_there ? (float)__ldg((const T *)p.filters +
                                  ((uint64_t)filter * p.kernel[0] + row) * run + at)
                   : 0.0f);
    }
  }
}

/* Eight filters of a pixel. */
template <typename T>
__device__ inline void stem_store(const kernel_stem &p, int64_t pixel, uint32_t filter,
                                  float (&v)[8]) {
  enum { WIDTH = packed<T>::WIDTH };
#pragma unroll
  for (int k = 0; k < 8; k++) {
    v[k] = p.activation == PLAN_ACT_RELU ? (v[k] < 0.0f ? 0.0f : v[k])
                                         : activate(p.activation, v[k], p.alpha, p.beta);
  }
#pragma unroll
  for (int k = 0; k < 8; k += WIDTH) {
    if (filter + k < p.filters_count) {
      float part[WIDTH];
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        part[i] = v[k + i];
      }
      store_packed((T *)p.to + pixel * p.to_pitch + filter + k, part);
    }
  }
}

template <typename T> __device__ inline void stem_run(const kernel_stem &p) {
  typedef stem_traits<T> traits;
  extern __shared__ __align__(16) unsigned char memory[];
  T *operands = (T *)memory;
  T *image = (T *)(memory + p.image_offset);
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t first_filter = blockIdx.y * STEM_FILTERS;
  const uint32_t half = warp / (STEM_WARPS / 2); /* of the filters */
  const uint32_t line = warp % (STEM_WARPS / 2) * 2;
  const uint32_t filter = first_filter + half * 32 + lane % 4 * 8;
  const uint64_t slot =
      p.places_of_slot == 0 ? 0 : ((const kernel_places *)p.places_of_slot)->input_address;
  const float *planes = (const float *)(slot + p.from);
  stem_take_filters<T>(p, first_filter, operands);
  float bias[8];
#pragma unroll
  for (int k = 0; k < 8; k++) {
    bias[k] =
        p.bias != 0 && filter + k < p.filters_count ? (float)((const T *)p.bias)[filter + k] : 0.0f;
  }
  const uint4 *its = (const uint4 *)operands + half * (STEM_PAIRS / 2) * 32 + lane;
  for (uint32_t index = blockIdx.x; index < p.places_count; index += gridDim.x) {
    const stem_place place = stem_place_of(p, index);
    __syncthreads(); /* of the readers of the image before */
    stem_take_image<T>(p, planes + (int64_t)place.batch * p.batch_stride, place, image);
    __syncthreads();
    float sums[2][4][4];
#pragma unroll
    for (int i = 0; i < 32; i++) {
      sums[i / 16][i / 4 % 4][i % 4] = 0.0f;
    }
    for (int row = 0; row < p.kernel[0]; row++) {
      const T *top =
          image + (line * p.stride[0] + row) * p.pitch + lane / 4 * STEM_STEP * p.channels;
      const uint4 *operand = its + row * p.steps * STEM_PAIRS * 32;
#pragma unroll 3
      for (uint32_t step = 0; step < p.steps; step++) {
        const uint4 b[2] = {operand[step * STEM_PAIRS * 32], operand[step * STEM_PAIRS * 32 + 32]};
#pragma unroll
        for (int r = 0; r < 2; r++) {
          const T *at = top + r * p.stride[0] * p.pitch + step * traits::DEPTH;
          uint32_t a[4];
          traits::take_row(at, a[0], a[2]);
          traits::take_row(at + 8 * STEM_STEP * p.channels, a[1], a[3]);
#pragma unroll
          for (int i = 0; i < 2; i++) {
            traits::multiply(sums[r][2 * i], a, b[i].x, b[i].y);
            traits::multiply(sums[r][2 * i + 1], a, b[i].z, b[i].w);
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const int32_t y = place.row + (int32_t)line + r;
        const int32_t x = place.column + (int32_t)(lane / 4) + 8 * k;
        if (y < p.to_height && x < p.to_width && filter < p.filters_count) {
          float v[8];
#pragma unroll
          for (int i = 0; i < 8; i++) {
            v[i] = sums[r][i / 2][2 * k + i % 2] + bias[i];
          }
          stem_store<T>(p, ((int64_t)place.batch * p.to_height + y) * p.to_width + x, filter, v);
        }
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(STEM_THREADS, 3)
    stem_f32(const __grid_constant__ kernel_stem p) {
  stem_run<float>(p);
}

extern "C" __global__ void __launch_bounds__(STEM_THREADS, 3)
    stem_f16(const __grid_constant__ kernel_stem p) {
  stem_run<__half>(p);
}
