"""What the experiments share: reading telemetry, exact-enough quantiles, paper figures.

Scripts add the `experiments` folder to `sys.path` and import from here.  Needs only
Debian's python3-numpy, python3-pandas and python3-matplotlib.
"""
