"""Processes that die, stop, and come back, while clients go on asking."""
import os
import signal
import time

from cluster import (ACTION_INFER, ACTION_LOAD, RESULT_SUCCESS, Telemetry, Totals, check,
                     run)

RATE = 200  # requests/s of an open loop
MODELS = 8


def start_load(cluster, models=MODELS):
    client = cluster.start_client('poisson-open-loop', models, RATE)
    client.wait_for('Now replaying')
    return client


def end_load(client):
    client.send(signal.SIGTERM)
    check(client.wait() == 0, f'{client.name} ended with {client.exit_code}')
    return Totals(client)


def works_on(worker_id, since_ns=0, count=20):
    """For Cluster.wait_for_telemetry: so many INFERs there since then."""
    return lambda telemetry: sum(row.status == 0 and row.t > since_ns
                                 for row in telemetry.of(ACTION_INFER, worker_id)) >= count


def check_all_answered(totals):
    check(totals.answered == totals.sent == totals.due,
          f'{totals.due} due, {totals.sent} sent, {totals.answered} answered: {totals.results}')


def check_mostly_served(totals, share=0.8):
    check(totals.get('success') >= share * totals.sent, f'too few successes: {totals.results}')


def worker_killed(new_cluster):
    """The others carry on; a new process in its place gets models and work."""
    cluster = new_cluster(workers=3)
    cluster.start_all()
    client = start_load(cluster)
    busy = cluster.wait_for_telemetry(lambda so_far: any(works_on(i)(so_far) for i in range(3)),
                                      'work')
    victim = next(i for i in range(3) if works_on(i)(busy))
    cluster.workers[victim].kill()
    cluster.wait_lost(victim)
    lost_ns = time.time_ns()
    cluster.wait_for_telemetry(
        lambda so_far: any(works_on(i, lost_ns)(so_far) for i in range(3) if i != victim),
        'work on the workers that are left')
    cluster.start_worker(victim)
    cluster.wait_up(victim, count=2)
    up_ns = time.time_ns()
    # The others can carry the old load; models that nobody holds go to where nothing is.
    new = cluster.run_client('slo-exp-1', 'resnet18_v2', 6, 'poisson', 100, 50, 50, 2, 'mul', 1)
    check_all_answered(new)
    cluster.wait_for_telemetry(works_on(victim, up_ns, count=1), 'work on the one that came back')
    totals = end_load(client)
    check_all_answered(totals)
    check_mostly_served(totals)
    telemetry = cluster.stop()
    telemetry.check_requests(new.sent + totals.sent)
    telemetry.check_actions()
    check(not [row for row in telemetry.of(ACTION_INFER, victim) if lost_ns < row.t < up_ns - 10**9
               and row.status == 0], 'a dead worker has executed something')
    check([row for row in telemetry.of(ACTION_LOAD, victim) if row.t > lost_ns and row.status == 0],
          'a worker without weights was given none')


def every_worker_killed(new_cluster):
    """Nobody is left: requests are refused, not forgotten, until one is back."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    client = start_load(cluster)
    cluster.wait_for_telemetry(works_on(0), 'work')
    for worker in cluster.workers:
        worker.kill()
    cluster.wait_lost(0)
    cluster.wait_lost(1)
    lost_ns = time.time_ns()
    cluster.wait_for_telemetry(
        lambda so_far: any(row.t > lost_ns and row.result != RESULT_SUCCESS
                           for row in so_far.requests), 'an answer without any worker')
    cluster.start_worker(1)
    cluster.wait_up(1, count=2)
    cluster.wait_for_telemetry(works_on(1, time.time_ns()), 'work on the one that came back')
    totals = end_load(client)
    check_all_answered(totals)
    telemetry = cluster.stop_controller()
    telemetry.check_requests(totals.sent)


def worker_ends_under_load(new_cluster):
    """SIGTERM: it answers what is under way and goes; the others take over."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    client = start_load(cluster)
    cluster.wait_for_telemetry(lambda so_far: works_on(0)(so_far) and works_on(1)(so_far), 'work')
    cluster.workers[0].stop()
    cluster.wait_lost(0)
    cluster.wait_for_telemetry(works_on(1, time.time_ns(), count=100), 'work on the other worker')
    totals = end_load(client)
    check_all_answered(totals)
    check_mostly_served(totals)
    cluster.stop_controller().check_requests(totals.sent)


