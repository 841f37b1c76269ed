/* Inputs for requests that come without one: made once, sent compressed. */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "controller/controller.h"

/* A picture of flat tiles, as floats of 256 grey values: what a decoded image has in common with it
 * is few distinct values and neighbours that are alike. Tiles are large, so that 602 kB become
 * some 10 kB and the network carries thousands a second. */
enum { TILE_FLOATS = 32, ROW_FLOATS = 224 };

static void paint(unsigned char *bytes, uint32_t count, struct prng *prng) {
  float tiles[ROW_FLOATS / TILE_FLOATS] = {0};
  const uint32_t floats_count = count / (uint32_t)sizeof(float);
  for (uint32_t i = 0; i < floats_count; i++) {
    const uint32_t row = i / ROW_FLOATS;
    const uint32_t column = i % ROW_FLOATS;
    if (row % TILE_FLOATS == 0 && column % TILE_FLOATS == 0) {
      tiles[column / TILE_FLOATS] = (float)prng_below(prng, 256) / 255.0F;
    }
    memcpy(bytes + (size_t)i * sizeof(float), &tiles[column / TILE_FLOATS], sizeof(float));
  }
  memset(bytes + (size_t)floats_count * sizeof(float), 0, count % sizeof(float));
}

static bool make_variant(struct made_input *variant, unsigned char *raw, uint32_t input_bytes,
                         struct prng *prng) {
  paint(raw, input_bytes, prng);
  const int bound = LZ4_compressBound((int)input_bytes);
  unsigned char *packed = malloc((size_t)bound);
  if (packed == NULL) {
    return false;
  }
  const int packed_bytes =
      LZ4_compress_default((const char *)raw, (char *)packed, (int)input_bytes, bound);
  unsigned char *fitted = packed_bytes > 0 ? realloc(packed, (size_t)packed_bytes) : NULL;
  if (fitted == NULL) {
    free(packed);
    return false;
  }
  *variant = (struct made_input){.bytes = fitted, .stored_bytes = (uint32_t)packed_bytes};
  return true;
}

static struct inputs_of_size *find_size(struct inputs *inputs, uint32_t input_bytes) {
  for (uint32_t i = 0; i < inputs->sizes_count; i++) {
    if (inputs->sizes[i].input_bytes == input_bytes) {
      return &inputs->sizes[i];
    }
  }
  return NULL;
}

bool inputs_prepare(struct inputs *inputs, uint32_t input_bytes) {
  if (find_size(inputs, input_bytes) != NULL) {
    return true;
  }
  if (inputs->sizes_count == CONTROLLER_INPUT_SIZES_MAX || input_bytes > LZ4_MAX_INPUT_SIZE) {
    return false;
  }
  unsigned char *raw = malloc(input_bytes > 0 ? input_bytes : 1);
  if (raw == NULL) {
    return false;
  }
  struct inputs_of_size *size = &inputs->sizes[inputs->sizes_count];
  *size = (struct inputs_of_size){.input_bytes = input_bytes};
  inputs->sizes_count++;
  bool is_complete = true;
  for (uint32_t i = 0; i < CONTROLLER_INPUT_VARIANTS && is_complete; i++) {
    struct prng prng;
    prng_init(&prng, input_bytes, i);
    is_complete = make_variant(&size->variants[i], raw, input_bytes, &prng);
  }
  free(raw);
  return is_complete;
}

const struct made_input *inputs_next(struct inputs *inputs, uint32_t input_bytes) {
  struct inputs_of_size *size = find_size(inputs, input_bytes);
  if (size == NULL) {
    return NULL;
  }
  const struct made_input *variant = &size->variants[size->next_variant];
  size->next_variant = (size->next_variant + 1) % CONTROLLER_INPUT_VARIANTS;
  return variant->bytes == NULL ? NULL : variant;
}

void inputs_finish(struct inputs *inputs) {
  for (uint32_t i = 0; i < inputs->sizes_count; i++) {
    for (uint32_t j = 0; j < CONTROLLER_INPUT_VARIANTS; j++) {
      free(inputs->sizes[i].variants[j].bytes);
    }
  }
  inputs->sizes_count = 0;
}
