"""Finds and reads the controller's telemetry files, in blocks and by column.

Eight hours of the full experiment are 250 million request rows (17 GB of text), so nothing
here ever holds a whole file: a file is cut into byte ranges that start and end between rows,
a range is read in blocks, and of a block only the wanted columns become integers.  Memory is
a few blocks per process, whatever the size of the file.

A file may also hold blocks of columns (src/telemetry/columns.h; `simulate --columns`): the same rows
in a third of the bytes.

The files' contract (names of columns) is `columns.py`; their order is taken from each file's
own header row.  Everything that is wrong with a file is a `LogError`, whose text is one line
that names the file.
"""

import glob
import gzip
import io
import os
import re
import struct
from dataclasses import dataclass

import numpy
import pandas

from common.columns import ACTION_COLUMNS, REQUEST_COLUMNS

BLOCK_BYTES = 8 << 20
RANGE_BYTES = 256 << 20

COLUMNS_MAGIC = b"clockwork-columns 1\n"
COLUMNS_ROWS_MAX = 1 << 16

# action_type and result codes, as the controller writes them
LOAD, INFER, EVICT = 1, 2, 3
SUCCESS = 0


class LogError(Exception):
    """A telemetry file cannot be used; the text says which and why, in one line."""


@dataclass(frozen=True)
class Log:
    """One telemetry file: where it is, its columns in the file's order, where its rows begin."""

    path: str
    columns: tuple
    rows_begin: int
    size: int

    @property
    def is_compressed(self):
        return self.path.endswith(".gz")

    @property
    def has_columns(self):
        return self.path.endswith(".columns")

    def open(self):
        return gzip.open(self.path, "rb") if self.is_compressed else open(self.path, "rb")


@dataclass(frozen=True)
class Range:
    """Part of a log.  Both ends lie between rows; `end` None means to the end of the file."""

    log: Log
    begin: int
    end: int | None


def open_request_log(path):
    return _open_log(path, REQUEST_COLUMNS)


def open_action_log(path):
    return _open_log(path, ACTION_COLUMNS)


def find_logs(directory):
    """Pairs (request log, action log), one for each controller in `directory`.

    Takes `file=controller_N_request.tsv` and `file=controller_N_action.tsv` for every N; only
    where there is none of them, the names under which the controller itself writes.  Each may
    be compressed (.gz).
    """
    if not os.path.isdir(directory):
        raise LogError(f"{directory}: no such directory")
    numbers = set()
    for path in glob.glob(os.path.join(glob.escape(directory), "file=controller_*.tsv*")):
        match = re.fullmatch(
            r"file=controller_(\d+)_(?:request|action)\.tsv(?:\.gz)?", os.path.basename(path)
        )
        if match:
            numbers.add(match.group(1))
    names = [
        (f"file=controller_{number}_request.tsv", f"file=controller_{number}_action.tsv")
        for number in sorted(numbers, key=int)
    ] or [("clockwork_request_log.tsv", "clockwork_action_log.tsv")]
    return [
        (open_request_log(_locate(directory, request)), open_action_log(_locate(directory, action)))
        for request, action in names
    ]


def whole(log):
    """All rows of a log."""
    return Range(log, log.rows_begin, None if log.is_compressed else log.size)


def split(log, range_bytes=RANGE_BYTES):
    """Cuts a log into ranges of about `range_bytes`; a compressed one is one range."""
    if log.is_compressed:
        return [whole(log)]
    if log.has_columns:
        return _split_columns(log, range_bytes)
    cuts = [log.rows_begin]
    with log.open() as stream:
        while cuts[-1] + range_bytes < log.size:
            stream.seek(cuts[-1] + range_bytes)
            stream.readline()
            cuts.append(min(stream.tell(), log.size))
    if cuts[-1] < log.size:
        cuts.append(log.size)
    return [Range(log, begin, end) for begin, end in zip(cuts, cuts[1:])]


def read_blocks(part, wanted, on_torn_line, block_bytes=BLOCK_BYTES):
    """Yields the rows of a range, block by block: a DataFrame with the `wanted` columns, int64.

    A last row without its newline was cut off while it was written (the controller was
    killed): it is left out and `on_torn_line(path)` is called.
    """
    if part.log.has_columns:
        yield from _read_columns(part, wanted, on_torn_line)
        return
    offset = part.begin
    rest = b""
    with part.log.open() as stream:
        stream.seek(part.begin)
        position = part.begin
        while True:
            room = block_bytes if part.end is None else min(block_bytes, part.end - position)
            try:
                data = stream.read(room)
            except (EOFError, OSError) as error:
                raise LogError(f"{part.log.path}: {error}") from None
            if not data:
                break
            position += len(data)
            end_of_rows = data.rfind(b"\n") + 1
            if end_of_rows == 0:
                rest += data
                continue
            rows = rest + data[:end_of_rows]
            rest = data[end_of_rows:]
            yield _parse(part.log, rows, offset, wanted)
            offset += len(rows)
    if rest:
        on_torn_line(part.log.path)


