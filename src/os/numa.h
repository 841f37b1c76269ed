/* Which processors are near a PCI device, as Linux tells it under /sys, and the calling thread
 * moved there.
 *
 * Memory is taken near the thread that takes it, and a new thread may run where the one that starts
 * it may: whoever sets up a device from near it has both placed.
 *
 * Thread: any. Cost: three small files per question, one system call to move.
 */
#ifndef CLOCKWORK_OS_NUMA_H
#define CLOCKWORK_OS_NUMA_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Where the kernel tells; tests have a folder of their own. */
#define NUMA_SYSFS "/sys"

struct numa_place {
  uint32_t node;
  cpu_set_t cpus;
};

/* "0-3,8,10-11": as the kernel writes sets of processors and nodes; blanks and a line's end may
 * follow, and an empty set is one. False: anything else, or a number that cpu_set_t has no room
 * for; `ret_cpus` is untouched. */
bool numa_parse_list(const char *text, cpu_set_t *ret_cpus);

/* The node of the device at `pci_bus_id` ("0000:C1:00.0", in either case) and its processors.
 * ERR_NOT_FOUND: the machine has one node, or does not say which is the device's; ERR_MALFORMED: a
 * file under `sysfs` says something else than expected. `ret_place` is written on success only. */
MUST_USE enum err numa_place_of_pci(const char *sysfs, const char *pci_bus_id,
                                    struct numa_place *ret_place);

/* The calling thread runs on those of `place`'s processors that it may run on now. Returns where it
 * ran, for numa_leave(). False: it may run on none of them; nothing was changed. */
bool numa_enter(const struct numa_place *place, cpu_set_t *ret_before);

void numa_leave(const cpu_set_t *before);

#endif
