"""Malformed arguments of the three programs, shortened options of all: exit code 2 and one line that names the argument."""
import os
import signal
import socket
import subprocess
import tempfile

from cluster import build_folder, check, program_environment, run

# (program, arguments, what the line must name, environment)
MALFORMED = [
    ('worker', ['surplus'], 'surplus'),
    ('worker', ['--no-such-option'], '--no-such-option'),
    ('worker', ['--gpus'], '--gpus'),
    ('worker', ['--gpus', '0'], '--gpus'),
    ('worker', ['--gpus', 'two'], '--gpus'),
    ('worker', ['--gpus', '-1'], '--gpus'),
    ('worker', ['--gpus', '1.5'], '--gpus'),
    ('worker', ['--gpus', '99999999999999999999999'], '--gpus'),
    ('worker', ['--gpus', '3', '--pages', '40,20'], 'pages'),
    ('worker', ['--pages', '40,,20'], '--pages'),
    ('worker', ['--pages', ''], '--pages'),
    ('worker', ['--clock', '0'], '--clock'),
    ('worker', ['--jitter-ppm', 'x'], '--jitter-ppm'),
    ('worker', ['--listen', ''], 'listen'),
    ('worker', ['--listen', '127.0.70.1:65536'], '127.0.70.1:65536'),
    ('worker', ['--listen', '127.0.70.1:http'], '127.0.70.1:http'),
    ('worker', ['--backend', 'abacus'], 'abacus'),
    ('worker', ['--profile', '/not/there'], '/not/there'),
    ('worker', ['--name', ''], '--name'),
    ('worker', [], '/not/there', {'CLOCKWORK_CONFIG_FILE': '/not/there'}),
    ('controller', [], 'TYPE'),
    ('controller', ['INFER4'], 'WORKERS'),
    ('controller', ['INFER5', '127.0.70.1:1'], 'INFER5'),
    ('controller', ['INFER5', '127.0.70.1:1'], 'PRICED, DEFERRED'),
    ('controller', ['priced', '127.0.70.1:x'], '127.0.70.1:x'),
    ('controller', ['INFER4', '-'], 'WORKERS'),
    ('controller', ['INFER4', ''], 'WORKERS'),
    ('controller', ['INFER4', '127.0.70.1:1,'], 'WORKERS'),
    ('controller', ['INFER4', '127.0.70.1:1,,127.0.70.2:1'], 'WORKERS'),
    ('controller', ['INFER4', '127.0.70.1:99999'], '127.0.70.1:99999'),
    ('controller', ['INFER4', '127.0.70.1:0'], '127.0.70.1:0'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '6', '1', '0'], 'default_slo'),
    ('controller', ['INFER4', 'no host:1'], 'no host'),
    ('controller', ['INFER4', '127.0.70.1:1', 'maybe'], 'generate_inputs'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '0'], 'max_gpus'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '6', '10ms'], 'schedule_ahead'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '6', '1', '-5'], '-5'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '6', '1', '1', 'x'], 'max_exec'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '6', '1', '1', '1', '0'], 'max_batch'),
    ('controller', ['INFER4', '127.0.70.1:1', '1', '6', '1', '1', '1', '1', '1'], 'INFER4'),
    ('controller', ['DIRECT', '127.0.70.1:1', '1', '6', '1'], 'DIRECT'),
    ('controller', ['ECHO', '-', '1'], 'ECHO'),
    ('controller', ['STRESS', '127.0.70.1:1', ''], 'model'),
    ('controller', ['STRESS', '127.0.70.1:1', 'a' * 5000], 'model'),
    ('controller', ['STRESS', '127.0.70.1:1', 'resnet50_v2', '0'], 'copies'),
    ('controller', ['STRESS', '127.0.70.1:1', 'resnet50_v2', '1', '1e3'], 'concurrency'),
    ('controller', ['--no-such-option'], '--no-such-option'),
    ('controller', ['ECHO', '-', '--listen'], '--listen'),
    ('controller', ['ECHO', '-', '--listen', '127.0.70.1:x'], '--listen'),
    ('controller', ['ECHO', '-', '--models', '0'], '--models'),
    ('controller', ['ECHO', '-', '--requests', 'many'], '--requests'),
    ('client', [], 'workload'),
    ('client', ['127.0.70.1:1'], 'workload'),
    ('client', ['127.0.70.1:1', 'no_such_workload'], 'no_such_workload'),
    ('client', ['127.0.70.1:x', 'simple'], '127.0.70.1:x'),
    ('client', ['127.0.70.1:0', 'simple'], '127.0.70.1:0'),
    ('client', ['', 'simple'], 'address'),
    ('client', ['127.0.70.1:1', 'simple', '1'], 'simple'),
    ('client', ['127.0.70.1:1', 'poisson-open-loop', 'x'], 'num_models'),
    ('client', ['127.0.70.1:1', 'poisson-open-loop', '1', '-3'], '-3'),
    ('client', ['127.0.70.1:1', 'poisson-open-loop', '1', 'nan'], 'rate'),
    ('client', ['127.0.70.1:1', 'poisson-open-loop', '0'], 'num_models'),
    ('client', ['127.0.70.1:1', 'slo-exp-1', 'resnet50_v2', '1', 'normal'], 'dist'),
    ('client', ['127.0.70.1:1', 'scalability-exp-1', '1', '1', '2', '1'], 'rate-factor'),
    ('client', ['127.0.70.1:1', 'azure', '1', '1', '1', '5'], 'memory_load_factor'),
    ('client', ['127.0.70.1:1', 'azure', '1', '1', '1', '1', '60', '15'], 'trace'),
    ('client', ['127.0.70.1:1', 'simple', '--seed'], '--seed'),
    ('client', ['127.0.70.1:1', 'simple', '--seed', 'x'], '--seed'),
    ('client', ['127.0.70.1:1', 'simple', '--duration', '-1'], '--duration'),
    ('client', ['127.0.70.1:1', 'simple', '--duration', 'forever'], '--duration'),
    ('client', ['127.0.70.1:1', 'simple', '--no-such-option'], '--no-such-option'),
    ('client', ['127.0.70.1:1', 'simple', '--check-outputs'], 'CLOCKWORK_DISABLE_INPUTS',
     {'CLOCKWORK_DISABLE_INPUTS': '1'}),
    ('client', ['127.0.70.1:1', 'simple'], 'CLOCKWORK_DISABLE_INPUTS',
     {'CLOCKWORK_DISABLE_INPUTS': 'yes'}),
    ('client', ['127.0.70.1:1', 'azure'], '/not/there', {'AZURE_TRACE_DIR': '/not/there'}),
]

