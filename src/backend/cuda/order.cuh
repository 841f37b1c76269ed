/* The greatest or smallest of a line, and running sums along one. */

/* A number that compares as the element does: the greater comes first, or the smaller. NaN is the
 * greatest of all. */
__device__ inline int64_t order_key(number n, uint32_t type, bool largest) {
  int64_t key = n.whole;
  if (is_real(type)) {
    key = __double_as_longlong(n.real == 0.0 ? 0.0 : n.real);
    key = n.real != n.real ? INT64_MAX : key < 0 ? key ^ INT64_MAX : key;
  }
  return largest ? key : ~key;
}

/* An element's place among the chosen is how many come before it: all are counted, a tile of the
 * line after the other. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    topk_any(const __grid_constant__ kernel_topk p) {
  __shared__ int64_t tile[KERNEL_THREADS];
  const uint32_t tiles = (p.length + KERNEL_THREADS - 1) / KERNEL_THREADS;
  for (uint64_t work = blockIdx.x; work < p.lines * tiles; work += gridDim.x) {
    const uint64_t line = work / tiles;
    const uint64_t outer = line / p.inner, inner = line % p.inner;
    const int64_t base = (int64_t)(outer * p.length * p.inner + inner);
    const uint32_t mine = (uint32_t)(work % tiles) * KERNEL_THREADS + threadIdx.x;
    int64_t key = 0;
    if (mine < p.length) {
      key = order_key(load_number(p.from, base + (int64_t)(mine * p.inner), p.type), p.type,
                      p.largest != 0);
    }
    uint32_t rank = 0;
    for (uint32_t first = 0; first < p.length; first += KERNEL_THREADS) {
      const uint32_t other = first + threadIdx.x;
      __syncthreads();
      if (other < p.length) {
        tile[threadIdx.x] = order_key(
            load_number(p.from, base + (int64_t)(other * p.inner), p.type), p.type, p.largest != 0);
      }
      __syncthreads();
      const uint32_t count = min(p.length - first, (uint32_t)KERNEL_THREADS);
      for (uint32_t i = 0; i < count; i++) {
        rank += tile[i] > key || (tile[i] == key && first + i < mine);
      }
    }
    if (mine < p.length && rank < p.k) {
      const uint64_t to = (outer * p.k + rank) * p.inner + inner;
      if (p.values != 0) {
        move_element(p.values, to, p.from, (uint64_t)base + mine * p.inner, p.element_bytes);
      }
      if (p.indices != 0) {
        ((int64_t *)p.indices)[to] = mine;
      }
    }
  }
}

/* A warp a line, 32 elements at a time. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    cumsum_any(const __grid_constant__ kernel_cumsum p) {
  const uint32_t lane_index = threadIdx.x % 32;
  const uint64_t warps = (uint64_t)gridDim.x * (blockDim.x / 32);
  for (uint64_t line = (uint64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; line < p.lines;
       line += warps) {
    const uint64_t base = line / p.inner * p.length * p.inner + line % p.inner;
    number before = {0.0, 0};
    for (uint32_t first = 0; first < p.length; first += 32) {
      const uint32_t i = first + lane_index;
      const int64_t at = (int64_t)(base + (p.reverse ? p.length - 1 - i : i) * p.inner);
      number sum = {0.0, 0};
      if (i < p.length) {
        sum = load_number(p.from, at, p.type);
      }
      for (int width = 1; width < 32; width *= 2) {
        const double real = __shfl_up_sync(0xffffffffu, sum.real, width);
        const int64_t whole = __shfl_up_sync(0xffffffffu, sum.whole, width);
        sum.real += lane_index >= width ? real : 0.0;
        sum.whole += lane_index >= width ? whole : 0;
      }
      number shown = sum;
      if (p.exclusive) {
        shown.real = __shfl_up_sync(0xffffffffu, sum.real, 1);
        shown.whole = __shfl_up_sync(0xffffffffu, sum.whole, 1);
        shown.real = lane_index == 0 ? 0.0 : shown.real;
        shown.whole = lane_index == 0 ? 0 : shown.whole;
      }
      shown.real += before.real;
      shown.whole += before.whole;
      if (i < p.length) {
        store_number(p.to, at, p.type, shown);
      }
      before.real += __shfl_sync(0xffffffffu, sum.real, 31);
      before.whole += __shfl_sync(0xffffffffu, sum.whole, 31);
    }
  }
}
