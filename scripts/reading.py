"""What the demo's trained models take and what their answers mean: reading text in pictures, naming types of files.

The models are those of rapidocr-onnxruntime and magika (zoo/requirements-models.txt). A picture is an array
(rows, columns, 3) of bytes, an input the float32 or int32 array of one request.
"""

import json
import os

import numpy as np

TEXT_LINES = ("Every request has a deadline", "No request is served late", "Clockwork, 42 models")
PICTURE_ROWS, PICTURE_COLUMNS = 256, 480
LINE_ROWS, LINE_COLUMNS = 48, 320
DIRECTION_COLUMNS = 192

# name, file below the folder of packages, what compile_model's --shape gets
MODELS = {
    "ocr_detection": (
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        f"x=Nx3x{PICTURE_ROWS}x{PICTURE_COLUMNS}",
    ),
    "ocr_direction": (
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        f"x=Nx3x{LINE_ROWS}x{DIRECTION_COLUMNS}",
    ),
    "ocr_recognition": (
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        f"x=Nx3x{LINE_ROWS}x{LINE_COLUMNS}",
    ),
    "magika": ("magika/models/standard_v3_3/model.onnx", None),
}

TEXT_PROBABILITY = 0.3  # above it a pixel belongs to text, as the detector was trained
CELL = 4  # pixels a side, in which neighbouring text is joined
CELLS_MIN = 6
GAP = 3  # cells between words of a line
# The detector marks text shrunken; grown again by so much of area / circumference.
GROWTH = 1.6

FILE_PART_BYTES = 1024
FILE_BLOCK_BYTES = 4096
NO_BYTE = 256


# --- pictures ------------------------------------------------------------------------------------


def draw(lines=TEXT_LINES, upside_down=1):
    """Lines of dark text on a light slope; line number `upside_down` stands on its head."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dots = 100
    figure = Figure(figsize=(PICTURE_COLUMNS / dots, PICTURE_ROWS / dots), dpi=dots)
    canvas = FigureCanvasAgg(figure)
    slope = np.linspace(0.75, 1.0, PICTURE_COLUMNS)[None, :, None] * np.array([1.0, 0.98, 0.92])
    figure.figimage(np.broadcast_to(slope, (PICTURE_ROWS, PICTURE_COLUMNS, 3)))
    for index, line in enumerate(lines):
        figure.text(
            0.5,
            1 - (index + 0.5) / len(lines),
            line,
            size=17,
            color=(0.1, 0.1, 0.25),
            ha="center",
            va="center",
            rotation=180 if index == upside_down else 0,
        )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def resized(picture, rows, columns):
    """Bilinear, pixels as areas."""

    def along(count, wanted):
        at = np.clip((np.arange(wanted) + 0.5) * count / wanted - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, count - 1), at - low

    top, bottom, down = along(picture.shape[0], rows)
    left, right, across = along(picture.shape[1], columns)
    picture = picture.astype(np.float32)
    down, across = down[:, None, None], across[None, :, None]
    upper = picture[top][:, left] * (1 - across) + picture[top][:, right] * across
    lower = picture[bottom][:, left] * (1 - across) + picture[bottom][:, right] * across
    return upper * (1 - down) + lower * down


def as_input(picture):
    """Channels first, in [-1, 1]."""
    scaled = picture.astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


def line_as_input(picture, columns_max):
    """One line of text, as high as its models want it, with nothing behind it."""
    rows, columns = picture.shape[:2]
    wanted = min(columns_max, max(1, round(columns * LINE_ROWS / rows)))
    result = np.zeros((3, LINE_ROWS, columns_max), dtype=np.float32)
    result[:, :, :wanted] = as_input(resized(picture, LINE_ROWS, wanted))
    return result


def boxes(probabilities):
    """(top, left, bottom, right) of each text in what the detector answers, from the top down."""
    is_text = probabilities.reshape(PICTURE_ROWS, PICTURE_COLUMNS) > TEXT_PROBABILITY
    cells = is_text.reshape(PICTURE_ROWS // CELL, CELL, PICTURE_COLUMNS // CELL, CELL).any((1, 3))
    found = []
    left_over = {(int(row), int(column)) for row, column in np.argwhere(cells)}
    while left_over:
        group, waiting = [], [left_over.pop()]
        while waiting:
            row, column = waiting.pop()
            group.append((row, column))
            around = {(row + i, column + j) for i in (-1, 0, 1) for j in range(-GAP, GAP + 1)}
            waiting += around & left_over
            left_over -= around
        if len(group) >= CELLS_MIN:
            found.append(grown(np.array(group) * CELL))
    return sorted(found)


def grown(corners):
    top, left = corners.min(0)
    bottom, right = corners.max(0) + CELL
    height, width = bottom - top, right - left
    by = round(GROWTH * height * width / (2 * (height + width)))
    return (
        max(0, int(top) - by),
        max(0, int(left) - by),
        min(PICTURE_ROWS, int(bottom) + by),
        min(PICTURE_COLUMNS, int(right) + by),
    )


def is_upside_down(answer):
    """Of the direction's two probabilities: 0 and 180 degrees."""
    upright, turned = np.asarray(answer, dtype=np.float32)
    return turned > upright


def alphabet(path):
    """The characters of the recognition's classes, from the model's own file."""
    with open(path, "rb") as file:
        content = file.read()
    for field, value in messages(content):
        if field == 14:  # ModelProto.metadata_props
            entry = dict(messages(value))
            if entry.get(1) == b"character":
                return ["", *entry[2].decode().splitlines(), " "]
    raise ValueError(f"{path}: has no list of characters")


def messages(content):
    """(field, bytes) of a protobuf message's fields of variable length."""

    def varint(at):
        result = shift = 0
        while True:
            byte = content[at]
            result |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return result, at

    at = 0
    while at < len(content):
        tag, at = varint(at)
        if tag & 7 == 2:
            count, at = varint(at)
            yield tag >> 3, content[at : at + count]
            at += count
        elif tag & 7 == 0:
            _, at = varint(at)
        else:
            at += 4 if tag & 7 == 5 else 8


def text_of(answer, characters):
    """(text, how sure): the likeliest class of each step, repeats and blanks dropped."""
    steps = np.asarray(answer, dtype=np.float32).reshape(-1, len(characters))
    classes = steps.argmax(1)
    kept = (classes != 0) & np.concatenate([[True], classes[1:] != classes[:-1]])
    sure = float(steps.max(1)[kept].mean()) if kept.any() else 0.0
    return "".join(characters[one] for one in classes[kept]).strip(), sure


# --- types of files ------------------------------------------------------------------------------


def file_as_input(path):
    """Begin and end of a file's content, as numbers; NO_BYTE where there is none."""
    with open(path, "rb") as file:
        begin = file.read(FILE_BLOCK_BYTES).lstrip()[:FILE_PART_BYTES]
        file.seek(max(0, os.path.getsize(path) - FILE_BLOCK_BYTES))
        end = file.read().rstrip()[-FILE_PART_BYTES:]
    result = np.full(2 * FILE_PART_BYTES, NO_BYTE, dtype=np.int32)
    result[: len(begin)] = np.frombuffer(begin, np.uint8)
    result[2 * FILE_PART_BYTES - len(end) :] = np.frombuffer(end, np.uint8)
    return result


def file_types(models):
    path = os.path.join(models, "magika/models/standard_v3_3/config.min.json")
    with open(path, encoding="utf-8") as file:
        return json.load(file)["target_labels_space"]
