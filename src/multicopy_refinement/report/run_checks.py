"""Advice on a run as a whole."""

from __future__ import annotations

import numpy as np

from multicopy_refinement.report.findings import Advice, Findings


def _sentence(message: str) -> str:
    """Return a message with a capital letter and a full stop."""
    return f"{message[:1].upper()}{message[1:]}."


def not_converged(f: Findings) -> Advice | None:
    """Return what to do where values still moved at the end."""
    if f.record.status.converged:
        return None
    return Advice(
        "The refinement has not converged",
        f"{_sentence(f.record.status.reason)} Run it again from refined.cif before you look at the "
        "values.",
        (), serious=True,
    )  # fmt: skip


def worse_free(f: Findings) -> Advice | None:
    """Return what to do where R-free rises."""
    found = [w for w in f.record.warnings if w.code == "r_free_rises"]
    if not found:
        return None
    return Advice(
        "R-free has risen",
        f"{_sentence(found[0].message)} Are there too many groups for the data, or is the free set "
        "not the one that the model was refined with?",
        (), serious=True,
    )  # fmt: skip


def twinned(f: Findings) -> Advice | None:
    """Return what to do where a twin was refined as a single crystal."""
    found = [w for w in f.record.warnings if w.code == "twinned"]
    if not found:
        return None
    return Advice(
        "The crystal is a twin", f"{_sentence(found[0].message)} All values below are of a model "
        "of one domain: refine it as what it is.",
        (), serious=True, command=f.again("--twin"),
    )  # fmt: skip


def exchanged_mates(f: Findings) -> Advice | None:
    """Return what to do where F(+) and F(-) are exchanged, or show nothing."""
    codes = {"bijvoet_exchanged", "no_anomalous_signal"}
    found = [w for w in f.record.warnings if w.code in codes]
    if not found:
        return None
    return Advice(
        "Bijvoet differences are not those of the model",
        f"{_sentence(found[0].message)} The occupancies of what has f'' are drawn away by them: "
        "refine without --anomalous until that is clear.",
        (), serious=True,
    )  # fmt: skip


def other_element(f: Findings) -> Advice | None:
    """Return what to do where differences and amplitudes ask for different occupancies."""
    found = [w for w in f.record.warnings if w.code == "element_doubtful"]
    if not found:
        return None
    atoms = set(found[0].atoms)
    names = [
        group.name for group in f.refined
        if atoms & set(f.table.labels(np.array(group.atom_indices)))
    ]  # fmt: skip
    return Advice(
        "Atoms that may be of another element",
        f"{_sentence(found[0].message)} Look at the coordination and at the anomalous map (FAN, "
        "PHAN of refined.mtz).",
        tuple(names),
    )


def sums(f: Findings) -> Advice | None:
    """Return what to do where the file's occupancies were changed before refinement."""
    codes = {"set_sum", "occupancy_above_1", "occupancy_below_0", "uneven_part", "uneven_copy"}
    found = [w for w in f.record.warnings if w.code in codes]
    if not found:
        return None
    return Advice(
        "Occupancies of the file that could not stay",
        " ".join(_sentence(w.message) for w in found[:3]) + " Look whether that is what you meant; "
        "a rule can keep parts apart, or let a sum be smaller.",
        (),
    )


def outliers(f: Findings) -> Advice | None:
    """Return what to do about reflections that do not fit the others."""
    found = [w for w in f.record.warnings if w.code in {"outliers", "uneven_resolution"}]
    if not found:
        return None
    return Advice(
        "Reflections that do not fit the others",
        " ".join(_sentence(w.message) for w in found) + " Look at the images or at the merging.",
        (),
    )


def nothing_refined(f: Findings) -> Advice | None:
    """Return what to do where there was nothing to refine."""
    if f.refined:
        return None
    return Advice(
        "Nothing was refined",
        "All occupancies are 1 or held, so that the model is as it was. --ligands refines all "
        "ligands, --waters all waters, --refine SELECTION what you name; the command below lists "
        "the groups with their names.",
        (), command=f"multicopy-refine groups {f.record.inputs.model} --all",
    )  # fmt: skip


def states(f: Findings) -> Advice | None:
    """Return what to do about a model whose letters are ground and bound states."""
    found = [w for w in f.record.warnings if w.code == "states"]
    if not found:
        return None
    return Advice(
        "One model of several states",
        f"{_sentence(found[0].message)} That is one number with one su for what you came for; "
        "merge or prune only what need not show the states.",
        (), command=f.again("--grouping", "states"),
    )  # fmt: skip