def two_controllers(new_cluster):
    """Both take the same small worker for theirs: they contradict each other, and all live on."""
    first = new_cluster(workers=1)
    first.start_worker(0, '--gpus', 2, '--pages', '30,20')
    first.start_controller()
    first.wait_up(0)
    clients = [first.start_client('poisson-open-loop', 12, RATE)]
    clients[0].wait_for('Now replaying')
    second = new_cluster(workers=1)
    second.worker_addresses = first.worker_addresses
    second.start_controller()
    second.wait_up(0)
    clients.append(second.start_client('poisson-open-loop', 12, RATE))
    clients[1].wait_for('Now replaying')
    for cluster in (first, second):
        cluster.wait_for_telemetry(lambda so_far: sum(row.status != 0 for row in so_far.actions) > 20,
                                   'actions that contradict those of the other')
    totals = [end_load(client) for client in clients]
    for cluster, total in zip((first, second), totals):
        check_all_answered(total)
        check(total.get('success') > 0, f'{total.results}')
        cluster.stop_controller().check_requests(total.sent)
    first.workers[0].stop()


def worker_stopped(new_cluster):
    """Silent for long: it leaves. When it speaks again, what it holds is used as it is."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    client = start_load(cluster)
    cluster.wait_for_telemetry(lambda so_far: works_on(0)(so_far) and works_on(1)(so_far), 'work')
    cluster.workers[0].send(signal.SIGSTOP)
    cluster.wait_lost(0)
    lost_ns = time.time_ns()
    before = Telemetry(cluster.telemetry_folder, is_growing=True)
    held = {row.model_id for row in before.of(ACTION_LOAD, 0) if row.status == 0}
    cluster.wait_for_telemetry(works_on(1, lost_ns), 'work on the other worker')
    cluster.workers[0].send(signal.SIGCONT)
    cluster.wait_up(0, count=2)
    cluster.wait_for_telemetry(works_on(0, lost_ns), 'work on the worker that came back')
    totals = end_load(client)
    check_all_answered(totals)
    telemetry = cluster.stop()
    telemetry.check_requests(totals.sent)
    loaded = {row.model_id for row in telemetry.of(ACTION_LOAD, 0) if row.t > lost_ns}
    check(held and not held & loaded, f'it held {held} and was told to load {loaded}')


def controller_killed(new_cluster):
    """At most a second of telemetry is lost; its successor takes over what the workers hold."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    client = start_load(cluster)
    cluster.wait_for_telemetry(lambda so_far: works_on(0, count=100)(so_far) and
                               works_on(1, count=100)(so_far), 'work')
    cluster.controller.kill()
    first = Telemetry(cluster.telemetry_folder)  # every row is whole
    client.wait_for('Lost the controller')
    cluster.start_controller()
    cluster.wait_up(0, 1)
    client.wait_for('The controller is back')
    back_ns = time.time_ns()
    cluster.wait_for_telemetry(works_on(0, back_ns), 'work for the new controller')
    totals = end_load(client)
    second = cluster.stop()
    check(totals.answered + totals.get('lost') == totals.sent,
          f'{totals.sent} sent, {totals.answered} answered: {totals.results}')
    check(totals.get('invalid request') == 0, f'models were forgotten: {totals.results}')
    answered_by_first = totals.answered - len(second.requests)
    check(answered_by_first - RATE <= len(first.requests) <= answered_by_first + totals.get('lost'),
          f'{answered_by_first} answers of the killed controller, {len(first.requests)} rows')
    successes = [row for row in second.requests if row.result == RESULT_SUCCESS]
    check(len(successes) >= 0.8 * len(second.requests),
          f'{len(successes)} of {len(second.requests)} succeeded with the second controller')
    check(not [row for row in second.requests if row.is_coldstart],
          'weights that the workers held were not used')


