/* Gathering from and scattering to places that data names. An index out of range is held at the
 * nearest valid one: data can't make a kernel step outside. */

__device__ inline int64_t held_index(int64_t index, int64_t length) {
  index = index < 0 ? index + length : index;
  return min(max(index, (int64_t)0), length - 1);
}

__device__ inline int64_t place_of(const kernel_tuple_places &p, uint64_t tuple) {
  int64_t place = offset_of(tuple, p.axes, p.dims, p.strides);
  for (uint32_t i = 0; i < p.depth; i++) {
    const int64_t index =
        load_number(p.indices, (int64_t)(tuple * p.depth + i), p.index_type).whole;
    place += held_index(index, p.lengths[i]) * p.place_strides[i];
  }
  return place;
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    gather_places(const __grid_constant__ kernel_gather_places p) {
  FOR_EACH(index, p.places.tuples * p.places.width) {
    const uint64_t tuple = index / p.places.width;
    const uint64_t from = (uint64_t)place_of(p.places, tuple) + index % p.places.width;
    move_element(p.to, index, p.from, from, p.element_bytes);
  }
}

/* Several updates of one place: the last wins, or all are combined in their order, one after the
 * other, so that the result is the same each time. scatter_find names for each place the tuple
 * whose threads do that. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    scatter_begin(const __grid_constant__ kernel_scatter p) {
  FOR_EACH(i, max(p.count, p.targets_count)) {
    if (i < p.count) {
      move_element(p.to, i, p.from, i, p.element_bytes);
    }
    if (i < p.targets_count) {
      const kernel_target none = {0, 0};
      ((kernel_target *)p.targets)[i] = none;
    }
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    scatter_find(const __grid_constant__ kernel_scatter p) {
  FOR_EACH(tuple, p.places.tuples) {
    const uint32_t target = (uint32_t)((uint64_t)place_of(p.places, tuple) / p.places.width);
    kernel_target *at = (kernel_target *)p.targets + target;
    ((uint32_t *)p.target_of)[tuple] = target;
    if (p.reduction == PLAN_SCATTER_PUT) {
      atomicMax(&at->winner, (uint32_t)tuple + 1);
    } else {
      atomicMax(&at->winner, UINT32_MAX - (uint32_t)tuple);
      atomicAdd(&at->count, 1);
    }
  }
}

__device__ inline number scatter_combine(uint32_t reduction, number a, number b) {
  number r = a;
  switch (reduction) {
  case PLAN_SCATTER_ADD:
    r.real = a.real + b.real;
    r.whole = (int64_t)((uint64_t)a.whole + (uint64_t)b.whole);
    break;
  case PLAN_SCATTER_MUL:
    r.real = a.real * b.real;
    r.whole = (int64_t)((uint64_t)a.whole * (uint64_t)b.whole);
    break;
  case PLAN_SCATTER_MIN:
    r.real = a.real < b.real || a.real != a.real ? a.real : b.real;
    r.whole = min(a.whole, b.whole);
    break;
  default:
    r.real = a.real > b.real || a.real != a.real ? a.real : b.real;
    r.whole = max(a.whole, b.whole);
    break;
  }
  return r;
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    scatter_put(const __grid_constant__ kernel_scatter p) {
  const uint64_t width = p.places.width;
  const uint32_t *target_of = (const uint32_t *)p.target_of;
  FOR_EACH(index, p.places.tuples * width) {
    const uint32_t tuple = (uint32_t)(index / width);
    const uint64_t inner = index % width;
    const uint32_t target = target_of[tuple];
    const kernel_target found = ((const kernel_target *)p.targets)[target];
    const uint64_t to = target * width + inner;
    if (p.reduction == PLAN_SCATTER_PUT) {
      if (found.winner == tuple + 1) {
        move_element(p.to, to, p.updates, index, p.element_bytes);
      }
      continue;
    }
    if (found.winner != UINT32_MAX - tuple) {
      continue;
    }
    uint32_t left = found.count;
    for (uint32_t other = tuple; left > 0; other++) {
      if (target_of[other] == target) {
        /* Through memory each time: rounded to the type as if each update came alone. */
        const number update = load_number(p.updates, (int64_t)(other * width + inner), p.type);
        store_number(p.to, (int64_t)to, p.type,
                     scatter_combine(p.reduction, load_number(p.to, (int64_t)to, p.type), update));
        left--;
      }
    }
  }
}
