"""Models that are computed: more of them than the weights cache holds, every answer right.

The models are made here: two products each, of weights from a seed, with the answers of numpy beside them.
"""
import os
import random
import re
import signal
import sys
import threading
import time

import numpy as np

from cluster import (ACTION_EVICT, ACTION_INFER, ACTION_LOAD, RESULT_SUCCESS, CpuCluster, Telemetry,
                     check, run)
from compiled_model import CompiledModel
from wire import Peer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))

import onnx_file  # noqa: E402

PAGE_BYTES = 16 << 20
PAGES = 6  # of the weights cache
ONE_PAGE = 1000  # width of a layer: 4 MB of weights
TWO_PAGES = 2200
WIDTHS = [ONE_PAGE] * 6 + [TWO_PAGES] * 3
MOST_AT_ONCE = 6  # models that the cache can hold: those of one page
INPUTS, OUTPUTS = 64, 32
ROUNDS = 4
THREADS, REQUESTS_OF_THREAD = 3, 60
COUNT = 20  # of a client
# Could not start in time, could not be sent in time, too late: what a busy machine does to a LOAD, which comes again.
REFUSED_AS_LATE = (11, 45, 51)
RELATIVE = 1e-4


class Model(CompiledModel):
    """relu(x A) B, and its answers."""

    def __init__(self, folder, name, width, seed):
        generator = np.random.default_rng(seed)
        weights = [generator.standard_normal(shape).astype(np.float32) / np.sqrt(shape[0])
                   for shape in ((INPUTS, width), (width, width), (width, OUTPUTS))]
        self.weights = [one.astype(np.float32) for one in weights]
        file = onnx_file.model(
            [onnx_file.node('MatMul', ['x', 'a'], ['xa']), onnx_file.node('Relu', ['xa'], ['r']),
             onnx_file.node('MatMul', ['r', 'b'], ['rb']), onnx_file.node('MatMul', ['rb', 'c'], ['y'])],
            [onnx_file.tensor(key, one.shape, one.tobytes())
             for key, one in zip('abc', self.weights)],
            [onnx_file.port('x', ('N', INPUTS))], [onnx_file.port('y', ('N', OUTPUTS))])
        path = os.path.join(folder, f'{name}.onnx')
        with open(path, 'wb') as output:
            output.write(file)
        super().__init__(folder, name, path, '--batch', '1,2,4')

    def ask(self, peer, generator):
        """One request with an input of its own; what is wrong with the answer, or ''."""
        x = generator.standard_normal(INPUTS).astype(np.float32)
        result, output = self.infer(peer, x.tobytes())
        a, b, c = self.weights
        wanted = (np.maximum(x @ a, 0) @ b) @ c
        got = np.frombuffer(output, np.float32)
        if result != RESULT_SUCCESS or got.shape != wanted.shape:
            return f'{self.path}: result {result} with {len(output)} bytes'
        off = np.max(np.abs(got - wanted)) / np.max(np.abs(wanted))
        return '' if off <= RELATIVE else f'{self.path}: off by {off:.3g}'


def ask_at_random(address, models, seed, wrong):
    order = random.Random(seed)
    generator = np.random.default_rng(seed)
    try:
        with Peer(address) as peer:
            for _ in range(REQUESTS_OF_THREAD):
                text = order.choice(models).ask(peer, generator)
                if text:
                    wrong.append(text)
    except Exception as error:  # a thread's end must be seen
        wrong.append(f'{type(error).__name__}: {error}')


def check_cache(telemetry, models, sent_in_turn):
    """LOADs and EVICTs in the order in which they were done: never more than there is room for."""
    pages = {model.id: os.path.getsize(os.path.join(model.path, 'model.weights')) // PAGE_BYTES
             for model in models}
    loads = [row for row in telemetry.of(ACTION_LOAD) if row.status == 0]
    evicts = [row for row in telemetry.of(ACTION_EVICT) if row.status == 0]
    others = {row.status for row in telemetry.of(ACTION_LOAD)} - {0, *REFUSED_AS_LATE}
    check(not others, f'LOADs failed with status {others}')
    changes = sorted([(row.t + row.worker_exec_complete, 1, row.model_id) for row in loads] +
                     [(row.t, 0, row.model_id) for row in evicts])
    held = set()
    for _, is_load, model_id in changes:
        check(is_load != (model_id in held), f'model {model_id}: LOAD or EVICT twice')
        (held.add if is_load else held.remove)(model_id)
        used = sum(pages[one] for one in held)
        check(used <= PAGES, f'{used} pages of weights in a cache of {PAGES}')
    check(len(loads) - len(evicts) == len(held), 'LOADs and EVICTs do not add up')
    # In each round those that did not fit had to come anew, whatever was chosen to go.
    least = ROUNDS * (len(models) - MOST_AT_ONCE)
    check(len(loads) >= least, f'{len(loads)} LOADs; {sent_in_turn} requests in turn need {least}')


