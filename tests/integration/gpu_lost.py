"""GPUs that are lost under load: one of two, then the last of a worker."""
import re
import struct
import threading
import time

import wire

from cluster import ACTION_INFER, RESULT_SUCCESS, check, run
from cluster_failures import (MODELS, RATE, check_all_answered, check_mostly_served, end_load,
                              start_load, works_on)
from cluster_hostile import FalseWorker, answer_as_worker, handshake, message, state_of

EXECUTIONS = 100  # of the GPU that is lost
GPU_LOST = 14


def on_gpu(gpu_id, since_ns=0, count=50):
    """For Cluster.wait_for_telemetry: so many INFERs on that GPU of worker 0 since then."""
    return lambda telemetry: sum(row.status == 0 and row.t > since_ns and row.gpu_id == gpu_id
                                 for row in telemetry.of(ACTION_INFER, 0)) >= count


def check_telemetry(telemetry, totals):
    """The controller is told of the loss first: no action ends with it, all are taken back."""
    telemetry.check_requests(totals.sent)
    telemetry.check_actions()
    check(not [row for row in telemetry.actions if row.status == GPU_LOST],
          'the result of a lost GPU was counted')


def one_of_two_lost(new_cluster):
    """Each request is answered once and right, the worker lives, its other GPU serves on."""
    cluster = new_cluster(workers=1)
    worker = cluster.start_worker(0, '--gpus', 2, '--lose-after', f'{EXECUTIONS},0')
    cluster.start_controller()
    cluster.wait_up(0)
    client = cluster.start_client('poisson-open-loop', MODELS, RATE, '--check-outputs', inputs=True)
    client.wait_for('Now replaying')
    cluster.controller.wait_for(r'has lost GPU 0 .*: it was set to fail here; 1 of its 2 GPUs go on')
    lost_ns = time.time_ns()
    worker.wait_for(r'GPU 0 \(emulated\) is lost: it was set to fail here; 1 of 2 go on')
    cluster.wait_for_telemetry(on_gpu(1, lost_ns), 'work on the GPU that is left')
    totals = end_load(client)
    check_all_answered(totals)
    check_mostly_served(totals)
    telemetry = cluster.stop_controller()
    check_telemetry(telemetry, totals)
    done = sum(row.status == 0 and row.gpu_id == 0 for row in telemetry.of(ACTION_INFER, 0))
    check(0 < done <= EXECUTIONS, f'{done} executions on a GPU that was lost after {EXECUTIONS}')
    late = [row for row in telemetry.requests if row.t > lost_ns]
    served = sum(row.result == RESULT_SUCCESS for row in late)
    check(late and served >= 0.9 * len(late), f'{served} of {len(late)} served after the loss')
    check(len(re.findall('is lost', cluster.controller.text())) == 0, 'the whole worker was given up')
    check('1 GPUs (1 lost)' in cluster.controller.text(), 'the summary does not count the GPU')

    # The next controller is told that GPU 0 is not to be used.
    cluster.start_controller()
    cluster.controller.wait_for(r'is up with 1 GPU;')
    totals = end_load(start_load(cluster))
    check_all_answered(totals)
    telemetry = cluster.stop()
    check(all(row.gpu_id == 1 for row in telemetry.actions), 'actions for a GPU without pages')


def last_one_lost(new_cluster):
    """The worker ends with status 1 and says why; another one serves on, and it may come back."""
    cluster = new_cluster(workers=2)
    worker = cluster.start_worker(0, '--gpus', 2, '--lose-after', EXECUTIONS)
    cluster.start_worker(1)
    cluster.start_controller()
    cluster.wait_up(0, 1)
    client = start_load(cluster)
    check(worker.wait() == 1, f'a worker without GPUs ended with {worker.exit_code}')
    check(len(re.findall('No GPU is left', worker.text())) == 1, 'it did not say once why it ends')
    check(len(re.findall(r'GPU \d \(emulated\) is lost', worker.text())) == 2, 'GPUs were not named')
    check('Exiting' in worker.text(), 'it did not end in order')
    cluster.wait_lost(0)
    cluster.wait_for_telemetry(works_on(1, time.time_ns(), count=100), 'work on the other worker')
    cluster.start_worker(0, '--gpus', 2)
    cluster.wait_up(0, count=2)
    totals = end_load(client)
    check_all_answered(totals)
    check_mostly_served(totals)
    telemetry = cluster.stop()
    check_telemetry(telemetry, totals)


def lost_while_loading(new_cluster):
    """A worker that loses its last GPU while it loads a model leaves the model to the others."""
    has_refused = threading.Event()

    def behave(peer):
        handshake(peer, state_of([(b'GPU', 1376, 1380, 0, ())]))
        while (received := peer.receive()) is not None:
            message_type, meta, _ = received
            if message_type == wire.LOAD_MODEL:
                action_id, = struct.unpack_from('<Q', meta)
                peer.send(message(wire.MODEL_LOADED, action_id, GPU_LOST, wire.spec()))
                has_refused.set()
            else:
                answer_as_worker(peer, message_type, meta)

    false = FalseWorker([behave])
    cluster = new_cluster(workers=1)
    cluster.start_worker(0)
    cluster.start_controller(addresses=[*cluster.worker_addresses, false.address])
    cluster.wait_up(0)
    cluster.controller.wait_for(f'Worker {false.address} is up')
    totals = end_load(start_load(cluster))
    check(has_refused.is_set(), 'the worker without a GPU was not asked to load')
    check_all_answered(totals)
    check_mostly_served(totals)
    check('has no GPU left' in cluster.controller.text(), 'the worker was not given up')
    cluster.stop()


if __name__ == '__main__':
    run([one_of_two_lost, last_one_lost, lost_while_loading])
