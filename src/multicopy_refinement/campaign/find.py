"""Tables that nobody has to write: of a tree of folders, and of the events of PanDDA."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from multicopy_refinement.campaign.table import Row
from multicopy_refinement.errors import InputError

#: What a table of PanDDA's events is told by, and where it says that a ligand was built.
_DATASET, _EVENT, _PLACED = "dtag", "event_idx", "Ligand Placed"
#: Files of a data set in PanDDA's folder, those that come first preferred: the ensemble of ground
#: and bound states, or the bound state alone.
_MODELS = (
    "modelled_structures/{name}-ensemble-model.pdb", "modelled_structures/{name}-pandda-model.pdb",
)  # fmt: skip
_DATA = "{name}-pandda-input.mtz"
_MOST = 10


def in_folders(model: str, data: str, only: Sequence[str] | None = None) -> list[Row]:
    """Return a row for each model that a pattern finds, with the data beside it.

    A data set is called after what the wildcards of the pattern's parts stand for: that of
    ``screen/*/refine.pdb`` after the folder.

    Parameters
    ----------
    model
        Pattern of the models, ``**`` for any depth.
    data
        Pattern of the data, seen from the folder of each model; ``{name}`` is the data set's.
    only
        Names that are wanted; all when left out.

    Raises
    ------
    InputError
        Nothing that is found, models without data, or with several.
    """
    named = [(_name(model, path), Path(path)) for path in _matching(model)]
    named = [(name, path) for name, path in named if only is None or name in set(only)]
    if not named:
        of = "" if only is None else " of the data sets of the table"
        raise InputError(f"--find {model}: no file has such a name{of}")
    lost = sorted(set(only or ()) - {name for name, _ in named})
    faults = [f"{name}: no model" for name in lost]
    rows = []
    for number, (name, path) in enumerate(named, 2):
        pattern = data.replace("{name}", glob.escape(name))
        found = _matching(str(Path(glob.escape(str(path.parent))) / pattern))
        if len(found) == 1:
            rows.append(Row(number, {"name": name, "model": str(path), "data": found[0]}))
        else:
            what = "no data" if not found else f"{len(found)} files of data"
            faults.append(f"{path}: {what} of the name {pattern} beside it")
    _refuse(f"--find {model} --data {data}", faults)
    return rows


def is_events(columns: Sequence[str]) -> bool:
    """Return whether a table is one of PanDDA's events."""
    return {_DATASET, _EVENT} <= set(columns)


def modelled(path: Path, rows: Sequence[Row]) -> list[str]:
    """Return the data sets in which a ligand was built, by ``pandda_inspect_events.csv``.

    Raises
    ------
    InputError
        A table that does not say, or says that there are none.
    """
    if rows and _PLACED not in rows[0].values:
        raise InputError(
            f"{path}: no column {_PLACED!r}; pandda.inspect writes it to pandda_inspect_events.csv"
        )
    hits = [r.values[_DATASET] for r in rows if r.values[_PLACED].lower() in {"true", "1", "yes"}]
    if not hits:
        raise InputError(f"{path}: no event has a ligand, by the column {_PLACED!r}")
    return list(dict.fromkeys(hits))


def in_pandda(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Return a row for each data set with a ligand, of the folder that a table of events is in.

    Raises
    ------
    InputError
        Files that are not where PanDDA puts them.
    """
    root = path.absolute().parents[1] / "processed_datasets"
    found, faults = [], []
    for number, name in enumerate(modelled(path, rows), 2):
        models = [root / name / one.format(name=name) for one in _MODELS]
        model = next((one for one in models if one.is_file()), None)
        data = root / name / _DATA.format(name=name)
        if model is None:
            faults.append(f"{models[0]}: no such file, nor {models[1].name}")
        elif not data.is_file():
            faults.append(f"{data}: no such file")
        else:
            found.append(Row(number, {"name": name, "model": str(model), "data": str(data)}))
    _refuse(str(path), faults)
    return found


def _matching(pattern: str) -> list[str]:
    """Return the files that a pattern finds: Path.glob would not take absolute ones."""
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207


def _refuse(source: str, faults: Sequence[str]) -> None:
    if faults:
        more = f"; and {len(faults) - _MOST} more" if len(faults) > _MOST else ""
        raise InputError(f"{source}: {'; '.join(faults[:_MOST])}{more}")


def _name(pattern: str, path: str) -> str:
    """Return what wildcards stand for.

    >>> _name("a/*/refine.pdb", "a/x1/refine.pdb"), _name("*/*.pdb", "p/x1.pdb")
    ('x1', 'p-x1')
    """
    parts, wild = Path(path).parts, Path(pattern).parts
    if "**" in wild:
        kept = parts[wild.index("**") :]
        kept = kept if glob.has_magic(wild[-1]) else kept[:-1]
    else:
        kept = tuple(p for p, w in zip(parts, wild, strict=True) if glob.has_magic(w))
    if not kept:
        return Path(path).stem
    last = Path(kept[-1]).stem if kept[-1] == parts[-1] else kept[-1]
    return "-".join([*kept[:-1], last])
