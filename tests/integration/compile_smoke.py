"""compile_model as a user meets it: plans as they were before, weights beside the model, damaged files.

    compile_smoke.py                              what is quick
    compile_smoke.py more_than_two_gigabytes      three gigabytes of disk and half a minute
    compile_smoke.py --write-golden               tests/golden/plans anew: look at the difference

A plan that changes is no fault, but it must not change unnoticed: a golden file is `--print` of a small model.
"""
import os
import struct
import subprocess
import sys
import time

from cluster import build_folder, check, program_environment, run

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))

from onnx_file import external, floats, integers, model, node, port, tensor  # noqa: E402

GOLDEN = os.path.join(ROOT, 'tests', 'golden', 'plans')
BATCHES = '1,2'
# A refusal must not depend on how much a file claims to hold.
SECONDS_MAX = 30


# ---- small models -----------------------------------------------------------------------------------

def batch_norm(x, y, channels, tag):
    names = [f'{tag}_{part}' for part in ('scale', 'shift', 'mean', 'variance')]
    return (node('BatchNormalization', [x, *names], [y]),
            [floats(name, (channels,), 0.5 + i) for i, name in enumerate(names)])


def residual_block():
    """Two convolutions with batch normalisation, a shortcut and activations: all but two operations fold."""
    first, first_tensors = batch_norm('c1', 'n1', 8, 'one')
    second, second_tensors = batch_norm('c2', 'n2', 8, 'two')
    return model(
        [node('Conv', ['x', 'w1'], ['c1'], kernel_shape=(3, 3), pads=(1, 1, 1, 1)), first,
         node('Relu', ['n1'], ['r1']),
         node('Conv', ['r1', 'w2'], ['c2'], kernel_shape=(3, 3), pads=(1, 1, 1, 1)), second,
         node('Add', ['n2', 'x'], ['s']), node('Relu', ['s'], ['y'])],
        [floats('w1', (8, 8, 3, 3)), floats('w2', (8, 8, 3, 3), 1), *first_tensors, *second_tensors],
        [port('x', ('N', 8, 6, 6))], [port('y', ('N', 8, 6, 6))])


def separable_with_hard_swish():
    """A depthwise convolution, a hard swish spelled out, a squeeze and excitation."""
    return model(
        [node('Conv', ['x', 'w'], ['c'], group=8, kernel_shape=(3, 3), pads=(1, 1, 1, 1)),
         node('Add', ['c', 'three'], ['a']), node('Clip', ['a', 'zero', 'six'], ['k']),
         node('Mul', ['c', 'k'], ['m']), node('Div', ['m', 'six'], ['h']),
         node('GlobalAveragePool', ['h'], ['g']), node('Conv', ['g', 'v', 'b'], ['e']),
         node('Sigmoid', ['e'], ['q']), node('Mul', ['h', 'q'], ['y'])],
        [floats('w', (8, 1, 3, 3)), floats('v', (8, 8, 1, 1)), floats('b', (8,)),
         floats('three', (), 3), floats('zero', (), 0), floats('six', (), 6)],
        [port('x', ('N', 8, 6, 6))], [port('y', ('N', 8, 6, 6))])


def layer_norm_and_gelu():
    """As exporters of before operator set 17 spell them out."""
    return model(
        [node('ReduceMean', ['x'], ['mean'], axes=(-1,)), node('Sub', ['x', 'mean'], ['d']),
         node('Pow', ['d', 'two'], ['p']), node('ReduceMean', ['p'], ['v'], axes=(-1,)),
         node('Add', ['v', 'epsilon'], ['e']), node('Sqrt', ['e'], ['r']),
         node('Div', ['d', 'r'], ['n']), node('Mul', ['n', 'scale'], ['m']),
         node('Add', ['m', 'shift'], ['l']), node('MatMul', ['l', 'w'], ['t']),
         node('Add', ['t', 'b'], ['u']), node('Div', ['u', 'root'], ['k']), node('Erf', ['k'], ['f']),
         node('Add', ['f', 'one'], ['g']), node('Mul', ['u', 'g'], ['h']),
         node('Mul', ['h', 'half'], ['y'])],
        [floats('two', (), 2), floats('epsilon', (), 1e-5), floats('scale', (8,), 1),
         floats('shift', (8,)), floats('w', (8, 16)), floats('b', (16,)),
         floats('root', (), 2 ** 0.5), floats('one', (), 1), floats('half', (), 0.5)],
        [port('x', ('N', 4, 8))], [port('y', ('N', 4, 16))])


