#include "compiler/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ALIGN_BYTES = 64, TEXT_BYTES = 384 };

void context_fail(struct context *context, enum err error, const char *format, ...) {
  char text[TEXT_BYTES];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  /* Names come from the file: a line stays a line. */
  (void)snprintf(context->fault->text, sizeof(context->fault->text), "%s%s%s", context->place,
                 context->place[0] == '\0' ? "" : ": ", text);
  for (char *c = context->fault->text; *c != '\0'; c++) {
    if ((unsigned char)*c < ' ' || *c == 127) {
      *c = '?';
    }
  }
  context->error = error;
  longjmp(context->failed, 1);
}

void *context_try_take(struct context *context, uint64_t bytes) {
  struct arena *arena = context->arena;
  const size_t free_bytes = arena->capacity_bytes - arena->used_bytes;
  if (bytes > free_bytes) {
    return NULL;
  }
  void *memory = arena->memory + arena->used_bytes;
  const size_t rounded = ((size_t)bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
  arena->used_bytes += rounded < free_bytes ? rounded : free_bytes;
  return memory;
}

static _Noreturn void fail_memory(struct context *context) {
  context_fail(context, ERR_NO_MEMORY,
               "the model needs more memory to compile than its size explains (%zu MiB)",
               context->arena->capacity_bytes >> 20);
}

void *context_keep(struct context *context, uint64_t count, size_t element_bytes) {
  struct arena *arena = context->arena;
  const size_t free_bytes = arena->capacity_bytes - arena->used_bytes;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(count, (uint64_t)element_bytes, &bytes) || bytes > free_bytes) {
    fail_memory(context);
  }
  const size_t begin = (arena->capacity_bytes - (size_t)bytes) / ALIGN_BYTES * ALIGN_BYTES;
  if (begin < arena->used_bytes) {
    fail_memory(context);
  }
  arena->capacity_bytes = begin;
  if (begin < context->arena_dirty_bytes) {
    memset(arena->memory + begin, 0, (size_t)bytes);
  }
  return arena->memory + begin;
}

void *context_take(struct context *context, uint64_t count, size_t element_bytes) {
  uint64_t bytes = 0;
  const size_t begin = context->arena->used_bytes;
  void *memory = __builtin_mul_overflow(count, (uint64_t)element_bytes, &bytes)
                     ? NULL
                     : context_try_take(context, bytes);
  if (memory == NULL) {
    fail_memory(context);
  }
  if (begin < context->arena_dirty_bytes) {
    const size_t dirty = context->arena_dirty_bytes - begin;
    memset(memory, 0, dirty < bytes ? dirty : (size_t)bytes);
  }
  return memory;
}

size_t context_mark(const struct context *context) {
  return context->arena->used_bytes;
}

void context_release(struct context *context, size_t mark) {
  if (context->arena->used_bytes > context->arena_dirty_bytes) {
    context->arena_dirty_bytes = context->arena->used_bytes;
  }
  context->arena->used_bytes = mark;
}

const char *context_text(struct context *context, const char *format, ...) {
  char text[TEXT_BYTES];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  const size_t bytes = strlen(text) + 1;
  char *copy = context_take(context, bytes, 1);
  memcpy(copy, text, bytes);
  return copy;
}

void context_grow(struct context *context, void **array, uint32_t *capacity, uint32_t count,
                  size_t element_bytes) {
  if (count < *capacity) {
    return;
  }
  const uint32_t bigger = *capacity < 64 ? 64 : *capacity * 2;
  void *fresh = context_take(context, bigger, element_bytes);
  if (*capacity > 0) {
    memcpy(fresh, *array, (size_t)*capacity * element_bytes);
  }
  *array = fresh;
  *capacity = bigger;
}
