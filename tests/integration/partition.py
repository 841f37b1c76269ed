"""Six hosts, each a network namespace, on a switch that is one more: hosts are cut off and come back.

Started by test_partition.sh in a network and mount namespace of its own, so nothing of this is seen
outside, and all of it is gone with the last process.
"""
import signal
import subprocess
import time

from cluster import ACTION_INFER, ACTION_LOAD, Cluster, Telemetry, Totals, check, run

WORKERS = 4
MODELS = 12
RATE = 200
SWITCH = 'switch'
BRIDGE = 'bridge0'


def ip(*words):
    done = subprocess.run(['ip', *words], capture_output=True, text=True)
    check(done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}")


class Network:
    def __init__(self, hosts):
        ip('netns', 'add', SWITCH)
        ip('-n', SWITCH, 'link', 'add', BRIDGE, 'type', 'bridge')
        ip('-n', SWITCH, 'link', 'set', BRIDGE, 'up')
        for number, host in enumerate(hosts):
            ip('netns', 'add', host)
            ip('link', 'add', 'eth0', 'netns', host, 'type', 'veth', 'peer', 'name', f'to_{host}',
               'netns', SWITCH)
            ip('-n', SWITCH, 'link', 'set', f'to_{host}', 'master', BRIDGE, 'up')
            ip('-n', host, 'address', 'add', f'10.83.0.{number + 1}/24', 'dev', 'eth0')
            ip('-n', host, 'link', 'set', 'lo', 'up')
            ip('-n', host, 'link', 'set', 'eth0', 'up')

    def unplug(self, host):
        """Nothing passes, and neither end is told."""
        ip('-n', SWITCH, 'link', 'set', f'to_{host}', 'nomaster')

    def plug_in(self, host):
        ip('-n', SWITCH, 'link', 'set', f'to_{host}', 'master', BRIDGE)

    def link_down(self, host):
        """The host sees its cable without signal."""
        ip('-n', SWITCH, 'link', 'set', f'to_{host}', 'down')

    def link_up(self, host):
        ip('-n', SWITCH, 'link', 'set', f'to_{host}', 'up')

    def remove(self, hosts):
        for host in [*hosts, SWITCH]:
            subprocess.run(['ip', 'netns', 'delete', host], capture_output=True)


class SixHosts(Cluster):
    """Four workers, the controller and the client, on the ports that they have by default."""

    def __init__(self, folder):
        super().__init__(folder, workers=WORKERS)
        self.hosts = [f'worker{index}' for index in range(WORKERS)] + ['controller', 'client']
        self.worker_addresses = [f'10.83.0.{index + 1}:12345' for index in range(WORKERS)]
        self.controller_address = f'10.83.0.{WORKERS + 1}:12346'
        self.network = Network(self.hosts)

    def prefix(self, host):
        return ('ip', 'netns', 'exec', host)

    def clean_up(self):
        super().clean_up()
        self.network.remove(self.hosts)


def works_on(worker_ids, since_ns=0, count=20):
    return lambda telemetry: all(
        sum(row.status == 0 and row.t > since_ns for row in telemetry.of(ACTION_INFER, one)) >= count
        for one in worker_ids)


def start_load(cluster):
    cluster.start_all()
    client = cluster.start_client('poisson-open-loop', MODELS, RATE)
    client.wait_for('Now replaying')
    cluster.wait_for_telemetry(works_on(range(WORKERS)), 'work on all workers')
    return client


def end_load(client):
    client.send(signal.SIGTERM)
    check(client.wait() == 0, f'{client.name} ended with {client.exit_code}')
    return Totals(client)


def check_rejoined_with_weights(telemetry, held, since_ns):
    loaded = {row.model_id for row in telemetry.of(ACTION_LOAD, 0) if row.t > since_ns}
    check(held and not held & loaded, f'it held {held} and was told to load {loaded}')


def cut_worker_off(new_cluster):
    """Without a word: the others serve. Back again: it takes part with the weights it has."""
    cluster = new_cluster()
    client = start_load(cluster)
    network = cluster.network
    for times, (cut, heal) in enumerate(((network.unplug, network.plug_in),
                                         (network.link_down, network.link_up)), start=1):
        cut('worker0')
        cluster.wait_lost(0, count=times)
        lost_ns = time.time_ns()
        before = Telemetry(cluster.telemetry_folder, is_growing=True)
        held = {row.model_id for row in before.of(ACTION_LOAD, 0) if row.status == 0}
        cluster.wait_for_telemetry(works_on(range(1, WORKERS), lost_ns), 'work on the others')
        heal('worker0')
        cluster.wait_up(0, count=times + 1)
        after = cluster.wait_for_telemetry(works_on([0], lost_ns), 'work on the one that is back')
        check_rejoined_with_weights(after, held, lost_ns)
    totals = end_load(client)
    check(totals.answered == totals.sent == totals.due and totals.get('lost') == 0,
          f'{totals.due} due, {totals.sent} sent, {totals.answered} answered: {totals.results}')
    check(totals.get('success') >= 0.8 * totals.sent, f'too few successes: {totals.results}')
    telemetry = cluster.stop()
    telemetry.check_requests(totals.sent)
    telemetry.check_actions()


def cut_controller_off(new_cluster):
    """From everybody: it loses all workers and gets all back."""
    cluster = new_cluster()
    client = start_load(cluster)
    cluster.network.unplug('controller')
    for index in range(WORKERS):
        cluster.wait_lost(index)
    cluster.network.plug_in('controller')
    cluster.wait_up(*range(WORKERS), count=2)
    since_ns = time.time_ns()
    cluster.wait_for_telemetry(works_on(range(WORKERS), since_ns), 'work on all workers again')
    totals = end_load(client)
    check(totals.answered + totals.get('lost') == totals.sent, f'{totals.results}')
    telemetry = cluster.stop()
    check(not [row for row in telemetry.requests if row.t > since_ns and row.is_coldstart],
          'weights that the workers held were not used')


def cut_client_off(new_cluster):
    """It notices, comes back, and goes on."""
    cluster = new_cluster()
    client = start_load(cluster)
    cluster.network.unplug('client')
    client.wait_for('Lost the controller')
    cluster.network.plug_in('client')
    client.wait_for('The controller is back')
    cluster.wait_for_telemetry(works_on(range(WORKERS), time.time_ns()), 'work after that')
    totals = end_load(client)
    check(totals.answered + totals.get('lost') == totals.sent, f'{totals.results}')
    cluster.stop().check_actions()


if __name__ == '__main__':
    run([cut_worker_off, cut_controller_off, cut_client_off], SixHosts)