def attention():
    """Heads split, scaled products, softmax, heads joined."""
    def heads(name):
        return [node('MatMul', ['x', f'w{name}'], [f'm{name}']),
                node('Reshape', [f'm{name}', 'split'], [f'r{name}'])]
    return model(
        [*heads('q'), *heads('k'), *heads('v'),
         node('Transpose', ['rq'], ['q'], perm=(0, 2, 1, 3)),
         node('Transpose', ['rk'], ['k'], perm=(0, 2, 3, 1)),
         node('Transpose', ['rv'], ['v'], perm=(0, 2, 1, 3)), node('MatMul', ['q', 'k'], ['s']),
         node('Mul', ['s', 'scale'], ['z']), node('Softmax', ['z'], ['p'], axis=-1),
         node('MatMul', ['p', 'v'], ['o']), node('Transpose', ['o'], ['t'], perm=(0, 2, 1, 3)),
         node('Reshape', ['t', 'join'], ['y'])],
        [floats('wq', (8, 8)), floats('wk', (8, 8), 1), floats('wv', (8, 8), 2),
         floats('scale', (), 0.5), integers('split', 0, 4, 2, 4), integers('join', 0, 4, 8)],
        [port('x', ('N', 4, 8))], [port('y', ('N', 4, 8))])


def branches():
    """What is cut apart and joined again, pooled and resized: moves that should cost nothing, and some that do."""
    return model(
        [node('Split', ['x', 'halves'], ['a', 'b'], axis=1),
         node('Conv', ['b', 'w'], ['c'], kernel_shape=(1, 1)), node('Relu', ['c'], ['r']),
         node('MaxPool', ['r'], ['p'], kernel_shape=(2, 2), strides=(2, 2)),
         node('Resize', ['p', '', 'scales'], ['u'], mode='nearest'),
         node('Concat', ['a', 'r', 'u'], ['y'], axis=1)],
        [integers('halves', 8, 8), floats('w', (8, 8, 1, 1)),
         tensor('scales', (4,), struct.pack('<4f', 1, 1, 2, 2))],
        [port('x', ('N', 16, 6, 6))], [port('y', ('N', 24, 'h', 'w'))])


def shapes_computed():
    """A shape that the model computes, and branches of constants: nothing of it is left in the plan."""
    return model(
        [node('Shape', ['x'], ['s']), node('Gather', ['s', 'zero'], ['n'], axis=0),
         node('Unsqueeze', ['n', 'axis'], ['u']), node('Concat', ['u', 'rest'], ['shape'], axis=0),
         node('Reshape', ['x', 'shape'], ['f']), node('Mul', ['c', 'c'], ['k']),
         node('Gemm', ['f', 'k', 'b'], ['y'], transB=1)],
        [tensor('zero', (), struct.pack('<q', 0), 7), integers('axis', 0), integers('rest', 24),
         floats('c', (5, 24)), floats('b', (5,))],
        [port('x', ('N', 2, 3, 4))], [port('y', ('N', 5))])


MODELS = (residual_block, separable_with_hard_swish, layer_norm_and_gelu, attention, branches,
          shapes_computed)


# ---- running ----------------------------------------------------------------------------------------