def more_models_than_pages(new_cluster):
    cluster = new_cluster(workers=1, worker_options=('--gpus', 1, '--pages', PAGES))
    models = [Model(cluster.folder, f'model{i}', width, i) for i, width in enumerate(WIDTHS)]
    cluster.start_all()
    generator = np.random.default_rng(1)
    wrong = []
    with Peer(cluster.controller_address) as peer:
        for model in models:
            model.load(peer)
        for _ in range(ROUNDS):
            wrong += [text for model in models if (text := model.ask(peer, generator))]
    check(not wrong, f'{len(wrong)} wrong answers in turn, first: {wrong[:1]}')
    threads = [threading.Thread(target=ask_at_random,
                                args=(cluster.controller_address, models, seed, wrong))
               for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, f'{len(wrong)} wrong answers, first: {wrong[:1]}')
    telemetry = cluster.stop()
    sent_in_turn = ROUNDS * len(models)
    telemetry.check_requests(sent_in_turn + THREADS * REQUESTS_OF_THREAD)
    telemetry.check_actions()
    check(all(row.result == RESULT_SUCCESS for row in telemetry.requests), 'a request failed')
    check_cache(telemetry, models, sent_in_turn)
    print(f'{len(telemetry.requests)} requests, {len(telemetry.of(ACTION_LOAD))} LOADs,'
          f' {len(telemetry.of(ACTION_EVICT))} EVICTs')


def worker_killed(new_cluster):
    """One of two ends in the middle of executions; what it had is answered rightly, and it comes back."""
    cluster = new_cluster(workers=2, worker_options=('--gpus', 1, '--pages', PAGES))
    models = [Model(cluster.folder, f'model{i}', width, i) for i, width in enumerate(WIDTHS)]
    cluster.start_all()
    with Peer(cluster.controller_address) as peer:
        for model in models:
            model.load(peer)
    wrong = []
    threads = [threading.Thread(target=ask_at_random,
                                args=(cluster.controller_address, models, seed, wrong))
               for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    busy = cluster.wait_for_telemetry(lambda telemetry: telemetry.of(ACTION_INFER), 'an execution')
    victim = int(busy.of(ACTION_INFER)[-1].worker_id)
    cluster.workers[victim].kill()
    cluster.wait_lost(victim)
    cluster.start_worker(victim)
    for thread in threads:
        thread.join()
    check(not wrong, f'{len(wrong)} wrong answers, first: {wrong[:1]}')
    cluster.wait_up(victim, count=2)
    back_ns = time.time_ns()
    generator = np.random.default_rng(1)
    with Peer(cluster.controller_address) as peer:
        while not any(row.t > back_ns and row.status == 0
                      for row in Telemetry(cluster.telemetry_folder, is_growing=True)
                      .of(ACTION_INFER, victim)):
            wrong += [text for model in models if (text := model.ask(peer, generator))]
            check(not wrong, f'{wrong[:1]}')
    telemetry = cluster.stop()
    telemetry.check_actions()
    check(all(row.result == RESULT_SUCCESS for row in telemetry.requests), 'a request failed')
    print(f'{len(telemetry.requests)} requests, all served, though one of two workers was killed')


def asked_by_client(new_cluster):
    """`client ADDRESS infer`: its totals, also when it is told to end before it has them all."""
    cluster = new_cluster(workers=1)
    model = Model(cluster.folder, 'model', ONE_PAGE, 1)
    cluster.start_all()
    client = cluster.start_client('infer', model.path, '--count', COUNT, '--copies', 2)
    check(client.wait() == 0, f'{client.name} ended with {client.exit_code}')
    check(f'{COUNT} requests: {COUNT} served, 0 answers unlike the first' in client.text(),
          client.text())
    client = cluster.start_client('infer', model.path, '--count', 1000000)
    cluster.wait_for_telemetry(lambda telemetry: len(telemetry.requests) > COUNT, 'more requests')
    client.send(signal.SIGTERM)
    check(client.wait() == 0, f'{client.name} ended with {client.exit_code}')
    totals = re.search(r'Signal 15: stopping.*\n.* (\d+) requests: (\d+) served', client.text())
    check(totals and 0 < int(totals[1]) < 1000000 and totals[1] == totals[2], client.text())
    cluster.stop_controller()


if __name__ == '__main__':
    run([more_models_than_pages, worker_killed, asked_by_client], CpuCluster)
