"""What ONNX Runtime answers: for tests that themselves run without it.

    onnx_answers.py MODEL.onnx INPUTS.npz ANSWERS.npz

INPUTS has arrays R.I: input I, in the model's order, of request R; ANSWERS gets R.O.
"""

import sys

import numpy as np

from subject import onnx_runtime


def main():
    model, inputs_path, answers_path = sys.argv[1:]
    inputs = np.load(inputs_path)
    answers = {}
    requests = 1 + max(int(name.split(".")[0]) for name in inputs.files)
    for request in range(requests):
        names = sorted(name for name in inputs.files if name.startswith(f"{request}."))
        for index, array in enumerate(onnx_runtime(model, [inputs[name] for name in names])):
            answers[f"{request}.{index}"] = array
    np.savez(answers_path, **answers)


if __name__ == "__main__":
    main()