def call(program, *words):
    begin = time.monotonic()
    done = subprocess.run([os.path.join(build_folder(), program), *words], capture_output=True,
                          text=True, errors='replace', env=program_environment())
    return done, time.monotonic() - begin


def compiled(path, *words):
    done, _ = call('compile_model', path, *words)
    check(done.returncode == 0 and not done.stderr, f'{path}: {done.returncode}, {done.stderr}')
    return done.stdout


def check_refused(path, *named, words=()):
    done, seconds = call('compile_model', path, '-o', f'{path}.package', *words)
    lines = done.stderr.splitlines()
    check(done.returncode == 2, f'{path}: exit code {done.returncode}, {done.stderr!r}')
    check(len(lines) == 1 and not done.stdout, f'{path}: not one line: {done.stderr!r}')
    check(all(name in lines[0] for name in named), f'{path}: {lines[0]!r} does not name {named}')
    check(not os.path.exists(f'{path}.package'), f'{path}: left a package behind')
    check(seconds < SECONDS_MAX, f'{path}: refused after {seconds:.0f} s')


def write(folder, name, content):
    path = os.path.join(folder, name)
    with open(path, 'wb') as file:
        file.write(content)
    return path


def plan_of(folder, make):
    path = write(folder, f'{make.__name__}.onnx', make())
    return compiled(path, '--print', '--batch', BATCHES)


# ---- scenarios --------------------------------------------------------------------------------------

def golden_plans(new_cluster):
    folder = new_cluster(workers=0).folder
    for make in MODELS:
        with open(os.path.join(GOLDEN, f'{make.__name__}.txt'), encoding='ascii') as file:
            wanted = file.read()
        got = plan_of(folder, make)
        if got != wanted:
            pairs = zip(got.splitlines() + [''], wanted.splitlines() + [''])
            ours, theirs = next((a, b) for a, b in pairs if a != b)
            check(False, f'{make.__name__}: the plan has changed; if it should, write the golden files anew'
                         f' with make golden.\n  now:    {ours}\n  golden: {theirs}')
    check({name.removesuffix('.txt') for name in os.listdir(GOLDEN)} ==
          {make.__name__ for make in MODELS}, f'{GOLDEN}: a file without a model')


def product(weights):
    return model([node('MatMul', ['x', 'w'], ['y'])], [weights], [port('x', ('N', 4))],
                 [port('y', ('N', 2))])


def external_data(new_cluster):
    """Weights in a file beside the model are the weights in the model; also in a folder below, at an offset."""
    folder = new_cluster(workers=0).folder
    weights = struct.pack('<8f', *range(8))
    os.mkdir(os.path.join(folder, 'below'))
    write(folder, 'weights.bin', weights)
    write(folder, 'below/weights.bin', b'\xff' * 4096 + weights + b'\xff' * 100)
    packages = []
    for name, where in (('inside', None), ('beside', {'location': 'weights.bin'}),
                        ('below', {'location': 'below/weights.bin', 'offset': 4096, 'length': 32})):
        one = external('w', (4, 2), **where) if where else tensor('w', (4, 2), weights)
        path = write(folder, f'{name}.onnx', product(one))
        compiled(path, '-o', f'{path}.package', '--name', 'product', '--batch', '1')
        packages.append([])
        for part in ('model.plan', 'model.weights'):
            with open(os.path.join(f'{path}.package', part), 'rb') as file:
                packages[-1].append(file.read())
    check(packages[0] == packages[1] == packages[2], 'external weights make another package')


