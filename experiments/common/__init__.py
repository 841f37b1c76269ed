"""What the experiments share: reading telemetry, exact-enough quantiles, paper figures.

Scripts add the `experiments` folder to `sys.path` and import from here.  Needs only
Debian's python3-numpy, python3-pandas and python3-matplotlib.
"""

import importlib.util
import sys


def require(program, *modules):
    """Ends with status 2 and one line where this Python lacks one of them; to be called before they are imported."""
    lacking = [name for name in modules if importlib.util.find_spec(name) is None]
    if lacking:
        print(f"{program}: {sys.executable} has no {' and no '.join(lacking)}; on Debian:"
              f" apt install {' '.join('python3-' + name for name in modules)}, and run it with /usr/bin/python3",
              file=sys.stderr)
        sys.exit(2)