def controller_and_worker_killed(new_cluster):
    """The new controller first meets the worker that has nothing: what the other one holds is used
    all the same, and clients are not told meanwhile that their models don't exist."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    client = start_load(cluster)
    before = cluster.wait_for_telemetry(lambda so_far: works_on(0)(so_far) and works_on(1)(so_far),
                                        'work')
    held = {row.model_id for row in before.of(ACTION_LOAD, 1) if row.status == 0}
    cluster.controller.kill()
    cluster.workers[0].kill()
    cluster.workers[1].send(signal.SIGSTOP)
    cluster.start_worker(0)
    cluster.start_controller()
    cluster.wait_up(0)
    client.wait_for('The controller is back')
    cluster.workers[1].send(signal.SIGCONT)
    cluster.wait_up(1)
    cluster.wait_for_telemetry(works_on(1), 'work on the worker that was there all the time')
    totals = end_load(client)
    check(totals.answered + totals.get('lost') == totals.sent, f'{totals.results}')
    check(totals.get('invalid request') == 0, f'models were forgotten: {totals.results}')
    loaded = {row.model_id for row in cluster.stop().of(ACTION_LOAD, 1)}
    check(held and not held & loaded, f'it held {held} and was told to load {loaded}')


def client_killed(new_cluster):
    """Its requests run on and are forgotten; the others notice nothing."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    other = start_load(cluster)
    victim = cluster.start_client('spam', inputs=True)
    victim.wait_for('Now replaying')
    cluster.wait_for_telemetry(works_on(0), 'work')
    victim.kill()
    cluster.controller.wait_for('has gone')
    after = cluster.run_client('poisson-open-loop', MODELS, 100, '--duration', 1)
    check_all_answered(after)
    check_mostly_served(after)
    totals = end_load(other)
    check_all_answered(totals)
    telemetry = cluster.stop()
    ids = [row.request_id for row in telemetry.requests]
    check(len(ids) == len(set(ids)), 'a request has two answers')
    check(len(ids) > after.sent + totals.sent, 'requests of the killed client are missing')


def controller_without_disk(new_cluster):
    """Telemetry is not worth a service: without a folder it says so and goes on."""
    if os.path.isdir('/local'):  # its fallback: it would write there
        return
    cluster = new_cluster(workers=1)
    cluster.start_worker(0)
    controller = cluster.start('controller', 'controller',
                               ['INFER4', cluster.worker_addresses[0], '--listen',
                                cluster.controller_address],
                               CLOCKWORK_LOG_DIR=os.path.join(cluster.folder, 'not_there'))
    cluster.controller = controller
    controller.wait_for('No telemetry is written')
    cluster.wait_up(0)
    totals = cluster.run_client('poisson-open-loop', 1, 100, '--duration', 1)
    check_all_answered(totals)
    controller.stop()


def late_worker(new_cluster):
    """A worker that was not there when the models were loaded gets them when it comes."""
    cluster = new_cluster(workers=2)
    cluster.start_worker(0)
    cluster.start_controller()
    cluster.wait_up(0)
    client = cluster.start_client('poisson-open-loop', MODELS, RATE)
    client.wait_for('Now replaying')
    cluster.wait_for_telemetry(works_on(0), 'work')
    cluster.start_worker(1)
    cluster.wait_up(1)
    cluster.workers[0].kill()  # all that is left is the newcomer
    cluster.wait_for_telemetry(works_on(1), 'work on the newcomer')
    totals = end_load(client)
    check_all_answered(totals)
    cluster.stop_controller().check_requests(totals.sent)


if __name__ == '__main__':
    run([worker_killed, every_worker_killed, worker_ends_under_load, two_controllers, worker_stopped,
         controller_killed, controller_and_worker_killed, client_killed, controller_without_disk,
         late_worker])
