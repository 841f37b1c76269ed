"""Every workload and controller type, models loaded while others infer, and GPUs that are too small
for what is asked of them."""
import signal

from cluster import (ACTION_EVICT, ACTION_INFER, ACTION_LOAD, RESULT_SUCCESS, Totals, check, run,
                     weights_pages)
from wire import Peer

WEIGHTS_ALREADY_LOADED = 21

# Short runs of all that the client offers; without --duration: it must end by itself.
WORKLOADS = [
    ('simple', '--duration', 1),
    ('simple-slo-factor', '--duration', 1),
    ('simple-parametric', 2, 2, 2, 50),
    ('example', '--duration', 1),
    ('fill_memory', '--duration', 1),
    ('spam', '--duration', 1),
    ('single-spam', '--duration', 1),
    ('poisson-open-loop', 3, 100, '--duration', 1),
    ('scalability-exp-1', 5, 50, 120, 2, 'mul', 0.5),
    ('slo-exp-1', 'resnet50_v2', 3, 'poisson', 100, 4, 16, 2, 'mul', 0.4),
    ('slo-exp-1', 'resnet18_v2', 2, 'fixed', 100, 5, 15, 5, 'add', 0.4),
    ('slo-exp-2', 'resnet50_v2', 2, 'poisson', 100, 5, 15, 2, 'mul', 0.4, 2, 2, 1000),
    ('bursty_experiment', 5, '--duration', 1),
    ('comparison_experiment', 3, 100, '--duration', 1),
    ('comparison_experiment2', 2, 4, '--duration', 1),
    ('azure', 1, 1, 4, 1, '--functions', 10000, '--duration', 1),
    ('azure_scalability_exp', 1, 2, 4, 2, 1, 1, '--functions', 10000),
]


def every_workload(new_cluster):
    cluster = new_cluster(workers=2)
    cluster.start_all()
    sent = 0
    for words in WORKLOADS:
        totals = cluster.run_client(*words, name='client.' + '_'.join(map(str, words)))
        what = ' '.join(map(str, words))
        check(totals.answered == totals.sent == totals.due > 0,
              f'{what}: {totals.due} due, {totals.sent} sent, {totals.answered} answered')
        check(totals.get('success') > 0, f'{what}: {totals.results}')
        sent += totals.sent
    cluster.stop().check_requests(sent)


def models_at_any_time(new_cluster):
    """One client infers while others load varieties that nobody had, and infer too."""
    cluster = new_cluster(workers=2)
    cluster.start_all()
    first = cluster.start_client('poisson-open-loop', 4, 150)
    first.wait_for('Now replaying')
    sent = 0
    for variety in ('densenet121', 'resnet18_v2', 'googlenet', 'resnet152_v2'):
        totals = cluster.run_client('slo-exp-1', variety, 2, 'fixed', 40, 50, 50, 2, 'mul', 1)
        check(totals.answered == totals.sent > 0, f'{variety}: {totals.results}')
        check(totals.get('success') >= 0.8 * totals.sent, f'{variety}: {totals.results}')
        sent += totals.sent
    first.send(signal.SIGTERM)
    check(first.wait() == 0, f'the first client ended with {first.exit_code}')
    totals = Totals(first)
    check(totals.answered == totals.sent == totals.due, f'{totals.results}')
    check(totals.get('success') >= 0.9 * totals.sent, f'the first client: {totals.results}')
    telemetry = cluster.stop()
    telemetry.check_requests(sent + totals.sent)
    check(len({row.model_id for row in telemetry.requests}) == 12, 'not all models were asked for')


# ---- pages ----------------------------------------------------------------------------------------