# A beginning of an option's name is none: it would mean something else with the next option that begins so.
SHORTENED = [
    ('worker', ['--gpu', '2'], '--gpu'),
    ('worker', ['--gpu=2'], '--gpu'),
    ('worker', ['--versio'], '--versio'),
    ('controller', ['ECHO', '-', '--model', '5'], '--model'),
    ('client', ['127.0.70.1:1', 'simple', '--dur', '1'], '--dur'),
    ('client', ['127.0.70.1:1', 'infer', 'a', '--cop', '1'], '--cop'),
    ('client', ['127.0.70.1:1', 'infer', 'a', '--no-such-option'], '--no-such-option'),
    ('simulate', ['--hour', '1'], '--hour'),
    ('simulate', ['--quie'], '--quie'),
    ('plan', ['--targe', '99'], '--targe'),
    ('plan', ['--poli', 'fifo'], '--poli'),
    ('simulate_faults', ['--polic', 'fifo'], '--polic'),
    ('compile_model', ['a.onnx', '--operator'], '--operator'),
    ('check_model', ['a', '--back', 'cpu'], '--back'),
    ('check_model', ['a', '--no-such-option'], '--no-such-option'),
    ('check_model', ['a', '--batch'], '--batch'),
    ('run_package', ['a', '--in', 'b', '--output', 'c'], '--in'),
    ('run_package', ['a', '--no-such-option'], '--no-such-option'),
    ('make_trace', ['--func', '5'], '--func'),
]

