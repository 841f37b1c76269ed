"""Worker, controller and client as child processes of a test, and what they leave behind.

Everything listens on loopback addresses 127.0.70.x with ports that were free; every child is ended
by its own pid and ends with the test. Nothing here waits for a fixed time: `wait_until` polls.
"""
import csv
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

# A limit for what should take a moment: only a hang gets there, however busy the machine is.
PATIENCE_S = 60
POLL_S = 0.02
TELEMETRY_POLL_S = 0.2
PR_SET_PDEATHSIG = 1

RESULT_SUCCESS = 0
ACTION_LOAD, ACTION_INFER, ACTION_EVICT = 1, 2, 3


class Failed(Exception):
    """A check of the test did not hold."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def wait_until(condition, what, patience_s=PATIENCE_S, poll_s=POLL_S):
    """Poll until `condition()` is true and return what it returned."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f'waited {patience_s} s in vain: {what}')
        time.sleep(poll_s)


def free_address(host):
    """'127.0.70.host:port' where nothing listens; the port stays the process's through restarts."""
    with socket.socket() as probe:
        probe.bind((f'127.0.70.{host}', 0))
        return '127.0.70.{}:{}'.format(host, probe.getsockname()[1])


def dial(address, timeout_s=PATIENCE_S):
    host, port = address.rsplit(':', 1)
    return socket.create_connection((host, int(port)), timeout=timeout_s)


def build_folder():
    folder = os.environ.get('CLOCKWORK_BUILD')
    if not folder:
        sys.exit('CLOCKWORK_BUILD must name the build folder')
    return os.path.abspath(folder)