def residency_events(telemetry):
    """(time, order within the same instant, what, row) of all that changes what GPUs hold."""
    events = []
    for row in telemetry.actions:
        answered = row.t + row.controller_action_duration
        is_done = row.status in (0, WEIGHTS_ALREADY_LOADED)
        if row.action_type == ACTION_LOAD:
            events.append((row.t, 2, 'reserve', row))
            events.append((answered, 0, 'hold' if is_done else 'free', row))
        elif row.action_type == ACTION_EVICT:
            events.append((row.t, 1, 'drop', row))
            if row.status != 0:
                events.append((answered, 0, 'keep', row))
        elif row.status == 0:
            events.append((row.t, 3, 'infer', row))
    return sorted(events, key=lambda event: event[:2])


def check_pages(telemetry, pages_of_model, pages_of_gpu):
    """Never more pages taken than there are, never an INFER without weights."""
    taken = {gpu: 0 for gpu in pages_of_gpu}
    held = {gpu: set() for gpu in pages_of_gpu}
    for _, _, what, row in residency_events(telemetry):
        gpu = (row.worker_id, row.gpu_id)
        pages = pages_of_model[row.model_id]
        if what in ('reserve', 'keep'):
            taken[gpu] += pages
        elif what in ('free', 'drop'):
            taken[gpu] -= pages
        if what in ('hold', 'keep'):
            held[gpu].add(row.model_id)
        elif what == 'drop':
            check(row.model_id in held[gpu], f'evicted, but not there: {row}')
            held[gpu].remove(row.model_id)
        elif what == 'infer':
            check(row.model_id in held[gpu], f'executed without its weights: {row}')
        check(0 <= taken[gpu] <= pages_of_gpu[gpu],
              f'{taken[gpu]} pages taken of {pages_of_gpu[gpu]} on GPU {gpu}: {row}')


def small_gpus(new_cluster):
    """Workers of different sizes side by side, and far more models than pages."""
    cluster = new_cluster(workers=3)
    cluster.start_worker(0, '--gpus', 2, '--pages', '40,20')
    cluster.start_worker(1, '--gpus', 1, '--pages', 9)
    cluster.start_worker(2, '--gpus', 3, '--pages', '7,1376,1')
    pages_of_gpu = {(0, 0): 40, (0, 1): 20, (1, 0): 9, (2, 0): 7, (2, 1): 1376, (2, 2): 1}
    cluster.start_controller()
    cluster.wait_up(0, 1, 2)
    clients = [cluster.start_client('poisson-open-loop', 60, 200, '--duration', 4),
               cluster.start_client('slo-exp-1', 'resnet152_v2', 10, 'poisson', 50, 20, 20, 2, 'mul',
                                    4),
               cluster.start_client('slo-exp-1', 'resnet18_v2', 20, 'poisson', 50, 60, 60, 2, 'mul',
                                    4)]
    totals = []
    for client in clients:
        check(client.wait() == 0, f'{client.name} ended with {client.exit_code}')
        totals.append(Totals(client))
        check(totals[-1].answered == totals[-1].sent, f'{client.name}: {totals[-1].results}')
    with Peer(cluster.controller_address) as peer:
        pages = weights_pages()
        pages_of_model = {model[0]: pages[model[4].decode()] for model in peer.models()}
    telemetry = cluster.stop()
    telemetry.check_requests(sum(total.sent for total in totals))
    check_pages(telemetry, pages_of_model, pages_of_gpu)


def only_small_gpus(new_cluster):
    """So few pages that weights come and go all the time; still an answer for everything."""
    cluster = new_cluster(workers=2)
    cluster.start_worker(0, '--gpus', 2, '--pages', '15,14')
    cluster.start_worker(1, '--gpus', 1, '--pages', 7)
    pages_of_gpu = {(0, 0): 15, (0, 1): 14, (1, 0): 7}
    cluster.start_controller()
    cluster.wait_up(0, 1)
    totals = cluster.run_client('poisson-open-loop', 30, 150, '--duration', 4)
    check(totals.answered == totals.sent == totals.due, f'{totals.results}')
    check(totals.get('success') > 0, f'{totals.results}')
    telemetry = cluster.stop()
    telemetry.check_requests(totals.sent)
    check(len(telemetry.of(ACTION_EVICT)) > 10, 'this was meant to make weights leave')
    check_pages(telemetry, {row.model_id: 7 for row in telemetry.actions}, pages_of_gpu)


