"""The protocol of docs/protocol.md, spoken by hand: for peers that no program of ours would be."""
import socket
import struct

from cluster import PATIENCE_S, Failed, dial

MAGIC = b'CWK1'
HEADER_BYTES = 16

LOAD_REQUEST, LOAD_ANSWER = 1, 2
INFER_REQUEST, INFER_ANSWER = 3, 4
LIST_REQUEST, LIST_ANSWER = 5, 6
EVICT_REQUEST, EVICT_ANSWER = 7, 8
PING, PONG = 32, 33
LOAD_MODEL, MODEL_LOADED = 34, 35
ACTION, RESULT = 36, 37
GET_STATE, STATE = 38, 39
CLEAR_CACHE, CACHE_CLEARED = 40, 41
GPU_LOST = 42

RAW, LZ4 = 0, 1

# Fields in wire order: B u8, I u32, Q u64, q i64, d real, t text, s a model's spec.
FIELDS = {
    LOAD_REQUEST: 'QIt', LOAD_ANSWER: 'QIIIQQqt',
    INFER_REQUEST: 'QIIIdIBB', INFER_ANSWER: 'QIIIIq',
    LIST_REQUEST: 'QI', LIST_ANSWER: 'QII',
    EVICT_REQUEST: 'QI', EVICT_ANSWER: 'QII',
    PING: 'q', PONG: 'qqq',
    LOAD_MODEL: 'QIIIqt', MODEL_LOADED: 'QIs',
    ACTION: 'QBIIIqqBI', RESULT: 'QBIIII' + 'q' * 6 + 'IIqqQ',
    GET_STATE: 'Q', STATE: 'QII',
    CLEAR_CACHE: 'Q', CACHE_CLEARED: 'QI',
    GPU_LOST: 'It',
}
ACTION_INPUT = 'IIB'
LIST_ENTRY = 'IQQqt'
STATE_GPU = 'tIII'
STATE_MODEL = 'IIts'


def text(value):
    return struct.pack('<H', len(value)) + value


def spec(name=b'evil', input_bytes=602112, output_bytes=4000, weights_bytes=102160300,
         clock_mhz=1380, load_ns=8320000, batches=((1, 2730000),)):
    return (text(name) + struct.pack('<QQQIqI', input_bytes, output_bytes, weights_bytes, clock_mhz,
                                     load_ns, len(batches)) +
            b''.join(struct.pack('<Iq', *batch) for batch in batches))


def encode(fields, *values):
    parts = []
    for kind, value in zip(fields, values, strict=True):
        if kind in 'ts':
            parts.append(text(value) if kind == 't' else value)
        else:
            parts.append(struct.pack('<' + kind, value))
    return b''.join(parts)


def decode(fields, meta, offset=0):
    """(values, offset after them); a spec's fields are left out."""
    values = []
    for kind in fields:
        if kind == 't':
            length, = struct.unpack_from('<H', meta, offset)
            values.append(meta[offset + 2:offset + 2 + length])
            offset += 2 + length
        else:
            values.append(struct.unpack_from('<' + kind, meta, offset)[0])
            offset += struct.calcsize('<' + kind)
    return values, offset


def frame(message_type, meta=b'', body=b'', meta_bytes=None, body_bytes=None, magic=MAGIC,
          reserved=0):
    """A whole frame; with meta_bytes or body_bytes given, one that lies about its length."""
    return magic + struct.pack('<HHII', message_type, reserved,
                               len(meta) if meta_bytes is None else meta_bytes,
                               len(body) if body_bytes is None else body_bytes) + meta + body


def message(message_type, *values, more=b'', body=b''):
    return frame(message_type, encode(FIELDS[message_type], *values) + more, body)


def lz4_literals(data):
    """One LZ4 block that holds `data` as it is."""
    if len(data) < 15:
        return bytes([len(data) << 4]) + data
    rest = len(data) - 15
    return b'\xf0' + b'\xff' * (rest // 255) + bytes([rest % 255]) + data


class Peer:
    """One connection, from our end or accepted."""

    def __init__(self, where):
        self.socket = dial(where) if isinstance(where, str) else where
        self.socket.settimeout(PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        """False if the other end has closed."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def receive_bytes(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except TimeoutError:
                raise Failed('no answer') from None
            except OSError:
                part = b''
            if not part:
                return None
            data += part
        return bytes(data)

    def receive(self):
        """(type, meta, body), or None when the other end has closed."""
        header = self.receive_bytes(HEADER_BYTES)
        if header is None:
            return None
        message_type, _, meta_bytes, body_bytes = struct.unpack_from('<HHII', header, 4)
        meta = self.receive_bytes(meta_bytes)
        body = self.receive_bytes(body_bytes)
        return None if meta is None or body is None else (message_type, meta, body)

    def ask(self, data, answer_type):
        """Send and wait for the frame of that type: (meta, body)."""
        if not self.send(data):
            raise Failed(f'closed before it was asked for message {answer_type}')
        while True:
            received = self.receive()
            if received is None:
                raise Failed(f'closed instead of sending message {answer_type}')
            if received[0] == answer_type:
                return received[1:]

    def infer(self, model_id, data=None, encoding=RAW, request_id=1, slo_factor=0.0,
              input_bytes=None, wants_output=True):
        """(result, output)"""
        body = b'' if data is None else data
        given = len(body) if input_bytes is None else input_bytes
        meta, output = self.ask(
            message(INFER_REQUEST, request_id, 0, model_id, 1, slo_factor, given, encoding,
                    int(wants_output), body=body), INFER_ANSWER)
        return decode(FIELDS[INFER_ANSWER], meta)[0][1], output

    def models(self):
        """All models: [(id, input bytes, output bytes, execution of one in ns, name)]"""
        models, next_id = [], 0
        while next_id != 0xffffffff:
            meta, _ = self.ask(message(LIST_REQUEST, 1, next_id), LIST_ANSWER)
            (_, next_id, count), offset = decode(FIELDS[LIST_ANSWER], meta)
            for _ in range(count):
                entry, offset = decode(LIST_ENTRY, meta, offset)
                models.append(tuple(entry))
        return models

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
