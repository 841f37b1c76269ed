/* One line about what is wrong with a plan, made without stdio.
 *
 * Thread: any.
 */
#ifndef CLOCKWORK_PACKAGE_FAULT_H
#define CLOCKWORK_PACKAGE_FAULT_H

#include "package/plan.h"

/* Fills *ret_fault. Of printf's conversions it knows %s, %u and %llu; the text is cut to its size.
 * `batch_size` and `op` as in struct plan_fault. */
__attribute__((format(printf, 4, 5))) void plan_fault_set(struct plan_fault *ret_fault,
                                                          uint32_t batch_size, uint32_t op,
                                                          const char *format, ...);

#endif
