"""Trained models compiled, served by worker, controller and client's protocol: ONNX Runtime's answers, and right ones.

Text in a picture is found, turned and read; files are named by type; a detector and a voice detector
answer as ONNX Runtime does. Exit 77 where PyPI's packages with the models are not there.
"""
import os
import subprocess
import sys
import threading

import numpy as np

from cluster import (ACTION_INFER, RESULT_SUCCESS, CpuCluster, build_folder, check,
                     free_address, program_environment, run)
from compiled_model import SLO_S, CompiledModel
from wire import Peer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(ROOT, 'scripts'))

import reading  # noqa: E402

VENV = f'{build_folder()}-venv'
PACKAGES = os.path.join(VENV, 'models')
RELATIVE, ABSOLUTE = 1e-4, 1e-7  # as in tests/differential
FILES = {'README.md': 'markdown', 'src/backend/backend.h': 'c', 'scripts/check.py': 'python',
         'check.sh': 'shell', 'CMakeLists.txt': 'cmake', 'Makefile': 'makefile'}
LINES = (reading.TEXT_LINES, ('Measured, not guessed', 'Seven windows', 'Page after page'))
DETECTOR_SIDE = 320
VOICE_SAMPLES, VOICE_STATE = 576, (2, 1, 128)
THREADS = 3  # of one model: more than one batch size is compiled


class Model(CompiledModel):
    """A trained model, and its requests with ONNX Runtime's answers."""

    def __init__(self, folder, name, path, shape, requests, batches='1,2'):
        file = os.path.join(PACKAGES, path)
        super().__init__(folder, name, file, '--batch', batches,
                         *(['--shape', shape] if shape else []))
        self.inputs = [b''.join(array.tobytes() for array in request) for request in requests]
        np.savez(f'{self.path}.inputs.npz', **{
            f'{r}.{i}': array[None] if batches != '1' else array
            for r, request in enumerate(requests) for i, array in enumerate(request)})
        subprocess.run([os.path.join(VENV, 'bin', 'python'),
                        os.path.join(ROOT, 'tests', 'differential', 'onnx_answers.py'), file,
                        f'{self.path}.inputs.npz', f'{self.path}.answers.npz'], check=True)
        answers = np.load(f'{self.path}.answers.npz')
        self.answers = [[answers[key] for key in sorted(answers.files)
                         if key.startswith(f'{r}.')] for r in range(len(requests))]

    def ask(self, peer, request):
        """The answer's arrays; they must be those of ONNX Runtime."""
        result, output = self.infer(peer, self.inputs[request])
        check(result == RESULT_SUCCESS, f'{self.name}: request {request} got result {result}')
        arrays, at = [], 0
        for wanted in self.answers[request]:
            got = np.frombuffer(output, wanted.dtype, wanted.size, at).reshape(wanted.shape)
            at += wanted.nbytes
            limit = ABSOLUTE + RELATIVE * np.max(np.abs(wanted))
            off = np.max(np.abs(got.astype(np.float64) - wanted))
            check(off <= limit, f'{self.name}: request {request} is off by {off:.3g} of {limit:.3g}')
            arrays.append(got)
        check(at == len(output), f'{self.name}: {len(output)} bytes, {at} wanted')
        return arrays


def voice(number):
    """A voice-like sum of tones, and the state of a network that heard nothing yet."""
    time = np.arange(VOICE_SAMPLES) / 16000
    tones = [np.sin(2 * np.pi * (110 + 20 * number) * k * time) / k for k in range(1, 7)]
    noise = np.random.default_rng(number).normal(0, 0.05, VOICE_SAMPLES)
    wave = (0.3 * np.sum(tones, axis=0) + noise).astype(np.float32)
    return [wave[None], np.zeros(VOICE_STATE, dtype=np.float32)]


