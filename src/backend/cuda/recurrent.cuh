/* LSTM, GRU and RNN: all steps in one launch. What the inputs come to was multiplied before.
 *
 * A cluster of blocks does a few sequences of one direction. Each block owns a share of the hidden
 * units, keeps their rows of R in its shared memory where they fit, and writes the units' new
 * values into the shared memory of every block of the cluster: a step needs no memory but that, and
 * one barrier of the cluster (a GRU that resets before it multiplies: two). A warp makes one unit
 * at a time, each lane a part of its sums, which are then added in a fixed order. */
#include <cooperative_groups.h>

extern __shared__ __align__(16) unsigned char recurrent_memory[];

/* T as the tensors hold it; A as sums and states are kept. */
template <typename T, typename A, int AT_ONCE> struct recurrent {
  const kernel_recurrent &p;
  uint32_t direction;
  uint32_t first_sequence;
  uint32_t first_unit;
  uint32_t units;
  A *h[2];       /* (AT_ONCE, hidden): before and after a step, in turns */
  A *other;      /* LSTM: c, own units; GRU: reset h */
  const T *kept; /* (gates, p.units, hidden), or NULL */

  __device__ recurrent(const kernel_recurrent &parameters) : p(parameters) {
    const uint32_t rank = blockIdx.x % p.parts, group = blockIdx.x / p.parts;
    direction = group / p.groups;
    first_sequence = group % p.groups * AT_ONCE;
    first_unit = min(rank * p.units, p.hidden);
    units = min(p.units, p.hidden - first_unit);
    A *states = (A *)recurrent_memory;
    const uint32_t count = AT_ONCE * p.hidden;
    h[0] = states;
    h[1] = states + count;
    other = states + 2 * count;
    kept = p.is_kept ? (const T *)(states + 3 * count) : NULL;
  }

  static __device__ A load(uint64_t address, uint64_t index) {
    return address == 0 ? (A)0 : (A)((const T *)address)[index];
  }

  static __device__ void store(uint64_t address, uint64_t index, A value) {
    if (address != 0) {
      ((T *)address)[index] = (T)value;
    }
  }

  /* A barrier of all blocks that share these sequences. */
  __device__ void meet() const {
#if __CUDA_ARCH__ >= 900
    if (p.parts > 1) {
      cooperative_groups::this_cluster().sync();
      return;
    }
#endif
    __syncthreads();
  }

  /* To `at`, of this block's shared memory, in all of them. */
  __device__ void tell(A *at, A value) const {
#if __CUDA_ARCH__ >= 900
    for (uint32_t i = 0; i < p.parts; i++) {
      *cooperative_groups::this_cluster().map_shared_rank(at, i) = value;
    }
#else
    *at = value;
#endif
  }

  __device__ uint64_t state_at(uint32_t sequence) const {
    return ((uint64_t)direction * p.batch + first_sequence + sequence) * p.hidden;
  }

  __device__ uint64_t states_count() const {
    return (uint64_t)p.directions * p.batch * p.hidden;
  }

  __device__ bool is_there(uint32_t sequence) const {
    return first_sequence + sequence < p.batch;
  }

  __device__ bool is_last() const {
    return p.first_step + p.steps == p.steps_total;
  }

  __device__ void begin() const {
    for (uint32_t i = threadIdx.x; i < AT_ONCE * p.hidden; i += blockDim.x) {
      const uint32_t sequence = i / p.hidden, unit = i % p.hidden;
      const uint64_t at = state_at(sequence) + unit;
      A first_h = 0, first_c = 0;
      if (is_there(sequence)) {
        const A *state = (const A *)p.state;
        first_h = p.first_step > 0 ? state[at] : load(p.first_h, at);
        first_c = p.first_step > 0 ? state[states_count() + at] : load(p.first_c, at);
      }
      h[0][i] = first_h;
      other[i] = first_c;
    }
    T *to = (T *)kept;
    for (uint32_t gate = 0; to != NULL && gate < p.gates_count; gate++) {
      const T *from = (const T *)p.recurrence + row_at(gate, first_unit);
      for (uint32_t i = threadIdx.x; i < units * p.hidden; i += blockDim.x) {
        to[(uint64_t)gate * p.units * p.hidden + i] = from[i];
      }
    }
    meet();
  }

  __device__ void end() const {
    const A *last_h = h[p.steps % 2];
    for (uint32_t i = threadIdx.x; i < AT_ONCE * units; i += blockDim.x) {
      const uint32_t sequence = i / units, unit = first_unit + i % units;
      if (!is_there(sequence)) {
        continue;
      }
      const uint64_t at = state_at(sequence) + unit;
      const A h_value = last_h[sequence * p.hidden + unit];
      const A c_value = other[sequence * p.hidden + unit];
      if (is_last()) {
        store(p.last_h, at, h_value);
        store(p.last_c, at, c_value);
      } else {
        ((A *)p.state)[at] = h_value;
        ((A *)p.state)[states_count() + at] = c_value;
      }
    }
  }

  __device__ uint64_t row_at(uint32_t gate, uint32_t unit) const {
    return ((uint64_t)(direction * p.gates_count + gate) * p.hidden + unit) * p.hidden;
  }

  /* R's rows of `unit`, gates [FIRST, FIRST + COUNT), times `states`: the same in all lanes. */
  template <int FIRST, int COUNT>
  __device__ void multiply(uint32_t unit, const A *states, A (&sums)[COUNT][AT_ONCE]) const {
    const T *rows[COUNT];
#pragma unroll
    for (int gate = 0; gate < COUNT; gate++) {
      rows[gate] = kept != NULL
                       ? kept + ((uint64_t)(FIRST + gate) * p.units + unit - first_unit) * p.hidden
                       : (const T *)p.recurrence + row_at(FIRST + gate, unit);
#pragma unroll
      for (int sequence = 0; sequence < AT_ONCE; sequence++) {
        sums[gate][sequence] = 0;
      }
    }
#pragma unroll 4
    for (uint32_t i = threadIdx.x % 32; i < p.hidden; i += 32) {
      A state[AT_ONCE];
#pragma unroll
      for (int sequence = 0; sequence < AT_ONCE; sequence++) {
        state[sequence] = states[sequence * p.hidden + i];
      }
#pragma unroll
      for (int gate = 0; gate < COUNT; gate++) {
        const A weight = (A)rows[gate][i];
#pragma unroll
        for (int sequence = 0; sequence < AT_ONCE; sequence++) {
          sums[gate][sequence] += weight * state[sequence];
        }
      }
    }
#pragma unroll
    for (int gate = 0; gate < COUNT; gate++) {
#pragma unroll
      for (int sequence = 0; sequence < AT_ONCE; sequence++) {
        for (int width = 16; width > 0; width /= 2) {
          sums[gate][sequence] += __shfl_xor_sync(0xffffffffu, sums[gate][sequence], width);
        }
      }
    }
  }

  /* Lane i's sequence is i. */
  template <int COUNT> static __device__ A pick(const A (&sums)[COUNT][AT_ONCE], int gate) {
    A picked = sums[gate][0];
#pragma unroll
    for (int sequence = 1; sequence < AT_ONCE; sequence++) {
      picked = threadIdx.x % 32 == sequence ? sums[gate][sequence] : picked;
    }
    return picked;
  }

  __device__ A activated(uint32_t which, A x) const {
    const uint32_t per_direction = p.gates_count == 4 ? 3 : p.gates_count == 3 ? 2 : 1;
    const uint32_t i = direction * per_direction + which;
    return (A)activate(p.activations[i], (float)x, p.alphas[i], p.betas[i]);
  }

  __device__ uint32_t step_of(uint32_t step) const {
    const bool is_backwards = direction == 1 || p.is_first_reverse;
    return is_backwards ? p.steps_total - 1 - (p.first_step + step) : p.first_step + step;
  }

  /* Among the steps at hand, which lie in the order of time. */
  __device__ uint32_t row_of(uint32_t step) const {
    const bool is_backwards = direction == 1 || p.is_first_reverse;
    return is_backwards ? p.steps - 1 - step : step;
  }

  /* W x and both biases of one gate of a unit. */
  __device__ A input_of(uint32_t step, uint32_t sequence, uint32_t gate, uint32_t unit,
                        bool with_recurrent_bias) const {
    const uint32_t rows = p.gates_count * p.hidden, row = gate * p.hidden + unit;
    const uint64_t at = ((uint64_t)direction * p.steps + row_of(step)) * p.batch + first_sequence;
    A sum = load(p.gates, (at + sequence) * rows + row);
    sum += load(p.bias, 2 * (uint64_t)direction * rows + row);
    return with_recurrent_bias ? sum + recurrent_bias_of(gate, unit) : sum;
  }

  __device__ A recurrent_bias_of(uint32_t gate, uint32_t unit) const {
    const uint32_t rows = p.gates_count * p.hidden;
    return load(p.bias, (2 * (uint64_t)direction + 1) * rows + gate * p.hidden + unit);
  }

  __device__ A peephole_of(uint32_t gate, uint32_t unit) const {
    return load(p.peepholes, ((uint64_t)direction * 3 + gate) * p.hidden + unit);
  }

  __device__ void show(uint32_t step, uint32_t sequence, uint32_t unit, A *next, A value) const {
    const uint64_t place = (uint64_t)step_of(step) * p.directions + direction;
    store(p.to, (place * p.batch + first_sequence + sequence) * p.hidden + unit, value);
    tell(next + sequence * p.hidden + unit, value);
  }

  __device__ void step_lstm(uint32_t step, uint32_t unit, const A *now, A *next) const {
    const uint32_t lane_index = threadIdx.x % 32;
    const bool is_mine = lane_index < AT_ONCE && is_there(lane_index);
    A in[4] = {0, 0, 0, 0};
    for (uint32_t gate = 0; is_mine && gate < 4; gate++) {
      in[gate] = input_of(step, lane_index, gate, unit, true);
    }
    A sums[4][AT_ONCE];
    multiply<0, 4>(unit, now, sums);
    const A in_sum = in[0] + pick(sums, 0), out_sum = in[1] + pick(sums, 1);
    const A forget_sum = in[2] + pick(sums, 2), cell_sum = in[3] + pick(sums, 3);
    if (!is_mine) {
      return;
    }
    A *c = other + lane_index * p.hidden + unit;
    const A i = activated(0, in_sum + peephole_of(0, unit) * *c);
    const A f = activated(0, forget_sum + peephole_of(2, unit) * *c);
    const A fresh = f * *c + i * activated(1, cell_sum);
    const A o = activated(0, out_sum + peephole_of(1, unit) * fresh);
    *c = fresh;
    show(step, lane_index, unit, next, o * activated(2, fresh));
  }

  /* linear_before_reset: all of it; else up to r h, and z is left where the unit's h will be. */
  __device__ void step_gru(uint32_t step, uint32_t unit, const A *now, A *next) const {
    const uint32_t lane_index = threadIdx.x % 32;
    const bool is_mine = lane_index < AT_ONCE && is_there(lane_index);
    A in[3] = {0, 0, 0};
    for (uint32_t gate = 0; is_mine && gate < 3; gate++) {
      in[gate] = input_of(step, lane_index, gate, unit, gate < 2);
    }
    A sums[3][AT_ONCE];
    if (p.linear_before_reset) {
      multiply<0, 3>(unit, now, sums);
    } else {
      A two[2][AT_ONCE];
      multiply<0, 2>(unit, now, two);
#pragma unroll
      for (int sequence = 0; sequence < AT_ONCE; sequence++) {
        sums[0][sequence] = two[0][sequence];
        sums[1][sequence] = two[1][sequence];
        sums[2][sequence] = 0;
      }
    }
    const A z_sum = in[0] + pick(sums, 0), r_sum = in[1] + pick(sums, 1);
    const A candidate_sum = pick(sums, 2) + recurrent_bias_of(2, unit);
    if (!is_mine) {
      return;
    }
    const uint32_t at = lane_index * p.hidden + unit;
    const A z = activated(0, z_sum), r = activated(0, r_sum);
    if (p.linear_before_reset) {
      const A candidate = activated(1, in[2] + r * candidate_sum);
      show(step, lane_index, unit, next, (1 - z) * candidate + z * now[at]);
    } else {
      next[at] = z;
      tell(other + at, r * now[at]);
    }
  }

  __device__ void step_gru_candidate(uint32_t step, uint32_t unit, const A *now, A *next) const {
    const uint32_t lane_index = threadIdx.x % 32;
    const bool is_mine = lane_index < AT_ONCE && is_there(lane_index);
    const A in = is_mine ? input_of(step, lane_index, 2, unit, true) : (A)0;
    A sums[1][AT_ONCE];
    multiply<2, 1>(unit, other, sums);
    const A sum = in + pick(sums, 0);
    if (is_mine) {
      const uint32_t at = lane_index * p.hidden + unit;
      const A z = next[at];
      show(step, lane_index, unit, next, (1 - z) * activated(1, sum) + z * now[at]);
    }
  }

  __device__ void step_rnn(uint32_t step, uint32_t unit, const A *now, A *next) const {
    const uint32_t lane_index = threadIdx.x % 32;
    const bool is_mine = lane_index < AT_ONCE && is_there(lane_index);
    const A in = is_mine ? input_of(step, lane_index, 0, unit, true) : (A)0;
    A sums[1][AT_ONCE];
    multiply<0, 1>(unit, now, sums);
    const A sum = in + pick(sums, 0);
    if (is_mine) {
      show(step, lane_index, unit, next, activated(0, sum));
    }
  }

  __device__ void run() const {
    const uint32_t warp = threadIdx.x / 32, warps = blockDim.x / 32;
    begin();
    for (uint32_t step = 0; step < p.steps; step++) {
      const A *now = h[step % 2];
      A *next = h[(step + 1) % 2];
      for (uint32_t i = warp; i < units; i += warps) {
        if (p.gates_count == 4) {
          step_lstm(step, first_unit + i, now, next);
        } else if (p.gates_count == 3) {
          step_gru(step, first_unit + i, now, next);
        } else {
          step_rnn(step, first_unit + i, now, next);
        }
      }
      meet();
      if (p.gates_count == 3 && !p.linear_before_reset) {
        for (uint32_t i = warp; i < units; i += warps) {
          step_gru_candidate(step, first_unit + i, now, next);
        }
        meet();
      }
    }
    end();
  }
};

#define RECURRENT_KERNEL(name, T, A, AT_ONCE)                                                      \
  extern "C" __global__ void __launch_bounds__(KERNEL_RECURRENT_THREADS)                           \
      name(const __grid_constant__ kernel_recurrent p) {                                           \
    recurrent<T, A, AT_ONCE>(p).run();                                                             \
  }

RECURRENT_KERNEL(recurrent_f32, float, float, 1)
RECURRENT_KERNEL(recurrent_f32_by_4, float, float, KERNEL_RECURRENT_AT_ONCE)
RECURRENT_KERNEL(recurrent_f16, __half, float, 1)
RECURRENT_KERNEL(recurrent_f16_by_4, __half, float, KERNEL_RECURRENT_AT_ONCE)
RECURRENT_KERNEL(recurrent_f64, double, double, 1)
RECURRENT_KERNEL(recurrent_f64_by_4, double, double, KERNEL_RECURRENT_AT_ONCE)