def program_environment(**more):
    """Ours without what would change the programs' behaviour."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(('CLOCKWORK_', 'AZURE_'))}
    environment.update(more)
    return environment


class Program:
    """One run of a program; what it prints goes to a file that is read while it runs."""

    def __init__(self, folder, name, program, arguments, prefix=(), **environment):
        self.name = name
        self.log_path = os.path.join(folder, f'{name}.log')
        self.exit_code = None
        words = [*prefix, os.path.join(build_folder(), program), *map(str, arguments)]
        parent = os.getpid()

        def end_with_parent():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(126)

        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=program_environment(**environment), preexec_fn=end_with_parent)

    def text(self):
        with open(self.log_path, errors='replace') as log:
            return log.read()

    def is_running(self):
        return self.process.poll() is None

    def wait_for(self, pattern, count=1, patience_s=PATIENCE_S):
        """Wait until it has printed `pattern` `count` times; the last match is returned."""
        def found():
            matches = list(re.finditer(pattern, self.text()))
            if len(matches) >= count:
                return matches[-1]
            if not self.is_running():
                raise Failed(f'{self.name} ended ({self.process.returncode}) without printing '
                             f'"{pattern}"')
            return None
        return wait_until(found, f'"{pattern}" from {self.name}', patience_s)

    def send(self, signal_number):
        if self.is_running():
            self.process.send_signal(signal_number)

    def wait(self, patience_s=PATIENCE_S):
        try:
            self.exit_code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise Failed(f'{self.name} does not end') from None
        return self.exit_code

    def kill(self):
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self):
        """SIGTERM; it must end cleanly."""
        check(self.is_running(), f'{self.name} ended by itself ({self.process.returncode})')
        self.send(signal.SIGTERM)
        check(self.wait() == 0, f'{self.name} ended with {self.exit_code} on SIGTERM')

    def cpu_seconds(self):
        with open(f'/proc/{self.process.pid}/stat') as stat:
            fields = stat.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Totals:
    """What a client printed at its end."""

    def __init__(self, client):
        text = client.text()
        summary = re.search(r'Summary of ([\d.]+) s: (\d+) requests were due, (\d+) sent '
                            r'\([\d.]+/s\), (\d+) answered', text)
        results = re.search(r'Results: (.*)', text)
        share = re.search(r'goodput [\d.]+/s; ([\d.]+) % of the requests met their SLO', text)
        check(summary and results and share, f'{client.name} printed no summary')
        self.seconds = float(summary[1])
        self.due, self.sent, self.answered = (int(summary[i]) for i in (2, 3, 4))
        self.slo_percent = float(share[1])
        self.results = {}
        for part in results[1].split(', '):
            if part != 'none':
                name, count = part.rsplit(' ', 1)
                self.results[name] = int(count)

    def get(self, name):
        return self.results.get(name, 0)


class Cluster:
    """Some workers, a controller, and clients of it, in a folder of their own."""

    backend = 'emulated'

    def __init__(self, folder, workers=2, worker_options=('--gpus', 1)):
        self.folder = folder
        self.worker_options = worker_options
        self.worker_addresses = [free_address(10 + i) for i in range(workers)]
        self.controller_address = free_address(100)
        self.workers = [None] * workers
        self.controller = None
        self.controllers_count = 0
        self.programs = []

    def prefix(self, host):
        """Words before a command that make it run on that host; here all are this machine."""
        return ()

    def start(self, name, program, arguments, host=None, **environment):
        started = Program(self.folder, name, program, arguments, self.prefix(host), **environment)
        self.programs.append(started)
        return started

    def start_worker(self, index, *options):
        name = f'worker{index}.{len(self.programs)}'
        arguments = ['--backend', self.backend, '--listen', self.worker_addresses[index],
                     '--name', f'w{index}', *(options or self.worker_options)]
        self.workers[index] = self.start(name, 'worker', arguments, host=f'worker{index}')
        self.workers[index].wait_for('listens on')
        return self.workers[index]

    def start_controller(self, type_name='INFER4', *parameters, addresses=None, options=()):
        self.controllers_count += 1
        name = f'controller{self.controllers_count}'
        self.telemetry_folder = os.path.join(self.folder, f'telemetry{self.controllers_count}')
        os.mkdir(self.telemetry_folder)
        addresses = self.worker_addresses if addresses is None else addresses
        self.controller = self.start(
            name, 'controller',
            [type_name, ','.join(addresses) or '-', *parameters,
             '--listen', self.controller_address, *options],
            host='controller', CLOCKWORK_LOG_DIR=self.telemetry_folder)
        self.controller.wait_for('listens on')
        return self.controller

    def start_all(self, *controller_words):
        for index in range(len(self.workers)):
            self.start_worker(index)
        self.start_controller(*controller_words)
        self.wait_up(*range(len(self.workers)))

    def wait_up(self, *indexes, count=1):
        for index in indexes:
            self.controller.wait_for(
                f'Worker {re.escape(self.worker_addresses[index])} is up', count)

    def wait_lost(self, index, count=1):
        self.controller.wait_for(
            f'Worker {re.escape(self.worker_addresses[index])} is lost', count)

    def start_client(self, *words, name=None, inputs=False):
        name = name or f'client.{len(self.programs)}'
        environment = {} if inputs else {'CLOCKWORK_DISABLE_INPUTS': '1'}
        return self.start(name, 'client', [self.controller_address, *words], host='client',
                          **environment)

    def run_client(self, *words, **options):
        """To its end; what it printed in the end."""
        client = self.start_client(*words, **options)
        check(client.wait() == 0, f'{client.name} ended with {client.exit_code}')
        return Totals(client)

    def wait_for_telemetry(self, condition, what):
        """Wait until `condition(telemetry so far)` is true; that telemetry is returned."""
        def found():
            check(self.controller.is_running(), 'the controller has ended')
            telemetry = Telemetry(self.telemetry_folder, is_growing=True)
            return telemetry if condition(telemetry) else None
        return wait_until(found, what, poll_s=TELEMETRY_POLL_S)

    def stop_controller(self):
        """It must say that telemetry is complete, and telemetry must be."""
        self.controller.stop()
        said = re.search(r'Telemetry: (\d+) rows written, (\d+) dropped, (\d+) lost',
                         self.controller.text())
        check(said, 'the controller did not say how many rows it wrote')
        telemetry = Telemetry(self.telemetry_folder)
        check(int(said[1]) == len(telemetry.requests) + len(telemetry.actions),
              f'{said[1]} rows written, but {len(telemetry.requests)} requests and '
              f'{len(telemetry.actions)} actions are there')
        check(said[2] == said[3] == '0', f'rows were dropped or lost: {said[0]}')
        return telemetry

    def stop(self):
        telemetry = self.stop_controller()
        for worker in self.workers:
            worker.stop()
        return telemetry

    def clean_up(self):
        for program in self.programs:
            if program.is_running():
                program.send(signal.SIGCONT)
                program.kill()


class CpuCluster(Cluster):
    """Workers that compute; models come from packages."""
    backend = 'cpu'


# ---- telemetry ------------------------------------------------------------------------------------

class Row(dict):
    """A row of numbers by column name."""
    __getattr__ = dict.__getitem__


def read_rows(path, is_growing=False):
    """Every row must be whole: all columns, each a number, a line end (unless it still grows)."""
    rows = []
    with open(path, newline='') as file:
        text = file.read()
    if is_growing:
        text = text[:text.rfind('\n') + 1]
    check(text.endswith('\n'), f'{path} ends within a row')
    lines = csv.reader(text.splitlines(), delimiter='\t')
    header = next(lines)
    for line in lines:
        check(len(line) == len(header), f'{path}: a row with {len(line)} columns: {line}')
        rows.append(Row((name, float(text) if '.' in text or 'e' in text else int(text))
                        for name, text in zip(header, line)))
    return rows


class Telemetry:
    def __init__(self, folder, is_growing=False):
        self.requests = read_rows(os.path.join(folder, 'clockwork_request_log.tsv'), is_growing)
        self.actions = read_rows(os.path.join(folder, 'clockwork_action_log.tsv'), is_growing)

    def check_requests(self, sent, what='the clients'):
        """Exactly one row for each request that was sent."""
        ids = [row.request_id for row in self.requests]
        check(len(ids) == len(set(ids)), f'{len(ids) - len(set(ids))} requests have two answers')
        check(len(ids) == sent, f'{what} sent {sent} requests, telemetry has {len(ids)}')

    def of(self, action_type, worker_id=None):
        return [row for row in self.actions if row.action_type == action_type and
                (worker_id is None or row.worker_id == worker_id)]

    def check_actions(self):
        ids = [row.action_id for row in self.actions]
        check(len(ids) == len(set(ids)), 'an action has two rows')


def weights_pages():
    """Pages by name of a variety, from the profile that workers have built in."""
    page_bytes = 16 * 1024 * 1024
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    with open(os.path.join(root, 'zoo', 'profiles', 'v100.tsv')) as file:
        lines = csv.DictReader(file, delimiter='\t')
        return {line['model']: -(-int(line['weights_bytes']) // page_bytes) for line in lines}


# ---- running --------------------------------------------------------------------------------------

TAIL_LINES = 30


def print_logs(cluster):
    for program in cluster.programs:
        if program.process.poll() == 0 and program is not cluster.programs[-1]:
            continue  # it ended as it should, and its checks passed
        tail = program.text().splitlines()[-TAIL_LINES:]
        print(f'--- {program.name} ({program.process.poll()})', *tail, sep='\n    ')


def run(scenarios, cluster_class=Cluster):
    """Run each function with a folder of its own; exit 1 if one failed, with what was printed.
    Words on the command line choose scenarios by name."""
    failed = []
    chosen = [one for one in scenarios if len(sys.argv) < 2 or one.__name__ in sys.argv[1:]]
    for scenario in chosen:
        folder = tempfile.mkdtemp(prefix='clockwork_test_')
        clusters = []

        def new_cluster(*arguments, _folder=folder, _clusters=clusters, **options):
            place = os.path.join(_folder, str(len(_clusters)))
            os.mkdir(place)
            _clusters.append(cluster_class(place, *arguments, **options))
            return _clusters[-1]

        begin = time.monotonic()
        try:
            scenario(new_cluster)
            print(f'ok {scenario.__name__} ({time.monotonic() - begin:.1f} s)', flush=True)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            failed.append(scenario.__name__)
            print(f'FAILED {scenario.__name__}: {error}')
            traceback.print_exc(file=sys.stdout)
            for cluster in clusters:
                print_logs(cluster)
            sys.stdout.flush()
        finally:
            for cluster in clusters:
                cluster.clean_up()
            shutil.rmtree(folder, ignore_errors=True)
    print(f'{len(chosen) - len(failed)} passed, {len(failed)} failed')
    sys.exit(1 if failed or not chosen else 0)
