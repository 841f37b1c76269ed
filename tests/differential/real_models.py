"""Trained models from packages of PyPI (zoo/requirements-models.txt), beside ONNX Runtime.

    real_models.py [NAME...] [--processes N]

Optical character recognition, a detector of bodies, file types, and speech.
"""

import argparse
import concurrent.futures
import os
import sys
from dataclasses import dataclass

import numpy as np
import onnx

from report import Report
from subject import FAILED, OK, Subject, Unsupported, Wrong, onnx_runtime

MODELS = os.path.join(os.path.dirname(os.path.dirname(sys.executable)), "models")
SEED = 1
PROBABILITY = 1e-7  # ONNX Runtime's sigmoid gives 0 and 1 earlier than the exact one


@dataclass(frozen=True)
class Real:
    path: str  # below MODELS
    make: object  # (random, batch) to arrays in the order of the model's inputs
    shapes: tuple = ()  # for the compiler's --shape
    batches: tuple = (1, 2)  # () for a model without a batch


def picture(rows, columns):
    """Rectangles of random colours on a gradient, in [-1, 1]: edges and flat parts, as pictures have."""

    def make(random, batch):
        result = np.empty((batch, 3, rows, columns), dtype=np.float32)
        result[:] = np.linspace(-1, 1, columns, dtype=np.float32)
        for one in result:
            for _ in range(24):
                top, left = random.integers(rows), random.integers(columns)
                height, width = random.integers(2, rows // 2), random.integers(2, columns // 2)
                colour = random.uniform(-1, 1, (3, 1, 1))
                one[:, top : top + height, left : left + width] = colour
        return [result]

    return make


def bytes_of_files(random, batch):
    """The begin and the end of a file as numbers, 256 where there is none."""
    result = random.integers(32, 127, (batch, 2048)).astype(np.int32)
    result[:, 1500:] = 256
    return [result]


def sound(count):
    """Windows of a voice-like sum of tones, and the state of a network that heard nothing yet."""
    time = np.arange(576) / 16000
    tones = [np.sin(2 * np.pi * 120 * (k + 1) * time) / (k + 1) for k in range(6)]
    wave = np.sum(tones, axis=0, dtype=np.float64)

    def make(random, _):
        noise = random.normal(0, 0.05, (count, 576))
        windows = (0.3 * wave + noise).astype(np.float32)
        if count == 1:
            return [windows, np.zeros((2, 1, 128), dtype=np.float32)]
        state = np.zeros((1, 1, 128), dtype=np.float32)
        return [windows, state, state]

    return make


REAL = {
    "ocr_detection": Real(
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", picture(160, 160),
        ("x=Nx3x160x160",),
    ),
    "ocr_direction": Real(
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", picture(48, 192),
        ("x=Nx3x48x192",),
    ),
    "ocr_recognition": Real(
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", picture(48, 160),
        ("x=Nx3x48x160",),
    ),
    "nudenet": Real("nudenet/320n.onnx", picture(320, 320), ("images=Nx3x320x320",)),
    "magika": Real("magika/models/standard_v3_3/model.onnx", bytes_of_files),
    "silero_vad": Real(
        "silero_vad/data/silero_vad_openvino_16k.onnx", sound(1), (), (),
    ),
    "silero_vad_sequence": Real(
        "silero_vad/data/silero_vad_16k_sequence.onnx", sound(8), ("input=8x576",), (),
    ),
}


def try_model(name):
    real = REAL[name]
    path = os.path.join(MODELS, real.path)
    subject = Subject()
    try:
        model = onnx.load(path)
        random = np.random.default_rng(SEED)
        inputs = real.make(random, max(real.batches, default=1))
        subject.compile(path, real.batches or (1,), real.shapes)
        for batch in real.batches or (0,):
            batched = batch > 0
            fed = [array[:batch] for array in inputs] if batched else inputs
            wanted = onnx_runtime(model, fed)
            subject.check(fed, wanted, max(batch, 1), batched, absolute=PROBABILITY)
        return name, OK, ""
    except Unsupported as refusal:
        return name, FAILED, f"refused: {refusal}"
    except Wrong as error:
        return name, FAILED, str(error)
    finally:
        subject.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *REAL], metavar="NAME")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    report = Report()
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        for name, outcome, text in pool.map(try_model, options.names or REAL):
            report.add("trained models", name, outcome, text)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
