/* Single elements of any type, and how a tensor's elements lie. For the reference kernels: every
 * element goes through a double or a 64-bit integer, which hold each type's values exactly.
 */
#ifndef CLOCKWORK_KERNELS_ELEMENT_H
#define CLOCKWORK_KERNELS_ELEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "package/plan.h"

double element_half_to_double(uint16_t bits);
/* Rounds to nearest, ties to even. */
uint16_t element_double_to_half(double number);

/* Element `index` (in elements, not bytes) of `data`. Integers beyond 2^53 need the _int ones. */
double element_load(enum plan_type type, const void *data, uint64_t index);
int64_t element_load_int(enum plan_type type, const void *data, uint64_t index);
/* Floats round, integers take the number's low bits after truncation towards 0 (NaN: 0). */
void element_store(enum plan_type type, void *data, uint64_t index, double number);
void element_store_int(enum plan_type type, void *data, uint64_t index, int64_t number);

/* The part of `count` that part `part` of `parts` does. */
struct element_range {
  uint64_t begin;
  uint64_t end;
};
struct element_range element_part(uint64_t count, uint32_t part, uint32_t parts);

/* Coordinates of the logical index `index`, and what they come to under `strides`. */
void element_coordinates(const struct plan_tensor *tensor, uint64_t index,
                         uint32_t ret_coordinates[PLAN_RANK_MAX]);
uint64_t element_offset(uint32_t rank, const uint32_t *coordinates, const uint64_t *strides);

double element_activate(const struct plan_activation *activation, double x);

#endif
