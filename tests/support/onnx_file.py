"""ONNX files written by hand: a graph's few messages in protobuf's wire format, from the standard library alone,
so that tests of real processes need no package from PyPI.

    model(nodes=[node('MatMul', ['x', 'w'], ['y'])], tensors=[tensor('w', (4, 2), data)],
          inputs=[port('x', ('N', 4))], outputs=[port('y', ('N', 2))])   # the file's bytes
"""
import struct

FLOAT, INT64 = 1, 7


def varint(number):
    number &= (1 << 64) - 1
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def number(field, value):
    return varint(field << 3) + varint(value)


def blob(field, data):
    data = data.encode() if isinstance(data, str) else bytes(data)
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name, dims, data, kind=FLOAT):
    """TensorProto with its raw bytes, little-endian."""
    return (b''.join(number(1, size) for size in dims) + number(2, kind) + blob(8, name) +
            blob(9, data))


def external(name, dims, kind=FLOAT, **where):
    """TensorProto whose bytes lie in another file: location, offset, length."""
    entries = (blob(13, blob(1, key) + blob(2, str(value))) for key, value in where.items())
    return (b''.join(number(1, size) for size in dims) + number(2, kind) + blob(8, name) +
            b''.join(entries) + number(14, 1))


def integers(name, *values):
    return tensor(name, (len(values),), struct.pack(f'<{len(values)}q', *values), INT64)


def floats(name, dims, first=0.0, step=1 / 16):
    count = 1
    for size in dims:
        count *= size
    data = struct.pack(f'<{count}f', *(first + step * i for i in range(count)))
    return tensor(name, dims, data)


def attribute(name, value):
    if isinstance(value, int):
        return blob(1, name) + number(3, value) + number(20, 2)
    if isinstance(value, float):
        return blob(1, name) + varint(2 << 3 | 5) + struct.pack('<f', value) + number(20, 1)
    if isinstance(value, str):
        return blob(1, name) + blob(4, value) + number(20, 3)
    return blob(1, name) + b''.join(number(8, one) for one in value) + number(20, 7)


def node(operator, inputs, outputs, **attributes):
    return (b''.join(blob(1, one) for one in inputs) + b''.join(blob(2, one) for one in outputs) +
            blob(3, outputs[0]) + blob(4, operator) +
            b''.join(blob(5, attribute(*one)) for one in attributes.items()))


def port(name, dims, kind=FLOAT):
    """ValueInfoProto; a dimension that is a text is open under that name."""
    shape = b''.join(
        blob(1, blob(2, size) if isinstance(size, str) else number(1, size)) for size in dims)
    return blob(1, name) + blob(2, blob(1, number(1, kind) + blob(2, shape)))


def model(nodes, tensors, inputs, outputs, opset=17):
    graph = (b''.join(blob(1, one) for one in nodes) + blob(2, 'graph') +
             b''.join(blob(5, one) for one in tensors) + b''.join(blob(11, one) for one in inputs) +
             b''.join(blob(12, one) for one in outputs))
    return number(1, 8) + blob(7, graph) + blob(8, number(2, opset))
