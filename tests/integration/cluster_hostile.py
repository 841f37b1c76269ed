"""Any bytes on any port: the processes live on, and a client that behaves is served throughout."""
import random
import signal
import socket
import struct
import threading

import wire
from cluster import PATIENCE_S, Failed, Telemetry, Totals, check, dial, free_address, run
from wire import FIELDS, LZ4, Peer, encode, frame, message

RATE = 150
# Around every border of 8, 16, 32 and 64 bits, and of our limits.
EDGES = [0, 1, 2, 15, 16, 17, 64, 65, 100, 255, 256, 16383, 16384, 65535, 65536, 602112, 2**20, 2**31,
         2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
REALS = [0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, float('inf'), float('-inf'), float('nan'), 5.0]
TEXTS = [b'', b'resnet50_v2', b'nothing', b'../../../etc/passwd', b'%s%n%x', b'a' * 159, b'a' * 255,
         b'a' * 4095, b'a\0b', b'\n', b'\xff\xfe', b'/dev/zero', b'.']


class Load:
    """A client that behaves, while something else happens."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.client = cluster.start_client('poisson-open-loop', 4, RATE)
        self.client.wait_for('Now replaying')

    def end(self, served_share):
        """Let it go on for a while after what happened."""
        begin = len(Telemetry(self.cluster.telemetry_folder, is_growing=True).requests)
        self.cluster.wait_for_telemetry(lambda so_far: len(so_far.requests) > begin + RATE,
                                        'more requests')
        self.client.send(signal.SIGTERM)
        check(self.client.wait() == 0, f'the client ended with {self.client.exit_code}')
        totals = Totals(self.client)
        check(totals.answered == totals.sent == totals.due and totals.get('lost') == 0,
              f'{totals.sent} sent, {totals.answered} answered: {totals.results}')
        check(totals.get('success') >= served_share * totals.sent,
              f'too few successes: {totals.results}')
        return totals


def check_alive(cluster):
    for program in (cluster.controller, *cluster.workers):
        check(program.is_running(), f'{program.name} died: {program.process.poll()}')
    with Peer(cluster.controller_address) as peer:
        check(len(peer.models()) >= 4, 'models have vanished')
    for address in cluster.worker_addresses:
        with Peer(address) as peer:
            peer.ask(message(wire.PING, 7), wire.PONG)


def ports(cluster):
    return [cluster.controller_address, *cluster.worker_addresses]


def throw(address, data):
    """Send, say that nothing more comes, and read what is answered until the other end closes."""
    with Peer(address) as peer:
        if not peer.send(data):
            return
        try:
            peer.socket.shutdown(socket.SHUT_WR)
            while peer.socket.recv(1 << 16):
                pass
        except TimeoutError:
            raise Failed(f'{address} does not close after the end of the stream') from None
        except OSError:
            pass


# ---- bytes that are no message --------------------------------------------------------------------

def junk(generator):
    yield b''
    yield b'\0' * 100000
    yield b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
    yield b'POST /v2/models/x/infer HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n' + b'x' * 5000
    yield b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    yield b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + generator.randbytes(512)
    yield b'SSH-2.0-OpenSSH_9.2\r\n'
    yield b'CWK2' + b'\0' * 12
    yield b'CWK'
    yield frame(1, reserved=1)
    yield frame(0)
    yield frame(65535, b'x' * 10)
    for message_type in FIELDS:
        yield frame(message_type)[:9]                                # half a header
        yield frame(message_type, b'x' * 10, meta_bytes=2000)        # half a meta
        yield frame(message_type, b'', b'x' * 10, body_bytes=2**20)  # half a body
        yield frame(message_type, meta_bytes=2**32 - 1)
        yield frame(message_type, body_bytes=2**32 - 1)
        yield frame(message_type, meta_bytes=2**26, body_bytes=2**28)
        yield frame(message_type, b'\xff' * 64)
    for size in (1, 15, 16, 17, 4096, 1 << 20):
        yield generator.randbytes(size)


def strange_bytes(new_cluster):
    cluster = new_cluster(workers=2)
    cluster.start_all()
    load = Load(cluster)
    for data in junk(random.Random(1)):
        for address in ports(cluster):
            throw(address, data)
    check_alive(cluster)
    totals = load.end(served_share=0.9)
    cluster.stop().check_requests(totals.sent)


def many_connections(new_cluster):
    """Opened and dropped, held half-open, reset: 200 at a time."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    load = Load(cluster)
    for address in ports(cluster):
        held = [dial(address) for _ in range(200)]
        for index, connection in enumerate(held):
            if index % 3 == 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            if index % 3 == 1:
                connection.sendall(b'CWK1')
            connection.close()
    check_alive(cluster)
    totals = load.end(served_share=0.9)
    cluster.stop().check_requests(totals.sent)


# ---- whole messages with fields that nobody means -------------------------------------------------

def hostile_value(generator, kind):
    if kind == 't':
        return generator.choice(TEXTS)
    if kind == 's':
        number = generator.choice
        return wire.spec(number(TEXTS), number(EDGES) % 2**64, number(EDGES) % 2**64,
                         number(EDGES) % 2**64, number(EDGES) % 2**32, number(EDGES) % 2**63,
                         [(number(EDGES) % 2**32, number(EDGES) % 2**63 * number((1, -1)))
                          for _ in range(number((0, 1, 5, 7, 8, 9, 100)))])
    if kind == 'd':
        return generator.choice(REALS)
    value = generator.choice(EDGES) if generator.random() < 0.7 else generator.randrange(2**64)
    if generator.random() < 0.5:
        value = generator.randrange(8)  # ids and types that are there
    if kind == 'q':
        return value % 2**63 * generator.choice((1, -1))
    return value % {'B': 2**8, 'I': 2**32, 'Q': 2**64}[kind]


def hostile_meta(generator, fields):
    return encode(fields, *(hostile_value(generator, kind) for kind in fields))


def hostile_messages(generator, types, rounds):
    for _ in range(rounds):
        for message_type in types:
            meta = hostile_meta(generator, FIELDS[message_type])
            how = generator.randrange(8)
            if how == 0:
                meta = meta[:generator.randrange(len(meta) + 1)]
            elif how == 1:
                meta += generator.randbytes(generator.randrange(1, 40))
            elif how == 2 and meta:
                at = generator.randrange(len(meta))
                meta = meta[:at] + generator.randbytes(1) + meta[at + 1:]
            if message_type == wire.ACTION:
                for _ in range(generator.choice((0, 1, 16, 17))):
                    meta += hostile_meta(generator, wire.ACTION_INPUT)
            body = generator.randbytes(generator.choice((0, 0, 1, 4000)))
            yield frame(message_type, meta, body)


def strange_fields(new_cluster):
    """Each on a connection of its own, for most end it; then many on one, for some don't."""
    generator = random.Random(2)
    cluster = new_cluster(workers=2)
    cluster.start_all()
    load = Load(cluster)
    # What may be loaded and evicted is: the client is answered, but not always well.
    for address in ports(cluster):
        for data in hostile_messages(generator, FIELDS, rounds=12):
            throw(address, data)
    check_alive(cluster)
    to_controller = (wire.INFER_REQUEST, wire.LOAD_REQUEST, wire.LIST_REQUEST, wire.EVICT_REQUEST)
    for _ in range(20):
        throw(cluster.controller_address,
              b''.join(hostile_messages(generator, to_controller, rounds=5)))
    check_alive(cluster)
    load.end(served_share=0.5)
    cluster.stop_controller().check_actions()
    for worker in cluster.workers:
        worker.stop()


def poisoned_inputs(new_cluster):
    """Inputs that are no LZ4: their sender is answered, and those in the same batches are served."""
    cluster = new_cluster(workers=1)
    cluster.start_all()
    load = Load(cluster)
    with Peer(cluster.controller_address) as peer:
        model_id, input_bytes = peer.models()[0][:2]
        garbage = random.Random(3).randbytes(2000)
        for _ in range(30):
            result, output = peer.infer(model_id, garbage, LZ4, input_bytes=input_bytes)
            check(result == 6 and not output, f'a spoilt input was answered with {result}')
        short = wire.lz4_literals(b'x' * 100)
        check(peer.infer(model_id, short, LZ4, input_bytes=input_bytes)[0] != 0,
              'an input that is too short was executed')
        check(peer.infer(model_id, b'x' * 100)[0] == 6, 'an input of a wrong size was taken')
        check(peer.infer(2**32 - 1)[0] == 6, 'a model that is not there was executed')
        check(peer.infer(model_id, slo_factor=float('nan'))[0] == 6, 'SLO factor NaN was taken')
        check(peer.infer(model_id, slo_factor=-1.0)[0] == 6, 'SLO factor -1 was taken')
    check_alive(cluster)
    load.end(served_share=0.9)
    cluster.stop()


def client_that_does_not_read(new_cluster):
    """Answers that nobody takes must not stay in memory: it is disconnected."""
    cluster = new_cluster(workers=1)
    cluster.start_all()
    load = Load(cluster)
    with Peer(cluster.controller_address) as peer:
        question = message(wire.LIST_REQUEST, 1, 0) * 1000
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(2000):
            if not peer.send(question):
                break
        else:
            raise Failed('2,000,000 answers wait for a client that reads none')
    check_alive(cluster)
    load.end(served_share=0)
    after = cluster.run_client('poisson-open-loop', 4, RATE, '--duration', 1)
    check(after.get('success') >= 0.9 * after.sent, f'afterwards: {after.results}')
    cluster.stop()


def no_such_models(new_cluster):
    """Mistaken loads, however many, take nothing from later ones."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    with Peer(cluster.controller_address) as peer:
        for number in range(200):
            meta, _ = peer.ask(message(wire.LOAD_REQUEST, number, 10000, b'no_such_model'),
                               wire.LOAD_ANSWER)
            values, _ = wire.decode(FIELDS[wire.LOAD_ANSWER], meta)
            check(values[1] == 1 and b'no_such_model' in values[7],
                  f'load {number} was answered with {values[1]}, "{values[7]}"')
    totals = cluster.run_client('poisson-open-loop', 2, 100, '--duration', 1)
    check(totals.get('success') > 0.5 * totals.sent, f'{totals.results}')
    cluster.stop()


# ---- a worker that is none ------------------------------------------------------------------------

class FalseWorker:
    """Listens where the controller expects a worker; each connection gets the next behaviour."""

    def __init__(self, behaviours):
        self.address = free_address(50)
        host, port = self.address.rsplit(':', 1)
        self.listener = socket.create_server((host, int(port)))
        self.behaviours = behaviours
        self.done_count = 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        for behaviour in self.behaviours:
            accepted, _ = self.listener.accept()
            with Peer(accepted) as peer:
                try:
                    behaviour(peer)
                    peer.socket.shutdown(socket.SHUT_WR)
                    while peer.socket.recv(1 << 16):
                        pass
                except (OSError, Failed):
                    pass
            self.done_count += 1
        self.listener.close()

    def wait(self):
        self.thread.join(PATIENCE_S)
        check(self.done_count == len(self.behaviours) or self.thread.is_alive(),
              'the false worker itself failed')
        check(not self.thread.is_alive(), f'after {self.done_count} of {len(self.behaviours)} '
              'behaviours the controller came no more')


def handshake(peer, state):
    """Answer pings until the state is asked for, then send that."""
    while True:
        received = peer.receive()
        if received is None:
            raise Failed('closed')
        if received[0] == wire.PING:
            sent_ns, = struct.unpack('<q', received[1])
            peer.send(message(wire.PONG, sent_ns, sent_ns, sent_ns))
        if received[0] == wire.GET_STATE:
            peer.send(state)
            return


def state_of(gpus=(), models=()):
    more = b''.join(encode(wire.STATE_GPU, name, pages, clock, count) +
                    struct.pack(f'<{len(resident)}I', *resident)
                    for name, pages, clock, count, resident in gpus)
    more += b''.join(encode(wire.STATE_MODEL, *model) for model in models)
    return message(wire.STATE, 1, len(gpus), len(models), more=more)


def answer_as_worker(peer, message_type, meta):
    """Of what a worker is told all but actions, as it should be."""
    if message_type == wire.LOAD_MODEL:
        action_id, = struct.unpack_from('<Q', meta)
        peer.send(message(wire.MODEL_LOADED, action_id, 0, wire.spec(b'resnet50_v2')))
    elif message_type == wire.PING:
        sent_ns, = struct.unpack('<q', meta)
        peer.send(message(wire.PONG, sent_ns, sent_ns, sent_ns))


def liar(generator, actions_count):
    """Joins as a big GPU, answers some actions with results that can't be, and leaves at the next."""
    def behave(peer):
        handshake(peer, state_of([(b'liar', 4096, 1380, 0, ())]))
        left = actions_count
        while (received := peer.receive()) is not None:
            message_type, meta, _ = received
            answer_as_worker(peer, message_type, meta)
            if message_type != wire.ACTION:
                continue
            if left == 0:
                return
            left -= 1
            action_id, kind, gpu, model, batch = struct.unpack_from('<QBIII', meta)
            times = [generator.choice((0, 1, -2**63, 2**63 - 1, generator.randrange(2**62)))
                     for _ in range(6)]
            peer.send(message(wire.RESULT, action_id, kind, generator.choice((0, 0, 0, 1, 84, 999)),
                              gpu, model, batch, *times, 0, 2**32 - 1, 2**63 - 1, -2**63,
                              generator.choice((0, 1, 2**64 - 1)),
                              body=b'x' * generator.choice((0, 1, 4000))))

    return behave


def honest_until(event):
    def behave(peer):
        handshake(peer, state_of())
        while not event.is_set() and (received := peer.receive()) is not None:
            answer_as_worker(peer, *received[:2])

    return behave


def says(data):
    return lambda peer: peer.send(data)


def joins_and_says(state, data=b''):
    def behave(peer):
        handshake(peer, state)
        peer.send(data)
    return behave


def false_worker(new_cluster):
    """Whatever a worker says: the controller drops it, and the others serve."""
    generator = random.Random(4)
    good = (b'GPU', 1376, 1380, 0, ())
    load_has_begun = threading.Event()
    behaviours = [honest_until(load_has_begun), says(generator.randbytes(1000)), says(b'HTTP/1.1 400 Bad Request\r\n\r\n')]
    behaviours += [says(data) for data in hostile_messages(generator, FIELDS, rounds=2)]
    behaviours += [
        joins_and_says(state_of()),
        joins_and_says(state_of([(b'GPU', 2**32 - 1, 2**32 - 1, 0, ())] * 3)),
        joins_and_says(state_of([(b'GPU', 0, 0, 0, ())])),
        joins_and_says(state_of([(b'GPU', 1376, 1380, 2**32 - 1, ())])),
        joins_and_says(state_of([(b'GPU', 1, 1380, 9, (0, 0, 0, 1, 2, 3, 2**32 - 1, 16384, 5))])),
        joins_and_says(state_of([good] * 200)),
        joins_and_says(message(wire.STATE, 1, 2**32 - 1, 2**32 - 1)),
        joins_and_says(state_of([good], [(0, 3, b'other', wire.spec())])),
        joins_and_says(state_of([good], [(2**32 - 1, 2**32 - 1, b'other', wire.spec())])),
        joins_and_says(state_of([good], [(9000, 0, b'other', wire.spec())])),
        joins_and_says(state_of([good], [(9000, 1, b'other', wire.spec(batches=[(0, -1)] * 8))])),
        joins_and_says(state_of([good]), b''.join(
            hostile_messages(generator, (wire.MODEL_LOADED, wire.RESULT), rounds=20))),
    ]
    behaviours += [joins_and_says(state_of([good]), data) for data in hostile_messages(
        generator, (wire.RESULT, wire.MODEL_LOADED, wire.STATE, wire.PONG, wire.GPU_LOST),
        rounds=5)]
    false = FalseWorker(behaviours)
    cluster = new_cluster(workers=2)
    for index in range(2):
        cluster.start_worker(index)
    cluster.start_controller(addresses=[*cluster.worker_addresses, false.address])
    cluster.wait_up(0, 1)
    load = Load(cluster)
    load_has_begun.set()
    false.wait()
    check_alive(cluster)
    load.end(served_share=0.9)
    cluster.stop().check_actions()


def only_a_false_worker(new_cluster):
    """Results that can't be, or never come: every request is answered, if only with a failure."""
    generator = random.Random(5)
    false = FalseWorker([liar(generator, actions_count) for actions_count in (0, 1, 10, 100)])
    cluster = new_cluster(workers=0)
    cluster.start_controller(addresses=[false.address])
    load = Load(cluster)
    false.wait()
    load.end(served_share=0)
    cluster.stop_controller().check_actions()


if __name__ == '__main__':
    run([strange_bytes, many_connections, strange_fields, poisoned_inputs, client_that_does_not_read,
         no_such_models, false_worker, only_a_false_worker])
