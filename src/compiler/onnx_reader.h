/* From untrusted bytes to the messages of onnx.proto.
 *
 * protobuf-c recurses per nesting level and merges repeated singular messages, so the bytes are
 * walked once beforehand, without recursion: lengths fit, nesting is bounded, no singular message
 * occurs twice. Unpacking then takes all its memory from the context. Cost: linear in the bytes.
 */
#ifndef CLOCKWORK_COMPILER_ONNX_READER_H
#define CLOCKWORK_COMPILER_ONNX_READER_H

#include <stddef.h>
#include <stdint.h>

#include <onnx.pb-c.h>

#include "compiler/context.h"

/* The model; its strings, arrays and tensors' bytes are context memory. Fails with ERR_MALFORMED,
 * ERR_NO_MEMORY. */
Onnx__ModelProto *onnx_read_model(struct context *context, const void *bytes, size_t bytes_count);

/* The value of a key of external_data; NULL if absent. */
const char *onnx_external_entry(const Onnx__TensorProto *tensor, const char *key);

#endif