def damaged_external_data(new_cluster):
    folder = new_cluster(workers=0).folder
    write(folder, 'weights.bin', struct.pack('<8f', *range(8)))
    os.mkdir(os.path.join(folder, 'models'))
    os.symlink('/dev/zero', os.path.join(folder, 'models', 'device'))
    os.mkfifo(os.path.join(folder, 'models', 'pipe'))
    write(folder, 'models/weights.bin', struct.pack('<8f', *range(8)))
    for number, (where, named) in enumerate((
            ({'location': 'lost.bin'}, 'lost.bin'),
            ({'location': '../weights.bin'}, '../weights.bin'),
            ({'location': 'deep/../../weights.bin'}, 'weights.bin'),
            ({'location': '/etc/passwd'}, '/etc/passwd'),
            ({'location': '.'}, ''),
            ({'location': 'device'}, 'device'),
            ({'location': 'pipe'}, 'pipe'),
            ({'location': ''}, ''),
            ({}, ''),
            ({'location': 'weights.bin', 'offset': 4}, 'w'),
            ({'location': 'weights.bin', 'offset': 2 ** 63}, 'w'),
            ({'location': 'weights.bin', 'offset': -4}, 'w'),
            ({'location': 'weights.bin', 'offset': 'four'}, 'w'),
            ({'location': 'weights.bin', 'length': 64}, 'w'),
            ({'location': 'weights.bin', 'length': 16}, 'w'),
            ({'location': 'weights.bin', 'offset': 2 ** 64 - 16, 'length': 32}, 'w'))):
        path = write(folder, f'models/{number}.onnx', product(external('w', (4, 2), **where)))
        check_refused(path, named)


