/* What only moves elements: the ends of every graph, copies between layouts, padding, gathering. */

__device__ inline uint64_t device_now_ns() {
  uint64_t ns;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns));
  return ns;
}

/* bytes: a multiple of 16, both ends aligned to 16. */
__device__ inline void copy_bytes(uint64_t to, uint64_t from, uint64_t bytes) {
  FOR_EACH(i, bytes / 16) {
    ((uint4 *)to)[i] = ((const uint4 *)from)[i];
  }
}

/* One thread. */
extern "C" __global__ void graph_begin(const kernel_frame p) {
  volatile kernel_cell *cell = (volatile kernel_cell *)p.cell;
  cell->begin_ns = device_now_ns();
  kernel_places *places = (kernel_places *)p.places;
  places->input_address = cell->input_address;
  places->output_address = cell->output_address;
  places->sequence = cell->sequence;
}

extern "C" __global__ void __launch_bounds__(1024) graph_copy_in(const kernel_frame p) {
  copy_bytes(p.fixed, ((const kernel_places *)p.places)->input_address, p.bytes);
}

extern "C" __global__ void __launch_bounds__(1024) graph_copy_out(const kernel_frame p) {
  copy_bytes(((const kernel_places *)p.places)->output_address, p.fixed, p.bytes);
}

__device__ inline void finish(volatile kernel_cell *cell, uint32_t sequence) {
  cell->end_ns = device_now_ns();
  __threadfence_system();
  cell->is_done = sequence;
}

/* One block. */
extern "C" __global__ void __launch_bounds__(1024) graph_end(const kernel_frame p) {
  const kernel_places *places = (const kernel_places *)p.places;
  copy_bytes(places->output_address, p.fixed, p.bytes);
  __syncthreads();
  if (threadIdx.x == 0) {
    finish((volatile kernel_cell *)p.cell, places->sequence);
  }
}

extern "C" __global__ void ping(const kernel_ping p) {
  volatile kernel_cell *cell = (volatile kernel_cell *)p.cell;
  finish(cell, cell->sequence);
}

/* Numbers in [0, 1), which no timing of a kernel is flattered by. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS) fill(const kernel_fill p) {
  FOR_EACH(i, p.bytes / 4) {
    uint32_t x = (uint32_t)i * 2654435761u + p.seed;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    ((float *)p.address)[i] = (float)(x >> 8) * (1.0f / 16777216.0f);
  }
}

template <typename T> __device__ inline void copy_elements(const kernel_copy &p) {
  FOR_EACH(index, p.count) {
    ((T *)p.to)[offset_of(index, p.axes, p.dims, p.to_strides)] =
        ((const T *)p.from)[offset_of(index, p.axes, p.dims, p.from_strides)];
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    copy_any(const __grid_constant__ kernel_copy p) {
  switch (p.element_bytes) {
  case 1:
    copy_elements<uint8_t>(p);
    break;
  case 2:
    copy_elements<uint16_t>(p);
    break;
  case 4:
    copy_elements<uint32_t>(p);
    break;
  case 8:
    copy_elements<uint2>(p);
    break;
  default:
    copy_elements<uint4>(p);
    break;
  }
}

__device__ inline void move_element(uint64_t to, uint64_t to_index, uint64_t from,
                                    uint64_t from_index, uint32_t bytes) {
  switch (bytes) {
  case 1:
    ((uint8_t *)to)[to_index] = ((const uint8_t *)from)[from_index];
    break;
  case 2:
    ((uint16_t *)to)[to_index] = ((const uint16_t *)from)[from_index];
    break;
  case 4:
    ((uint32_t *)to)[to_index] = ((const uint32_t *)from)[from_index];
    break;
  default:
    ((uint2 *)to)[to_index] = ((const uint2 *)from)[from_index];
    break;
  }
}

__device__ inline void clear_element(uint64_t to, uint64_t index, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    ((uint8_t *)to)[index * bytes + i] = 0;
  }
}

__device__ inline int64_t pad_source(uint32_t mode, int64_t at, int64_t length) {
  if (at >= 0 && at < length) {
    return at;
  }
  switch (mode) {
  case PLAN_PAD_EDGE:
    return at < 0 ? 0 : length - 1;
  case PLAN_PAD_REFLECT: {
    if (length == 1) {
      return 0;
    }
    const int64_t period = 2 * (length - 1);
    int64_t m = at % period;
    m = m < 0 ? m + period : m;
    return m < length ? m : period - m;
  }
  case PLAN_PAD_WRAP: {
    const int64_t m = at % length;
    return m < 0 ? m + length : m;
  }
  default:
    return -1;
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pad_any(const __grid_constant__ kernel_pad p) {
  FOR_EACH(index, p.count) {
    uint64_t rest = index, stride = 1, from = 0;
    bool is_outside = false;
    for (int axis = (int)p.rank - 1; axis >= 0; axis--) {
      const int64_t at = (int64_t)(rest % p.dims_to[axis]) - p.before[axis];
      rest /= p.dims_to[axis];
      const int64_t source = pad_source(p.mode, at, p.dims_from[axis]);
      is_outside = is_outside || source < 0;
      from += (uint64_t)source * stride;
      stride *= p.dims_from[axis];
    }
    if (!is_outside) {
      move_element(p.to, index, p.from, from, p.element_bytes);
    } else if (p.is_half) {
      ((__half *)p.to)[index] = __float2half_rn(p.half_fill);
    } else {
      for (uint32_t i = 0; i < p.element_bytes; i++) {
        ((uint8_t *)p.to)[index * p.element_bytes + i] = p.fill[i];
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    gather_any(const __grid_constant__ kernel_gather p) {
  FOR_EACH(index, p.count) {
    const uint64_t inner = index % p.inner;
    const uint64_t which = index / p.inner % p.indices_count;
    const uint64_t outer = index / p.inner / p.indices_count;
    int64_t at = load_number(p.indices, (int64_t)which, p.index_type).whole;
    at = at < 0 ? at + (int64_t)p.axis_length : at;
    at = min(max(at, (int64_t)0), (int64_t)p.axis_length - 1);
    move_element(p.to, index, p.from, (outer * p.axis_length + (uint64_t)at) * p.inner + inner,
                 p.element_bytes);
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    trilu_any(const __grid_constant__ kernel_trilu p) {
  FOR_EACH(index, p.count) {
    const int64_t column = (int64_t)(index % p.columns);
    const int64_t row = (int64_t)(index / p.columns % p.rows);
    const int64_t above = column - row - p.diagonal;
    if (p.upper ? above >= 0 : above <= 0) {
      move_element(p.to, index, p.from, index, p.element_bytes);
    } else {
      clear_element(p.to, index, p.element_bytes);
    }
  }
}