# ---- controller types and their options -----------------------------------------------------------

def direct(new_cluster):
    """One by one: no batches, no deadlines."""
    cluster = new_cluster(workers=2)
    cluster.start_all('DIRECT')
    totals = cluster.run_client('comparison_experiment2', 2, 8, '--duration', 1)
    check(totals.answered == totals.sent == totals.get('success') > 0, f'{totals.results}')
    # An SLO that nobody can meet is no reason for DIRECT to refuse.
    hurried = cluster.run_client('slo-exp-1', 'resnet50_v2', 2, 'fixed', 50, 0.5, 0.5, 2, 'mul', 1)
    check(hurried.get('success') == hurried.sent > 0, f'{hurried.results}')
    telemetry = cluster.stop()
    telemetry.check_requests(totals.sent + hurried.sent)
    check({row.batch_size for row in telemetry.of(ACTION_INFER)} == {1}, 'there were batches')


def echo(new_cluster):
    """Answers without running anything, with and without workers."""
    for workers in (0, 1):
        cluster = new_cluster(workers=workers)
        for index in range(workers):
            cluster.start_worker(index)
        cluster.start_controller('ECHO')
        totals = cluster.run_client('poisson-open-loop', 3, 200, '--duration', 1)
        check(totals.get('success') == totals.sent == totals.due > 0, f'{totals.results}')
        telemetry = cluster.stop()
        telemetry.check_requests(totals.sent)
        check(not telemetry.of(ACTION_INFER), 'ECHO has executed something')


def stress(new_cluster):
    """Makes its own requests: of so many copies, so many under way."""
    cluster = new_cluster(workers=1)
    cluster.start_worker(0)
    cluster.start_controller('STRESS', 'resnet18_v2', '5', '3')
    telemetry = cluster.wait_for_telemetry(
        lambda so_far: sum(row.result == RESULT_SUCCESS for row in so_far.requests) > 100,
        '100 successes of requests that the controller makes')
    check({row.model_id for row in telemetry.requests} == set(range(5)), 'not 5 copies were asked')
    edges = sorted([(row.t, 1) for row in telemetry.requests] +
                   [(row.t + row.latency, -1) for row in telemetry.requests])
    under_way, most = 0, 0
    for _, change in edges:
        under_way += change
        most = max(most, under_way)
    check(most <= 3, f'{most} requests were under way, not 3')
    cluster.stop().check_actions()


def options_of_infer4(new_cluster):
    """max_gpus, default_slo, max_exec and max_batch are kept, under a load that would exceed them."""
    cluster = new_cluster(workers=1, worker_options=('--gpus', 2))
    load = ('comparison_experiment2', 2, 24, '--duration', 1, '--slo-ms', 60)
    cluster.start_all('INFER4', '0', '1', '10000000', '60000000', '25000000', '4')
    totals = cluster.run_client(*load)
    telemetry = cluster.stop()
    telemetry.check_requests(totals.sent)
    check({row.gpu_id for row in telemetry.actions} == {0}, 'max_gpus = 1 was not kept')
    check({row.deadline for row in telemetry.requests} == {60000000}, 'default_slo was not kept')
    sizes = {row.batch_size for row in telemetry.of(ACTION_INFER)}
    check(sizes and max(sizes) == 4, f'batches of {sizes} with max_batch = 4')
    cluster = new_cluster(workers=1)
    cluster.start_all('INFER4', '0', '1', '10000000', '60000000', '5000000')
    cluster.run_client(*load)
    sizes = {row.batch_size for row in cluster.stop().of(ACTION_INFER)}
    check(sizes and max(sizes) == 2, f'batches of {sizes} with max_exec = 5 ms')


if __name__ == '__main__':
    run([every_workload, models_at_any_time, small_gpus, only_small_gpus, direct, echo, stress,
         options_of_infer4])