def _column_blocks(log, begin, end):
    """Yields (offset, rows, bytes that follow the block's head) of whole blocks; a last one that is
    cut off as (offset, 0, 0)."""
    with log.open() as stream:
        while begin < end:
            stream.seek(begin)
            head = stream.read(8)
            rows, size = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
            if len(head) < 8 or begin + 8 + size > log.size:
                yield begin, 0, 0
                return
            if not 0 < rows <= COLUMNS_ROWS_MAX or size < 12 * len(log.columns):
                raise LogError(f"{log.path}: block at byte {begin}: is damaged")
            yield begin, rows, size
            begin += 8 + size


def _split_columns(log, range_bytes):
    cuts = [log.rows_begin]
    for offset, _, _ in _column_blocks(log, log.rows_begin, log.size):
        if offset >= cuts[-1] + range_bytes:
            cuts.append(offset)
    cuts.append(log.size)
    return [Range(log, begin, end) for begin, end in zip(cuts, cuts[1:]) if begin < end]


def _read_columns(part, wanted, on_torn_line):
    log = part.log
    with log.open() as stream:
        for offset, rows, size in _column_blocks(log, part.begin, part.end):
            if rows == 0:
                on_torn_line(log.path)
                return
            stream.seek(offset + 8)
            block = stream.read(size)
            at = 12 * len(log.columns)
            frame = {}
            for index, column in enumerate(log.columns):
                base, width = struct.unpack_from("<qI", block, 12 * index)
                if width not in (0, 1, 2, 4, 8) or at + width * rows > size:
                    raise LogError(
                        f"{log.path}: block at byte {offset}: column '{column}' is damaged"
                    )
                if column in wanted:
                    frame[column] = numpy.full(rows, base, numpy.int64)
                    if width > 0:
                        # unsigned arithmetic wraps, as in the writer
                        values = numpy.frombuffer(block, f"<u{width}", rows, at)
                        frame[column].view(numpy.uint64)[:] += values.astype(numpy.uint64)
                at += width * rows
            yield pandas.DataFrame(frame, copy=False)


def _locate(directory, name):
    plain = os.path.join(directory, name)
    for path in (plain, plain + ".gz", os.path.splitext(plain)[0] + ".columns"):
        if os.path.exists(path):
            return path
    raise LogError(f"{plain}: no such file")


def _open_log(path, expected):
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as stream:
            magic = stream.readline(len(COLUMNS_MAGIC)) if path.endswith(".columns") else b""
            if magic and magic != COLUMNS_MAGIC:
                raise LogError(f"{path}: does not begin as a file of columns; it may be of another version")
            header = stream.readline(1 << 16)
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from None
    if not header:
        raise LogError(f"{path}: the file is empty; it should begin with a row of column names")
    columns = tuple(header.decode("utf-8", "replace").rstrip("\r\n").split("\t"))
    for column in expected:
        if column not in columns:
            raise LogError(f"{path}: column '{column}' is missing from the header row")
    for index, column in enumerate(columns):
        if column not in expected:
            raise LogError(f"{path}: unknown column '{column}' in the header row")
        if column in columns[:index]:
            raise LogError(f"{path}: column '{column}' stands twice in the header row")
    return Log(path, columns, len(magic) + len(header), os.path.getsize(path))


def _parse(log, rows, offset, wanted):
    try:
        frame = pandas.read_csv(
            io.BytesIO(rows),
            sep="\t",
            header=None,
            names=log.columns,
            usecols=list(wanted),
            dtype={column: "int64" for column in wanted},
            index_col=False,
            na_filter=False,
            quoting=3,
            engine="c",
            low_memory=False,
        )
        if rows.count(b"\t") == len(frame) * (len(log.columns) - 1):
            return frame
    except (ValueError, OverflowError):  # a parser error is a ValueError
        pass
    raise LogError(_describe_first_bad_row(log, rows, offset, wanted))


def _describe_first_bad_row(log, rows, offset, wanted):
    """The block did not parse: finds the row to blame.  Slow, and only ever runs once."""
    for line in rows.splitlines(keepends=True):
        fields = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
        if fields != [""]:
            where = f"{log.path}: row at byte {offset}"
            if len(fields) != len(log.columns):
                return f"{where}: has {len(fields)} columns, the header row {len(log.columns)}"
            for column, text in zip(log.columns, fields):
                if column in wanted and not _is_int64(text):
                    return f"{where}: column '{column}': '{text[:40]}' is not a 64-bit integer"
        offset += len(line)
    return f"{log.path}: rows near byte {offset} are damaged"


def _is_int64(text):
    return re.fullmatch(r"[+-]?\d+", text) is not None and -(2**63) <= int(text) < 2**63
