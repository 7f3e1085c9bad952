"""A refinement as one record of files and options, and its run: files in, files out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from multicopy_refinement.errors import InputError
from multicopy_refinement.modes import Grouping
from multicopy_refinement.refinement.options import RefineOptions, one_or_more, split_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from multicopy_refinement.occupancy.grouping import GroupingOptions
    from multicopy_refinement.refinement.macrocycle import Progress
    from multicopy_refinement.results.record import RunRecord

#: Fields that say where things are, not what is done with them.
PLACES = frozenset({"model", "data", "out", "overwrite", "report"})
#: Fields that stand in the record under ``inputs`` as what was found, not as what was asked for.
_CHOSEN = frozenset({"labels", "free_label", "free_value"})

#: Options that may be given several times.
REPEATED = frozenset({"refine", "hold", "omit", "restraints", "f_prime", "f_double_prime"})


Selections = Annotated[tuple[str, ...], BeforeValidator(one_or_more)]


class RefineJob(RefineOptions):
    """All that a refinement needs: `RefineOptions`, and the fields below.

    This is the one type of options: the command line is made from its fields, the columns of a
    campaign's table are its fields, and ``options`` of ``result.json`` holds them.

    Attributes
    ----------
    model, data
        The coordinate file and the reflection file.
    out
        Folder for the results.
    grouping, rules, contact_distance, link_close_waters
        How atoms are put into groups.
    refine, hold, ligands, waters
        What is refined beside what is anyway, and what is held.
    omit
        What is left out of the omit map beside ligands.
    labels, free_label, free_value, d_min
        Which reflections are used, and as what.
    threads
        Of the package's own loops; as many as torch has when left out.
    overwrite
        Whether a folder in use is accepted.
    report
        Whether ``report.html`` is wanted; `run` leaves that to its caller, a layer above.
    """

    model: Path = Field(description="The model: PDB or mmCIF, gzipped or not.")
    data: Path = Field(
        description="Its reflections: MTZ or SF-mmCIF. The order of the two is free."
    )
    out: Path = Field(default=Path("refined"), description="Write the results to this folder.")
    grouping: Grouping = Field(
        default=Grouping.RESIDUE,
        description="Let atoms of a residue and altloc share an occupancy (residue), those of "
        "residues that touch (connected), of ground and bound states (states), or of a MODEL "
        "(copies).",
    )
    rules: Path | None = Field(
        default=None,
        description="Change the groups by the rules of this file: our TOML, or those of phenix, "
        "REFMAC or SHELXL, told apart by content.",
    )
    contact_distance: float = Field(
        default=4.0, ge=0.1,
        description="Let residues touch where atoms of one altloc are this close, in A.",
    )  # fmt: skip
    link_close_waters: bool = Field(
        default=False, description="Let partial waters closer than 1.5 A share a site."
    )
    refine: Selections = Field(
        default=(), description="Refine this residue or group, too. May be repeated."
    )
    hold: Selections = Field(
        default=(), description="Hold this at the value of the file. May be repeated."
    )
    ligands: bool = Field(
        default=False, description="Refine all ligands: what is no polymer, water or common ion."
    )
    waters: bool = Field(default=False, description="Refine all waters, each on its own.")
    omit: Selections = Field(
        default=(), description="Leave this out of the omit map, too; may be repeated."
    )
    labels: Annotated[tuple[str, ...] | None, BeforeValidator(split_names)] = Field(
        default=None,
        description="Take these columns of the data; found by their types if left out.",
    )
    free_label: str | None = Field(
        default=None, description="Take the free set from this column; found if left out."
    )
    free_value: int | None = Field(
        default=None, description="Take reflections with this flag as free; found if left out."
    )
    d_min: float | None = Field(
        default=None, ge=0.1, description="Leave out reflections beyond this resolution, in A."
    )
    threads: int | None = Field(
        default=None, ge=1, description="Use so many threads; all processors if left out."
    )
    overwrite: bool = Field(
        default=False, description="Accept a folder in use, and replace results in it."
    )
    report: bool = Field(default=True, description="Make report.html.")

    @classmethod
    def of(cls, values: dict[str, Any]) -> RefineJob:
        """Return the job of named values; faults of them are one line.

        Raises
        ------
        InputError
            The option, what is wrong with it, and what came.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as fault:
            raise InputError(in_words(fault)[0]) from None

    def options(self) -> dict[str, Any]:
        """Return what was asked for as plain data, without `PLACES`."""
        return self.model_dump(mode="json", exclude=set(PLACES | _CHOSEN))

    def command(self) -> list[str]:
        """Return the command line that repeats the run."""
        words = ["multicopy-refine", "refine", str(self.model), str(self.data)]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in PLACES or value == field.default:
                continue
            flag = f"--{name.replace('_', '-')}"
            if name in REPEATED:
                words += [word for one in value for word in (flag, str(one))]
            elif isinstance(value, tuple):
                words += [flag, ",".join(str(v) for v in value)]
            elif str(value).startswith("-") and isinstance(value, str):  # it would be an option
                words.append(f"{flag}={value}")
            else:
                words += [flag] if value is True else [flag, str(value)]
        return [*words, "--out", str(self.out)]

    def grouping_options(self) -> GroupingOptions:
        """Return how atoms are put into groups, rules apart."""
        from multicopy_refinement.occupancy.grouping import GroupingOptions

        named = {field.name: getattr(self, field.name) for field in fields(GroupingOptions)}
        return GroupingOptions(**named)

    @property
    def inputs(self) -> dict[str, Path]:
        """The files that are read, under their names as given."""
        paths = (self.model, self.data, *([self.rules] if self.rules else []))
        return {str(path): path for path in paths}


def in_words(fault: ValidationError) -> list[str]:
    """Return what is wrong with the options of a job, one line each."""
    return [_one_in_words(one) for one in fault.errors()]


def _one_in_words(one: ErrorDetails) -> str:
    message = one["msg"].removeprefix("Value error, ")
    if not one["loc"]:
        return f"--{message}"
    option = str(one["loc"][0]).replace("_", "-")
    given = "" if one["type"] == "value_error" else f", not {one['input']!r}"
    return f"--{option}: {message[0].lower()}{message[1:]}{given}"


def run(job: RefineJob, progress: Callable[[Progress], None] | None = None) -> RunRecord:
    """Refine, write the results to ``job.out``, and return their record.

    Nothing is printed, and nothing of the process is changed: jobs may run in several threads.
    The results appear together or not at all.

    Parameters
    ----------
    job
        What is to be done.
    progress
        Called when a step begins, and after every cycle.

    Raises
    ------
    InputError
        A file or an option is at fault: one line that says what, where and what to do.
    """
    from multicopy_refinement.run.pipeline import carry_out  # the slow imports are made here

    return carry_out(job, progress)
