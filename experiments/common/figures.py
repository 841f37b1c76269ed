"""Paper figures: one style, time series over intervals, tail CDFs on a percentile axis.

Figures are drawn at the size at which they are printed (one column of a two-column paper), so
font sizes are true.  Works without a display and without a writable home.
"""

import atexit
import os
import shutil
import tempfile


def _give_matplotlib_a_folder():
    """Where its settings folder cannot be written, one that lasts as long as this process."""
    if "MPLCONFIGDIR" in os.environ:
        return
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    while not os.path.exists(home):
        home = os.path.dirname(home) or "/"
    if not os.access(home, os.W_OK | os.X_OK):
        folder = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["MPLCONFIGDIR"] = folder


_give_matplotlib_a_folder()

import matplotlib  # noqa: E402  (after its folder is settled)

matplotlib.use("Agg")

import numpy  # noqa: E402
from matplotlib import pyplot, ticker  # noqa: E402

COLUMN_INCHES = (3.3, 1.9)

# distinct in print, on grey scale and to colour-blind readers (Okabe and Ito)
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8c8c8c"

pyplot.rcParams.update(
    {
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "legend.handlelength": 1.4,
        "legend.columnspacing": 1.2,
        "legend.borderaxespad": 0.1,
        "lines.linewidth": 1.1,
        "patch.linewidth": 1.1,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e0e0e0",
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        "pdf.fonttype": 42,  # text stays text; conferences refuse type 3 fonts
    }
)


def save_panel(draw, path, dpi=None):
    """One figure of column width: `draw(axes)` fills it, `path` names a PDF, or a PNG of `dpi`."""
    figure, axes = pyplot.subplots(figsize=COLUMN_INCHES, layout="constrained")
    draw(axes)
    dates = {"CreationDate": None} if str(path).endswith(".pdf") else {}
    figure.savefig(path, dpi=dpi or "figure", metadata=dates)
    pyplot.close(figure)


def save_overview(panels, path, title, columns=3):
    """All panels on one sheet, for the screen: `panels` is a list of (caption, draw)."""
    rows = -(-len(panels) // columns)
    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(COLUMN_INCHES[0] * columns, (COLUMN_INCHES[1] + 0.25) * rows),
        layout="constrained",
        squeeze=False,
    )
    figure.suptitle(title, fontsize=10)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (caption, draw) in zip(grid.flat, panels):
        draw(axes)
        axes.set_title(caption, loc="left", fontweight="bold", pad=20)
    figure.savefig(path, dpi=160)
    pyplot.close(figure)


def draw_time_series(axes, edges_s, series, ylabel, log=False, mark=(None, None)):
    """Values of consecutive intervals as steps.

    `edges_s`: the intervals' ends in seconds, one more than values.  `series`: a list of
    (label, values, colour); nan leaves a gap.  From zero up, the first of several lines drawn
    wider, so that it shows where another covers it; or, with `log`, logarithmic.  `mark`: label
    and height of a dashed line.
    """
    unit_s, unit = _time_unit(edges_s[-1] - edges_s[0])
    for index, (label, values, colour) in enumerate(series):
        width = 2.4 if index == 0 < len(series) - 1 and not log else 1.1
        axes.stairs(
            values, edges_s / unit_s, baseline=None, color=colour, label=label, linewidth=width
        )
    axes.set_xlim(edges_s[0] / unit_s, edges_s[-1] / unit_s)
    axes.set_xlabel(f"Time ({unit})")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(9, steps=[1, 2, 3, 5, 6, 10], integer=True))
    axes.set_ylabel(ylabel)
    values = numpy.concatenate([values for _, values, _ in series]).astype(float)
    mark_label, height = mark
    if height is not None:
        axes.axhline(height, color="black", linewidth=0.8, linestyle=(0, (4, 2)), label=mark_label)
        values = numpy.append(values, height)
    values = values[numpy.isfinite(values)]
    if log:
        values = values[values > 0]
        low, high = (values.min(), values.max()) if len(values) else (1, 10)
        axes.set_yscale("log")
        axes.set_ylim(_round_down(low / 1.05), _round_up(high * 1.05))
        _label_log_axis(axes)
    else:
        axes.set_ylim(0, max(values.max(initial=0) * 1.12, 1e-9) if values.any() else 1)
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if len(series) > 1:
        draw_legend(axes, len(series) + (height is not None))


