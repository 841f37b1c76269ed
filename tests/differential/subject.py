"""What the differential tests try: a model is compiled and run, and its answers are compared.

A package is run in two ways: with the reference kernels, and by the CPU backend as a worker runs it.
One `Subject` has one scratch folder and serves one thread or process.
"""

import os
import re
import shutil
import subprocess
import tempfile

import numpy as np
import onnx

# A compilation or a run of a test's model that takes longer hangs.
SECONDS_MAX = 300

# Of the greatest magnitude in an output.
RELATIVE = 1e-4

EXIT_USAGE = 2

# How a refusal ends that comes from plan_check(): the compiler made a plan that it must not make.
OWN_PLAN_REFUSED = re.compile(r"\(at '[^']*', batch size [1-9][0-9]*\)$")

PAGE_BYTES = 16 << 20

REFERENCE, CPU = "reference", "cpu"

OK, UNSUPPORTED, FAILED = "passed", "unsupported", "failed"


def runnable():
    """The ways in which this machine can run a package; the CPU backend asks for AVX2."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        has_avx2 = "avx2" in file.read().split()
    return (REFERENCE, CPU) if has_avx2 else (REFERENCE,)


def program(name):
    folder = os.path.abspath(os.environ.get("CLOCKWORK_BUILD") or "build")
    return os.path.join(folder, name)


class Unsupported(Exception):
    """The compiler refused the model, in one line."""


class Wrong(Exception):
    """Anything that must not be."""


class Subject:
    def __init__(self):
        # Packages are whole pages of 16 MiB: not worth a disk's time.
        shared_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.mkdtemp(prefix="clockwork-differential-", dir=shared_memory)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def compile(self, model, batches=(1,), shapes=()):
        """`model` is a message or a path. The package is the one that run() then runs."""
        path = model
        if isinstance(model, onnx.ModelProto):
            path = self.path("model.onnx")
            with open(path, "wb") as file:
                file.write(model.SerializeToString())
        shutil.rmtree(self.path("package"), ignore_errors=True)
        command = [program("compile_model"), path, "-o", self.path("package")]
        command += ["--batch", ",".join(str(size) for size in batches)]
        for shape in shapes:
            command += ["--shape", shape]
        try:
            run(command)
        except Refused as refusal:
            if OWN_PLAN_REFUSED.search(str(refusal)):
                raise Wrong(f"the compiler's own plan is refused: {refusal}") from refusal
            raise Unsupported(str(refusal)) from refusal

    def check(self, inputs, wanted, batch=1, batched=True, relative=RELATIVE, absolute=0.0, backends=()):
        """Runs the package in each of the ways and compares: Wrong where an answer is not `wanted`. How far the
        answers were off at worst, by backend, as worst_error() has it. `inputs`, `wanted`: arrays, the batch in front.
        """
        shapes = [(np.asarray(array).shape, np.asarray(array).dtype) for array in wanted]
        worst = {}
        for backend in backends or runnable():
            got = self.run([np.asarray(array) for array in inputs], shapes, batch, batched, backend)
            text = difference(got, wanted, relative, absolute)
            if text:
                raise Wrong(f"{backend}, batch {batch}: {text}")
            worst[backend] = worst_error(got, wanted)
        return worst

    def run(self, inputs, outputs, batch=1, batched=True, backend=REFERENCE):
        """`inputs`: arrays, the batch in front; `outputs`: (shape, dtype) of what is expected."""
        with open(self.path("input"), "wb") as file:
            for request in range(batch):
                for array in inputs:
                    part = array[request] if batched else array
                    file.write(np.ascontiguousarray(part).tobytes())
        package = self.path("package")
        if backend == REFERENCE:
            command = [program("run_package"), package]
        else:
            # Layouts of the backend's own may want more pages than the package has.
            pages = 2 * (os.path.getsize(os.path.join(package, "model.weights")) // PAGE_BYTES) + 2
            command = [program("check_model"), package, "--backend", backend, "--seconds", "0"]
            command += ["--pages", str(pages)]
        command += ["--batch", str(batch)]
        command += ["--input", self.path("input"), "--output", self.path("output")]
        try:
            run(command)
        except Refused as refusal:
            raise Wrong(str(refusal)) from refusal
        with open(self.path("output"), "rb") as file:
            content = file.read()
        return split(content, outputs, batch, batched)


def split(content, outputs, batch, batched):
    """The arrays that an output file holds."""
    parts = [[] for _ in outputs]
    at = 0
    for _ in range(batch):
        for index, (shape, dtype) in enumerate(outputs):
            shape = shape[1:] if batched else shape
            count = int(np.prod(shape, dtype=np.int64))
            bytes_count = count * np.dtype(dtype).itemsize
            part = content[at : at + bytes_count]
            if len(part) != bytes_count:
                raise Wrong(f"{len(content)} bytes of output, which is too few for {outputs}")
            parts[index].append(np.frombuffer(part, dtype).reshape(shape))
            at += bytes_count
    if at != len(content):
        raise Wrong(f"{len(content)} bytes of output, {at} wanted for {outputs}")
    return [np.stack(part) if batched else part[0] for part in parts]


class Refused(Exception):
    pass


def run(command):
    """Refused: exit status 2 with its one line. Wrong: any other end, or more lines than one."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"{os.path.basename(command[0])} took over {SECONDS_MAX} s") from None
    lines = done.stderr.strip().splitlines()
    if done.returncode == EXIT_USAGE and len(lines) == 1:
        raise Refused(lines[0])
    if done.returncode:
        said = " | ".join(lines) or "nothing"
        raise Wrong(f"{os.path.basename(command[0])} ended with {done.returncode} and said {said}")


def difference(got, wanted, relative=RELATIVE, absolute=0.0):
    """What is wrong in one line, "" if nothing; integers have to be equal."""
    for index, (ours, theirs) in enumerate(zip(got, wanted)):
        theirs = np.asarray(theirs)
        if ours.shape != theirs.shape:
            return f"output {index} has shape {ours.shape}, wanted {theirs.shape}"
        if theirs.dtype.kind != "f":
            wrong = ours != theirs
        else:
            ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
            wrong = differs(ours, theirs, relative, absolute)
        if np.any(wrong):
            at = tuple(int(i) for i in np.argwhere(np.atleast_1d(wrong))[0])
            a, b = np.atleast_1d(ours)[at], np.atleast_1d(theirs)[at]
            return (
                f"output {index}: {np.count_nonzero(wrong)} of {wrong.size} differ,"
                f" first {at}: {a:.9g}, wanted {b:.9g}"
            )
    return ""


def differs(ours, theirs, relative, absolute):
    finite = np.isfinite(theirs)
    scale = np.max(np.abs(theirs[finite]), initial=0.0)
    close = np.abs(np.where(finite, ours, 0) - np.where(finite, theirs, 0))
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return ~np.where(finite, close <= absolute + relative * scale, same)


def worst_error(got, wanted):
    """The greatest difference, of the greatest magnitude in its output; integers and what is infinite left out."""
    worst = 0.0
    for ours, theirs in zip(got, wanted):
        theirs = np.asarray(theirs)
        finite = np.isfinite(theirs) if theirs.dtype.kind == "f" else np.zeros(theirs.shape, bool)
        scale = np.max(np.abs(theirs[finite]), initial=0.0)
        if scale > 0:
            off = np.abs(ours[finite].astype(np.float64) - theirs[finite])
            worst = max(worst, float(np.max(off)) / float(scale))
    return worst


def onnx_runtime(model, inputs):
    """What ONNX Runtime answers to arrays in the order of the model's inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs)))