def make_models(folder):
    pictures = [reading.draw(lines) for lines in LINES]
    side = DETECTOR_SIDE
    views = [reading.as_input(reading.resized(one, side, side)) for one in pictures]

    def make(name, requests):
        return Model(folder, name, *reading.MODELS[name], [[one] for one in requests])

    detection = make('ocr_detection', [reading.as_input(one) for one in pictures])
    # Where the text is, by ONNX Runtime: ask() holds the served answers to the same.
    lines = [one[top:bottom, left:right] for one, (text,) in zip(pictures, detection.answers)
             for top, left, bottom, right in reading.boxes(text)]
    wide = reading.DIRECTION_COLUMNS
    direction = make('ocr_direction', [reading.line_as_input(one, wide) for one in lines])
    upright = [one[::-1, ::-1] if reading.is_upside_down(answer.ravel()) else one
               for one, (answer,) in zip(lines, direction.answers)]
    wide = reading.LINE_COLUMNS
    recognition = make('ocr_recognition', [reading.line_as_input(one, wide) for one in upright])
    types = make('magika', [reading.file_as_input(os.path.join(ROOT, one)) for one in FILES])
    bodies = Model(folder, 'nudenet', 'nudenet/320n.onnx', f'images=Nx3x{side}x{side}',
                   [[one] for one in views])
    speech = Model(folder, 'silero_vad', 'silero_vad/data/silero_vad_openvino_16k.onnx', None,
                   [voice(number) for number in range(3)], '1')
    return [detection, direction, recognition, types, bodies, speech]


def check_meaning(models, peer):
    _, _, recognition, types, *_ = models
    characters = reading.alphabet(os.path.join(PACKAGES, reading.MODELS['ocr_recognition'][0]))
    texts = [reading.text_of(recognition.ask(peer, request)[0], characters)[0]
             for request in range(len(recognition.inputs))]
    check(texts == [line for lines in LINES for line in lines], f'{texts} was read')
    names = reading.file_types(PACKAGES)
    for request, (path, wanted) in enumerate(FILES.items()):
        named = names[types.ask(peer, request)[0].argmax()]
        check(named == wanted, f'{path} was taken for {named}')


def ask_all(address, models, wrong, counted):
    try:
        with Peer(address) as peer:
            for model in models:
                for request in range(len(model.inputs)):
                    model.ask(peer, request)
                    counted.append(model.name)
    except Exception as error:  # a thread's end must be seen
        wrong.append(f'{type(error).__name__}: {error}')


def trained_models(new_cluster):
    cluster = new_cluster(workers=1)
    models = make_models(cluster.folder)
    cluster.start_all()
    with Peer(cluster.controller_address) as peer:
        for model in models:
            model.load(peer)
        check_meaning(models, peer)
    wrong, counted = [], []
    threads = [threading.Thread(target=ask_all,
                                args=(cluster.controller_address, models, wrong, counted))
               for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, f'{wrong[:1]}')
    telemetry = cluster.stop()
    asked_alone = len(models[2].inputs) + len(models[3].inputs)
    telemetry.check_requests(asked_alone + len(counted))
    check(all(row.result == RESULT_SUCCESS for row in telemetry.requests), 'a request failed')
    check({row.model_id for row in telemetry.of(ACTION_INFER)} == {one.id for one in models},
          'a model was never executed')
    check(any(row.batch_size > 1 for row in telemetry.of(ACTION_INFER)), 'there were no batches')
    print(f'{len(models)} trained models, {len(telemetry.requests)} requests: all as ONNX Runtime')


def the_demo(new_cluster):
    """`make demo-cpu`, shorter: what it says was read, and its table of predictions."""
    cluster = new_cluster(workers=0)
    while True:
        port = int(free_address(1).rsplit(':', 1)[1])
        if port < 65535:
            break
    done = subprocess.run(
        [sys.executable, '-B', os.path.join(ROOT, 'scripts', 'demo_cpu.py')], capture_output=True,
        text=True, env=program_environment(
            CLOCKWORK_BUILD=build_folder(), DEMO_REQUESTS='10', DEMO_OUT=cluster.folder,
            DEMO_SLO_MS=str(SLO_S * 1000), DEMO_PORT_BASE=str(port)))
    check(done.returncode == 0 and not done.stderr, f'{done.returncode}: {done.stdout[-600:]}')
    for text in (*(f'"{line}"' for line in reading.TEXT_LINES), 'README.md: markdown',
                 f'{10 * len(reading.MODELS)} requests, 100.00% within'):
        check(text in done.stdout, f'{text} is not in: {done.stdout}')
    check(all(f'\n  {name} ' in done.stdout for name in reading.MODELS), f'{done.stdout[-900:]}')


if __name__ == '__main__':
    if not os.path.exists(os.path.join(VENV, 'made-from')):
        print("skipped: PyPI's packages with trained models are not there; run make setup-zoo")
        sys.exit(77)
    run([trained_models, the_demo], CpuCluster)