# (contents of the file, what the line must name)
MALFORMED_CONFIGURATIONS = [
    ('worker: { gpus = 2', ''),
    ('worker: { gpus = "two"; }', 'gpus'),
    ('worker: { gpus = 0; }', 'gpus'),
    ('worker: { no_such_field = 1; }', 'no_such_field'),
    ('worker: { listen = 5; }', 'listen'),
    ('worker: { weights_cache_page_size = 4096; }', 'weights_cache_page_size'),
]


def call(program, arguments, environment):
    words = [os.path.join(build_folder(), program), *arguments]
    return subprocess.run(words, env=program_environment(**environment), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors='replace', timeout=60)


def check_refused(program, arguments, named, environment):
    what = ' '.join([f'{name}={value}' for name, value in environment.items()] +
                    [program, *arguments])[:200]
    done = call(program, arguments, environment)
    check(done.returncode == 2, f'{what}: exit code {done.returncode}, {done.stderr}')
    check(done.stdout == '', f'{what}: printed {done.stdout!r}')
    lines = done.stderr.splitlines()
    check(len(lines) == 1 and done.stderr.endswith('\n'), f'{what}: not one line: {done.stderr!r}')
    check(named in lines[0], f'{what}: "{lines[0]}" does not name {named}')


def malformed_arguments(_new_cluster):
    for program, arguments, named, *environment in MALFORMED:
        check_refused(program, arguments, named, environment[0] if environment else {})


def shortened_options(_new_cluster):
    for program, arguments, named in SHORTENED:
        check_refused(program, arguments, named, {})


def malformed_files(_new_cluster):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'a.cfg')
        for contents, named in MALFORMED_CONFIGURATIONS:
            with open(path, 'w') as file:
                file.write(contents)
            check_refused('worker', [], named or path, {'CLOCKWORK_CONFIG_FILE': path})
        with open(path, 'w') as file:
            file.write('model\tinput_bytes\nx\ty\n')
        check_refused('worker', ['--profile', path], path, {})


def addresses_in_use(_new_cluster):
    """Where another process listens: one line that names the address, and an end."""
    host = '127.0.70.1'
    with socket.create_server((host, 0)) as held:
        address = f'{host}:{held.getsockname()[1]}'
        for program, arguments in (('worker', ['--backend', 'emulated']),
                                   ('controller', ['ECHO', '-'])):
            done = call(program, [*arguments, '--listen', address], {})
            check(done.returncode not in (0, -signal.SIGABRT), f'{program}: {done.returncode}')
            check(len([line for line in done.stderr.splitlines() if address in line]) == 1,
                  f'{program} does not say that {address} is in use: {done.stderr}')


def help_texts(_new_cluster):
    for program, words in (('worker', ['--backend', '--gpus', '--profile', '--listen',
                                       'CLOCKWORK_MODEL_DIR', 'CLOCKWORK_CONFIG_FILE']),
                           ('controller', ['INFER4', 'DIRECT', 'ECHO', 'STRESS', 'generate_inputs',
                                           'schedule_ahead', 'max_batch', 'CLOCKWORK_LOG_DIR']),
                           ('client', ['azure', 'bursty_experiment', 'poisson-open-loop', 'slo-exp-1',
                                       'AZURE_TRACE_DIR', 'CLOCKWORK_DISABLE_INPUTS'])):
        for option in ('-h', '--help'):
            done = call(program, [option], {})
            check(done.returncode == 0 and not done.stderr, f'{program} {option}: {done.stderr}')
            for word in words:
                check(word in done.stdout, f'{program} {option} does not mention {word}')


if __name__ == '__main__':
    run([malformed_arguments, shortened_options, malformed_files, addresses_in_use, help_texts])