def draw_tail_cdf(axes, curves, ylabel, absent):
    """Values against their percentile, the axis stretched towards 100 %: 0, 90, 99, 99.9, …

    `curves`: a list of (label, distribution of nanoseconds, colour).  A curve begins where its
    value leaves zero and ends at the largest value.  `absent` is written where there is none.
    """
    count = max(distribution.count for _, distribution, _ in curves)
    smallest, largest = numpy.inf, 0
    for label, distribution, colour in curves:
        decades, values = tail_points(distribution)
        seen = values > 0
        if seen.any():
            axes.plot(decades[seen], values[seen], color=colour, label=label)
            smallest = min(smallest, values[seen].min())
            largest = max(largest, values[seen].max())
    decades = max(1, numpy.log10(max(count, 10)))
    axes.set_xlim(0, decades * 1.02)
    ticks = numpy.arange(0, int(decades) + 1)
    step = 1 if len(ticks) <= 6 else 2  # the labels grow by a digit each: past six they touch
    axes.set_xticks(ticks, ["" if tick % step else percentile_label(tick) for tick in ticks])
    axes.set_xlabel("Percentile of actions")
    axes.set_yscale("log")
    axes.set_ylabel(ylabel)
    if largest == 0:
        axes.set_ylim(1e3, 1e6)
        axes.text(0.5, 0.5, absent, transform=axes.transAxes, ha="center", va="center")
    else:
        # two to five decades: what lies further below is no error that anyone feels
        top = numpy.ceil(numpy.log10(largest * 1.1))
        bottom = numpy.clip(numpy.floor(numpy.log10(smallest)), top - 5, top - 2)
        axes.set_ylim(10**bottom, 10**top)
        draw_legend(axes, len(curves))
    axes.yaxis.set_major_locator(ticker.LogLocator(numticks=9))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: duration_label(value)))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def tail_points(distribution, points_per_decade=50):
    """(decades, values): quantiles at 1 − 10^−d for d from 0 to where one value is left."""
    if distribution.count == 0:
        return numpy.empty(0), numpy.empty(0)
    last = numpy.log10(distribution.count)
    decades = numpy.append(numpy.arange(0, last, 1 / points_per_decade), last)
    return decades, numpy.append(
        distribution.quantile(1 - 10.0 ** -decades[:-1]), distribution.largest
    )


def draw_legend(axes, columns):
    """Above the plot, where no curve can pass below it."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncol=columns)


def percentile_label(decade):
    """0 → 0, 1 → 90, 2 → 99, 3 → 99.9 …"""
    return ("0", "90", "99")[decade] if decade < 3 else "99." + "9" * (decade - 2)


def duration_label(value_ns):
    """A power of ten of nanoseconds with the unit that suits it: 100 ns, 10 µs, 1 ms."""
    for unit, size_ns in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value_ns >= size_ns * 0.999:
            return f"{value_ns / size_ns:.4g} {unit}"
    return f"{value_ns:.4g} ns"


def _time_unit(span_s):
    if span_s > 3 * 3600:
        return 3600, "hours"
    return (60, "minutes") if span_s > 300 else (1, "seconds")


_STEPS = numpy.array([1, 2, 5, 10])


def _round_up(value):
    decade = 10.0 ** numpy.floor(numpy.log10(value))
    return decade * _STEPS[numpy.searchsorted(_STEPS, value / decade * (1 - 1e-9))]


def _round_down(value):
    decade = 10.0 ** numpy.floor(numpy.log10(value))
    return decade * _STEPS[numpy.searchsorted(_STEPS, value / decade * (1 + 1e-9), "right") - 1]


def _label_log_axis(axes):
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if _decades(axes) < 2 else (1,)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _decades(axes):
    low, high = axes.get_ylim()
    return numpy.log10(high / low)
