/* A pause within a loop that watches memory: leaves the core's other thread the units meanwhile. */
#ifndef CLOCKWORK_BACKEND_CUDA_RELAX_H
#define CLOCKWORK_BACKEND_CUDA_RELAX_H

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

#endif
