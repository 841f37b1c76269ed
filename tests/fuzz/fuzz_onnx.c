/* Any bytes as an ONNX file: refused or compiled, within the arena, without a step outside. A plan
 * that comes out was accepted by plan_check().
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "compiler/compiler.h"
#include "os/memory.h"

#define ARENA_BYTES ((size_t)96 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint32_t SIZES[2] = {1, 2};
  void *memory = os_memory_take(ARENA_BYTES);
  CHECK(memory != NULL);
  struct arena arena;
  struct compiler *compiler = NULL;
  struct compile_fault fault = {.text = ""};
  const struct compile_result *result = NULL;
  const struct compile_options options = {.name = "fuzz",
                                          .precision = size % 2 == 0 ? PLAN_FP32 : PLAN_FP16,
                                          .batch_kinds = 2,
                                          .batch_sizes = SIZES};
  arena_init(&arena, memory, ARENA_BYTES);
  enum err error = compiler_open(&arena, data, size, &compiler, &fault);
  if (error == ERR_OK) {
    for (uint32_t i = 0; i < compiler_externals_count(compiler); i++) {
      compiler_set_external(compiler, i, data, size);
    }
    error = compiler_run(compiler, &options, &result, &fault);
  }
  CHECK(error == ERR_OK ? result != NULL : fault.text[0] != '\0');
  os_memory_give(memory, ARENA_BYTES);
  return 0;
}
