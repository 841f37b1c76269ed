/* `model.plan`, the file: a checked plan as bytes and back.
 *
 * Little-endian, versioned, with a checksum over all that follows the header; docs/package.md has
 * the layout. The weights stand beside it in `model.weights`: the WEIGHTS place as it is, padded
 * with zeros to whole pages of MODEL_PAGE_BYTES, with their checksum kept in the plan file.
 *
 * Reading is safe on any bytes: time and memory are bounded by the file's length, nothing aborts,
 * and a plan that was read was checked (plan_check). Pure: any thread.
 */
#ifndef CLOCKWORK_PACKAGE_FORMAT_H
#define CLOCKWORK_PACKAGE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "package/plan.h"

enum {
  FORMAT_VERSION = 1,
};

#define FORMAT_PLAN_FILE "model.plan"
#define FORMAT_WEIGHTS_FILE "model.weights"

/* Checksum of a stretch of bytes (64-bit; what it is stands in docs/package.md). Parts may be fed
 * one after another: begin with 0, hand each result on. About memory speed. */
uint64_t format_checksum(uint64_t checksum, const void *bytes, size_t bytes_count);

/* Size of the file that format_encode() writes. */
size_t format_encoded_bytes(const struct plan *plan);

/* Writes a checked plan; `weights_checksum` is of the padded weights file. `capacity_bytes` >=
 * format_encoded_bytes() (CHECK). */
void format_encode(const struct plan *plan, uint64_t weights_checksum, void *ret_bytes,
                   size_t capacity_bytes);

/* How much arena format_decode() needs for these bytes; ERR_MALFORMED, ERR_VERSION, ERR_TOO_LARGE
 * as format_decode(). */
enum err format_decoded_bytes(const void *bytes, size_t bytes_count, size_t *ret_bytes);

/* Reads and checks a plan. On failure *ret_fault says what is wrong and *ret_plan is untouched.
 * Nothing of the result points into `bytes`. */
enum err format_decode(const void *bytes, size_t bytes_count, struct arena *arena,
                       const struct plan **ret_plan, uint64_t *ret_weights_checksum,
                       struct plan_fault *ret_fault);

#endif
