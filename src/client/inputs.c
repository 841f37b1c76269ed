#include "client/inputs.h"

#include <lz4.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"

enum {
  TILE_PIXELS = 8,
  COLOURS = 3,
  /* One tile in so many has a slope instead of one colour. */
  SLOPED_ONE_IN = 8,
};

/* Pixels in a row, if the input is an image of three square planes; else just a length. */
static uint32_t row_pixels_of(uint32_t pixels_count) {
  const double side = floor(sqrt((double)pixels_count / COLOURS));
  return side < TILE_PIXELS ? TILE_PIXELS : (uint32_t)side;
}

static void paint(unsigned char *bytes, uint32_t input_bytes, struct prng *prng) {
  const uint32_t pixels_count = input_bytes / (uint32_t)sizeof(float);
  const uint32_t row_pixels = row_pixels_of(pixels_count);
  uint64_t tile_draw = 0;
  const uint64_t picture_seed = prng_next(prng);
  for (uint32_t i = 0; i < pixels_count; i++) {
    const uint32_t x = i % row_pixels;
    const uint32_t y = i / row_pixels;
    if (x % TILE_PIXELS == 0) {
      /* A function of the tile, so that all its rows agree. */
      tile_draw = prng_mix(picture_seed ^ ((uint64_t)(y / TILE_PIXELS) << 32 | x / TILE_PIXELS));
    }
    uint32_t pixel = (uint32_t)(tile_draw & 0xff);
    if ((tile_draw >> 8) % SLOPED_ONE_IN == 0) {
      pixel = (pixel + x % TILE_PIXELS) & 0xff;
    }
    const float value = (float)pixel;
    memcpy(bytes + (size_t)i * sizeof(value), &value, sizeof(value));
  }
  const size_t painted_bytes = (size_t)pixels_count * sizeof(float);
  memset(bytes + painted_bytes, 0, input_bytes - painted_bytes);
}

static enum err make(struct input *input, uint32_t input_bytes, struct prng *prng) {
  unsigned char *raw = malloc(input_bytes);
  const int bound_bytes = LZ4_compressBound((int)input_bytes);
  unsigned char *packed = malloc((size_t)bound_bytes);
  if (raw == NULL || packed == NULL) {
    free(raw);
    free(packed);
    return ERR_NO_MEMORY;
  }
  paint(raw, input_bytes, prng);
  const int packed_bytes =
      LZ4_compress_default((const char *)raw, (char *)packed, (int)input_bytes, bound_bytes);
  if (packed_bytes <= 0 || (uint32_t)packed_bytes >= input_bytes) {
    free(packed);
    *input = (struct input){
        .raw = raw, .stored = raw, .stored_bytes = input_bytes, .encoding = WIRE_RAW};
    return ERR_OK;
  }
  unsigned char *fitted = realloc(packed, (size_t)packed_bytes);
  *input = (struct input){.raw = raw,
                          .stored = fitted != NULL ? fitted : packed,
                          .stored_bytes = (uint32_t)packed_bytes,
                          .encoding = WIRE_LZ4};
  return ERR_OK;
}

enum err inputs_prepare(struct inputs *inputs, uint64_t input_bytes, uint64_t seed,
                        uint32_t *ret_size_index) {
  if (input_bytes == 0 || input_bytes > INPUTS_BYTES_MAX) {
    return ERR_RANGE;
  }
  for (uint32_t i = 0; i < inputs->sizes_count; i++) {
    if (inputs->sizes[i].input_bytes == input_bytes) {
      *ret_size_index = i;
      return ERR_OK;
    }
  }
  if (inputs->sizes_count == INPUTS_SIZES_MAX) {
    return ERR_FULL;
  }
  struct inputs_of_size *size = &inputs->sizes[inputs->sizes_count++];
  *size = (struct inputs_of_size){.input_bytes = (uint32_t)input_bytes};
  for (uint32_t i = 0; i < INPUTS_VARIANTS; i++) {
    struct prng prng;
    prng_init(&prng, seed ^ input_bytes, i);
    const enum err err = make(&size->variants[i], (uint32_t)input_bytes, &prng);
    if (err != ERR_OK) {
      size->input_bytes = 0; /* never found: it is not complete */
      return err;
    }
  }
  *ret_size_index = inputs->sizes_count - 1;
  return ERR_OK;
}

const struct input *inputs_pick(const struct inputs *inputs, uint32_t size_index, uint64_t number) {
  return &inputs->sizes[size_index].variants[number % INPUTS_VARIANTS];
}

void inputs_finish(struct inputs *inputs) {
  if (inputs == NULL) {
    return;
  }
  for (uint32_t i = 0; i < inputs->sizes_count; i++) {
    for (uint32_t j = 0; j < INPUTS_VARIANTS; j++) {
      struct input *input = &inputs->sizes[i].variants[j];
      if (input->stored != input->raw) {
        free((void *)(uintptr_t)input->stored);
      }
      free((void *)(uintptr_t)input->raw);
    }
  }
  inputs->sizes_count = 0;
}
