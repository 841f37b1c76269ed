"""Counts over sparse integer keys, and quantiles from them with a bounded error.

A histogram is log-linear: 512 bins for each factor of two.  A quantile is the middle of the bin
that holds the value of that rank (nearest rank: the smallest value that at least a share q of
all values do not exceed), so it is off by at most half a bin, 1/1024 < 0.1 % of the value; whole
numbers below 1,024 and the largest value are exact.  Bins cost memory only where values fall,
and counts of two parts of a file add up exactly, in any order.
"""

import numpy

_BINS_LOG2 = 9
_MANTISSA_SHIFT = 52 - _BINS_LOG2
_ONE = 1023 << _BINS_LOG2  # bin number, before it is moved, of the value 1.0

# a key is group << GROUP_SHIFT | bin; 63 factors of two times 512 bins are below 2^16
_GROUP_SHIFT = 16


class SparseCounts:
    """How often each integer key came.  Memory grows with the distinct keys, not with the adds."""

    _COMPACT_AT = 1 << 20

    def __init__(self):
        self._keys = numpy.empty(0, numpy.int64)
        self._counts = numpy.empty(0, numpy.int64)
        self._pending = []
        self._pending_size = 0

    def add(self, keys):
        if len(keys):
            self._append(*numpy.unique(numpy.asarray(keys, numpy.int64), return_counts=True))

    def add_repeated(self, key, count):
        self._append(numpy.array([key], numpy.int64), numpy.array([count], numpy.int64))

    def merge(self, other):
        self._append(*other.items())

    def items(self):
        """(keys in rising order, their counts)"""
        self._compact()
        return self._keys, self._counts

    def total(self):
        return int(self.items()[1].sum())

    def __getstate__(self):
        self._compact()
        return {"keys": self._keys, "counts": self._counts}

    def __setstate__(self, state):
        self.__init__()
        self._keys, self._counts = state["keys"], state["counts"]

    def _append(self, keys, counts):
        self._pending.append((keys, counts))
        self._pending_size += len(keys)
        if self._pending_size > max(self._COMPACT_AT, len(self._keys)):
            self._compact()

    def _compact(self):
        if not self._pending:
            return
        keys = numpy.concatenate([self._keys] + [keys for keys, _ in self._pending])
        counts = numpy.concatenate([self._counts] + [counts for _, counts in self._pending])
        self._pending, self._pending_size = [], 0
        order = numpy.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        first = numpy.flatnonzero(numpy.diff(keys, prepend=keys[:1] - 1))
        self._keys = keys[first]
        self._counts = numpy.add.reduceat(counts, first) if len(first) else counts


class Distribution:
    """Quantiles of one set of values, frozen.  Empty: every quantile is nan."""

    def __init__(self, bins, counts, largest):
        self.count = int(counts.sum())
        self.largest = largest
        self._values = numpy.minimum(_value_of(bins), largest)
        self._ranks = numpy.cumsum(counts)

    def quantile(self, share):
        """The value at `share` (0 to 1, a number or an array): nearest rank, see the file's top."""
        share = numpy.asarray(share, float)
        if self.count == 0:
            return numpy.full(share.shape, numpy.nan)[()]
        # rounded first: in binary fractions 0.07 × 100 is a little above 7, not rank 8
        rank = numpy.clip(numpy.ceil(numpy.round(share * self.count, 6)), 1, self.count)
        result = self._values[numpy.searchsorted(self._ranks, rank)]
        return numpy.where(rank == self.count, self.largest, result)[()]


class Histogram:
    """Non-negative integer values in groups 0, 1, 2, …; per group or all together."""

    def __init__(self):
        self._counts = SparseCounts()
        self._largest = {}

    def add(self, values, groups=None):
        """Adds values (int64, not negative); `groups` is an equally long array, or None for 0."""
        values = numpy.asarray(values, numpy.int64)
        if len(values) == 0:
            return
        if groups is None:
            self._counts.add(_bin_of(values))
            self._raise_largest(0, int(values.max()))
            return
        keys = (numpy.asarray(groups, numpy.int64) << _GROUP_SHIFT) | _bin_of(values)
        self._counts.add(keys)
        order = numpy.argsort(groups, kind="stable")  # nearly sorted already: cheap
        sorted_groups = groups[order]
        first = numpy.flatnonzero(numpy.diff(sorted_groups, prepend=sorted_groups[0] - 1))
        for group, largest in zip(
            sorted_groups[first].tolist(), numpy.maximum.reduceat(values[order], first).tolist()
        ):
            self._raise_largest(group, largest)

    def add_zeros(self, count, group=0):
        """The same as `count` times the value 0."""
        if count:
            self._counts.add_repeated(group << _GROUP_SHIFT, count)
            self._raise_largest(group, 0)

    def count(self):
        return self._counts.total()

    def merge(self, other):
        self._counts.merge(other._counts)
        for group, largest in other._largest.items():
            self._raise_largest(group, largest)

    def distribution(self, group):
        keys, counts = self._counts.items()
        begin, end = group << _GROUP_SHIFT, (group + 1) << _GROUP_SHIFT
        part = slice(*numpy.searchsorted(keys, [begin, end]))
        bins = keys[part] & ((1 << _GROUP_SHIFT) - 1)
        return Distribution(bins, counts[part], self._largest.get(group, 0))

    def overall(self):
        """The distribution of all groups' values together."""
        keys, counts = self._counts.items()
        bins = keys & ((1 << _GROUP_SHIFT) - 1)
        dense = numpy.bincount(bins, weights=counts).astype(numpy.int64)
        used = numpy.flatnonzero(dense)
        return Distribution(used, dense[used], max(self._largest.values(), default=0))

    def _raise_largest(self, group, largest):
        if largest >= self._largest.get(group, 0):
            self._largest[group] = largest


def _bin_of(values):
    # The bits of a positive IEEE double, read as an integer, rise with its value and are
    # already (exponent, mantissa): their upper part is the number of a log-linear bin.
    bits = values.astype(numpy.float64).view(numpy.int64)
    return numpy.maximum((bits >> _MANTISSA_SHIFT) - _ONE + 1, 0)


def _value_of(bins):
    edges = numpy.stack([bins, bins + 1]).astype(numpy.int64) - 1 + _ONE
    low, high = (edges << _MANTISSA_SHIFT).view(numpy.float64)
    # values are whole numbers: the middle, rounded down, is the value itself where a bin holds one
    return numpy.where(bins > 0, numpy.floor((low + high) / 2), 0.0)
