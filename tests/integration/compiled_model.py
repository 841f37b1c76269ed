"""A model compiled from an ONNX file and loaded through a controller, for tests that compare its answers."""
import os
import subprocess

from cluster import RESULT_SUCCESS, build_folder, check, program_environment
from wire import FIELDS, LOAD_ANSWER, LOAD_REQUEST, decode, message

SLO_S = 50  # a request's, where the test is not about time


class CompiledModel:
    def __init__(self, folder, name, onnx_path, *words):
        """`words` are compile_model's."""
        self.name = name
        self.path = os.path.join(folder, name)
        self.id = self.execute_s = None  # once loaded
        subprocess.run([os.path.join(build_folder(), 'compile_model'), onnx_path, '-o', self.path,
                        *words], check=True, stdout=subprocess.DEVNULL, env=program_environment())

    def load(self, peer):
        meta, _ = peer.ask(message(LOAD_REQUEST, 1, 1, self.path.encode()), LOAD_ANSWER)
        (_, result, self.id, *_, execute_ns, text), _ = decode(FIELDS[LOAD_ANSWER], meta)
        check(result == RESULT_SUCCESS, f'{self.path} was not loaded: {text}')
        self.execute_s = execute_ns / 1e9

    def infer(self, peer, content):
        """Result and output's bytes."""
        return peer.infer(self.id, content, slo_factor=SLO_S / self.execute_s)
