"""Reads src/layers.txt: which folders are layers, and what each may use."""

import fnmatch
from dataclasses import dataclass, field


class LayersError(Exception):
    """layers.txt itself is wrong; the text names the line."""


@dataclass
class Permissions:
    """Names that anyone may use, and names kept to certain folders or files under src/."""

    everyone: set = field(default_factory=set)
    # name or pattern -> places
    kept: dict = field(default_factory=dict)

    def places(self, name):
        """Where `name` is allowed: None if no line speaks of it, "*" for everywhere."""
        if name in self.everyone:
            return "*"
        for pattern, places in self.kept.items():
            if fnmatch.fnmatchcase(name, pattern):
                return places
        return None

    def allows(self, name, path, layer):
        """Whether the file `path` (relative to src/) of `layer` may use `name`."""
        places = self.places(name)
        return places is not None and (places == "*" or layer in places or path in places)


@dataclass
class Layers:
    pure: list
    effects: list
    programs: list
    # layer -> the layers it may include, itself among them
    below: dict
    vendor_headers: Permissions
    pure_headers: Permissions
    system_headers: Permissions
    pure_symbols: Permissions

    def layer_of(self, path):
        """The layer or program to which `path` (relative to src/) belongs, or None."""
        folder = path.rpartition("/")[0]
        while folder:
            if folder in self.below:
                return folder
            folder = folder.rpartition("/")[0]
        return None


def read(path):
    with open(path, encoding="utf-8") as file:
        return parse(file.read(), path)


def parse(text, path="layers.txt"):
    lists = {"pure": [], "effects": [], "programs": []}
    below = {}
    permissions = {
        name: Permissions()
        for name in ("vendor headers", "pure headers", "system headers", "pure symbols")
    }
    section = None
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        line = line.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            if section not in lists and section not in permissions:
                raise LayersError(f"{where}: unknown section [{section}]")
            continue
        names, colon, rest = (part.strip() for part in line.partition(":"))
        if section is None:
            raise LayersError(f"{where}: stands before the first section")
        if section in permissions:
            if colon:
                for name in names.split():
                    permissions[section].kept.setdefault(name, set()).update(rest.split())
            else:
                permissions[section].everyone.update(names.split())
        else:
            if names in below:
                raise LayersError(f"{where}: {names} stands here twice")
            below[names] = {names} | _edges(section, names, rest.split(), lists, where)
            lists[section].append(names)
    return Layers(
        **lists,
        below=below,
        **{name.replace(" ", "_"): value for name, value in permissions.items()},
    )


def _edges(section, name, edges, lists, where):
    layers = lists["pure"] + lists["effects"]
    if section == "programs":
        if edges:
            raise LayersError(f"{where}: a program may include every layer; name none")
        return set(layers)
    for edge in edges:
        if edge not in layers:
            raise LayersError(
                f"{where}: {name} may not include {edge}, which stands further down or nowhere"
            )
        if section == "pure" and edge in lists["effects"]:
            raise LayersError(f"{where}: {name} is pure and {edge} is not")
    return set(edges)
