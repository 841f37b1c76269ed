/* From a plan to programs: each operation becomes a oneDNN primitive with what follows it fused in
 * (bias, residual, activation), or a kernel of kernels/ on the device's team where oneDNN has
 * nothing or only its reference code.
 *
 * Precision: single throughout, whatever the plan asks; a plan with PLAN_F16 tensors runs on the
 * kernels alone, which is right but slow.
 */
#ifndef CLOCKWORK_BACKEND_CPU_LOWER_H
#define CLOCKWORK_BACKEND_CPU_LOWER_H

#include "backend/cpu/builder.h"

/* One batch size. `weights` collects what it wants of the weights. The calling thread's team
 * (team.h) must be as large as that of who executes. ERR_NO_MEMORY, ERR_UNSUPPORTED. */
MUST_USE enum err lower_batch(dnnl_engine_t engine, const struct plan *plan,
                              const struct plan_batch *batch, uint32_t team,
                              struct weights_layout *weights, struct program **ret_program);

#endif
