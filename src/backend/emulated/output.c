/* What an emulated model answers: scores that look like a network's and can be checked like a hash.
 */
#include <string.h>

#include "backend/emulated/emulated.h"
#include "base/prng.h"

enum { SAMPLE_BYTES = 64 };

static uint64_t hash_bytes(uint64_t hash, const unsigned char *bytes, size_t count) {
  while (count >= sizeof(uint64_t)) {
    uint64_t word = 0;
    memcpy(&word, bytes, sizeof(word));
    hash = prng_mix(hash ^ word);
    bytes += sizeof(word);
    count -= sizeof(word);
  }
  uint64_t rest = 0;
  memcpy(&rest, bytes, count);
  return prng_mix(hash ^ rest ^ UINT64_C(0x9e3779b97f4a7c15) * (count + 1));
}

void emulated_output(const char *model_name, const void *input, size_t input_bytes,
                     void *ret_output, size_t output_bytes) {
  uint64_t hash =
      hash_bytes(0, (const unsigned char *)model_name, strnlen(model_name, MODEL_NAME_BYTES));
  if (input != NULL) {
    const unsigned char *bytes = input;
    const size_t sample_bytes = input_bytes < SAMPLE_BYTES ? input_bytes : SAMPLE_BYTES;
    hash = prng_mix(hash ^ input_bytes ^ UINT64_C(0x5851f42d4c957f2d));
    hash = hash_bytes(hash, bytes, sample_bytes);
    hash = hash_bytes(hash, bytes + (input_bytes - sample_bytes), sample_bytes);
  }
  unsigned char *output = ret_output;
  for (size_t i = 0; i < output_bytes; i += sizeof(float)) {
    /* 32-bit floats in [0, 1), since that is what a client expects of a classifier. */
    const float score = (float)(prng_mix(hash + i) >> 40) * 0x1.0p-24F;
    const size_t rest = output_bytes - i;
    memcpy(output + i, &score, rest < sizeof(score) ? rest : sizeof(score));
  }
}