def damaged_files(new_cluster):
    """Cut off, torn, or huge: refused at once."""
    folder = new_cluster(workers=0).folder
    whole = residual_block()
    for name, content in (('empty', b''), ('text', b'no model at all\n' * 100),
                          ('cut', whole[:len(whole) // 2]), ('zeros', bytes(1000)),
                          ('length', whole[:3] + b'\xff' * 9 + b'\x01' + whole[3:])):
        check_refused(write(folder, f'{name}.onnx', content), f'{name}.onnx')
    path = write(folder, 'huge.onnx', whole)
    os.truncate(path, 3 << 30)  # sparse
    check_refused(path, 'huge.onnx')
    # Elements that no file of this size could hold.
    claims = product(tensor('w', (1 << 40, 1 << 20), b'1234'))
    check_refused(write(folder, 'claims.onnx', claims), "w")


def more_than_two_gigabytes(new_cluster):
    """Four products with 640 MB of weights each, all but a few of them 0 in a sparse file."""
    folder = new_cluster(workers=0).folder
    width, layers = 12800, 4
    layer_bytes = width * width * 4
    with open(os.path.join(folder, 'weights.bin'), 'wb') as file:
        file.truncate(layers * layer_bytes)
        for layer in range(layers):
            for row in range(16):  # row r of a layer sends x[r] to column r + 1, times layer + 2
                file.seek(layer * layer_bytes + (row * width + row + 1) * 4)
                file.write(struct.pack('<f', layer + 2))
    names = ['x', *(f't{i}' for i in range(1, layers)), 'y']
    path = write(folder, 'large.onnx', model(
        [node('MatMul', [names[i], f'w{i}'], [names[i + 1]]) for i in range(layers)],
        [external(f'w{i}', (width, width), location='weights.bin', offset=i * layer_bytes,
                  length=layer_bytes) for i in range(layers)],
        [port('x', ('N', width))], [port('y', ('N', width))]))
    compiled(path, '-o', f'{path}.package', '--batch', '1')
    size = os.path.getsize(os.path.join(f'{path}.package', 'model.weights'))
    check(size > 1 << 31, f'the package has only {size} bytes')
    numbers = [float(i + 1) for i in range(width)]
    write(folder, 'input', struct.pack(f'<{width}f', *numbers))
    for program, words in (('run_package', ()),
                           ('check_model', ('--backend', 'cpu', '--seconds', '0', '--pages', '400'))):
        done, seconds = call(program, f'{path}.package', '--input', os.path.join(folder, 'input'),
                             '--output', os.path.join(folder, 'output'), *words)
        check(done.returncode == 0, f'{program}: {done.returncode}, {done.stderr}')
        with open(os.path.join(folder, 'output'), 'rb') as file:
            got = struct.unpack(f'<{width}f', file.read())
        wanted = [0.0] * width
        for row in range(16 - layers + 1):
            wanted[row + layers] = numbers[row] * 2 * 3 * 4 * 5
        check(list(got) == wanted, f'{program}: {got[:24]}, wanted {wanted[:24]}')
        print(f'{program}: {size / 1e9:.2f} GB of weights, answered in {seconds:.0f} s')


def write_golden():
    os.makedirs(GOLDEN, exist_ok=True)
    for make in MODELS:
        with open(os.path.join(GOLDEN, f'{make.__name__}.txt'), 'w', encoding='ascii') as file:
            file.write(plan_of(os.path.join(build_folder()), make))
        os.remove(os.path.join(build_folder(), f'{make.__name__}.onnx'))


def folders_that_cannot_be(new_cluster):
    folder = new_cluster(workers=0).folder
    path = write(folder, 'model.onnx', residual_block())
    in_the_way = write(folder, 'file', b'')
    for output in (in_the_way, os.path.join(in_the_way, 'below'), '/dev/null/package', ''):
        done, _ = call('compile_model', path, '-o', output)
        lines = done.stderr.splitlines()
        check(done.returncode == 2 and len(lines) == 1 and '-o' in lines[0],
              f'-o {output!r}: exit code {done.returncode}, {done.stderr!r}')
    made = os.path.join(folder, 'some', 'folder')
    compiled(path, '-o', made, '--batch', '1')
    check(sorted(os.listdir(made)) == ['model.plan', 'model.weights'], f'{os.listdir(made)}')


def shapes_that_contradict(new_cluster):
    """What --shape says must fit the file, the model's inputs, and what it said before."""
    folder = new_cluster(workers=0).folder
    path = write(folder, 'model.onnx', model([node('Relu', ['x'], ['y'])], [], [port('x', ('N', 3, 'H'))],
                                             [port('y', ('N', 3, 'H'))]))
    for shapes, named in (((), '--shape x=1x3x?'), (('x=1x3',), '3 dimensions'), (('x=1x4x8',), 'fixes it at 3'),
                          (('z=1x3x8', 'x=1x3x8'), "'z'"), (('x=1x3x8', 'x=1x3x9'), 'twice')):
        check_refused(path, named, words=[word for shape in shapes for word in ('--shape', shape)])
    compiled(path, '-o', f'{path}.package', '--batch', '1', '--shape', 'x=1x3x8')


def shapes_for_an_input_file(new_cluster):
    """check_model lists inputs and outputs as compile_model does: from that a user makes an input file."""
    folder = new_cluster(workers=0).folder
    path = write(folder, 'model.onnx', residual_block())
    plan = compiled(path, '-o', f'{path}.package', '--print', '--batch', '1')
    done, _ = call('check_model', f'{path}.package', '--backend', 'cpu', '--seconds', '1')
    check(done.returncode == 0, f'check_model: {done.returncode}, {done.stderr}')
    ports = [line.split(' ', 1)[1] for line in plan.splitlines() if line.startswith(('input ', 'output '))]
    check(ports == ['x: float32 8x6x6 a request', 'y: float32 8x6x6 a request'], plan)
    for one in ports:
        check(f'    {one}, {8 * 6 * 6 * 4} bytes' in done.stdout.splitlines(), f'{one!r} is not in {done.stdout}')


if __name__ == '__main__':
    QUICK = [golden_plans, external_data, damaged_external_data, damaged_files, folders_that_cannot_be,
             shapes_that_contradict, shapes_for_an_input_file]
    if sys.argv[1:] == ['--write-golden']:
        write_golden()
    else:
        run(QUICK + [more_than_two_gigabytes] * ('more_than_two_gigabytes' in sys.argv))
