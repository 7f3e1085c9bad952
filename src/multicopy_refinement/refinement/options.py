"""Options of a refinement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from multicopy_refinement.modes import (
    Active,
    Parameter,
    Radiation,
    Solver,
    TargetKind,
    UncertaintyKind,
)


def split_names(value: Any) -> Any:
    """Return the names of a text with commas; anything else as it is."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def _known_parameters(value: Any) -> Any:
    names = split_names(value)
    known = [str(p) for p in Parameter]
    for name in names if isinstance(names, list | tuple) else ():
        if str(name) not in known:
            raise ValueError(f"{name!r} cannot be refined; this version knows {', '.join(known)}")
    return list(dict.fromkeys(names)) if isinstance(names, list | tuple) else names


def one_or_more(value: Any) -> Any:
    """Return one text as a list of one: it may have commas in it."""
    return [value] if isinstance(value, str) else value


def _readable_f_prime(texts: tuple[str, ...]) -> tuple[str, ...]:
    if texts:
        from multicopy_refinement.io.radiation import f_prime_values  # it imports gemmi

        f_prime_values(texts)
    return texts


def _readable_f_double_prime(texts: tuple[str, ...]) -> tuple[str, ...]:
    if texts:
        from multicopy_refinement.io.radiation import f_double_prime_values  # it imports gemmi

        f_double_prime_values(texts)
    return texts


#: Value of ``twin`` that asks for the law to be found.
FOUND = "found"


def _readable_twin(value: Any) -> Any:
    if value in {False, ""}:
        return None
    if value is True or value == FOUND:
        return FOUND
    if isinstance(value, str):
        from multicopy_refinement.crystal.twins import readable  # it imports gemmi

        readable(value)
    return value


class RefineOptions(BaseModel):
    """How to refine; all have defaults that suit most data.

    Attributes
    ----------
    extinction
        Whether strong reflections are weakened by extinction: its coefficient is refined
        (`multicopy_refinement.posterior.extinction.ExtinguishedAmplitude`).
    target
        The likelihood of intensities (``mli``) or of amplitudes (``ml``), or least squares
        (``ls``); when left out, the likelihood of what was measured.
    radiation, wavelength, f_prime
        What the crystal was measured with, in A what of, and f' in electrons as ``Zn=-6.9``: see
        `Model.measured_with`.
    anomalous, f_double_prime
        Whether F(+) - F(-) are data, too (`multicopy_refinement.posterior.bijvoet.BijvoetTerm`),
        and f'' in electrons as ``Zn=3.9``.
    twin
        The law of a twin, the indices of the second domain as ``-h,-k,l``; ``found``, or True, for
        that of the lattice's which the model shows. The fraction of the domain is refined.
    parameters
        ``occupancy``, alone or with ``b_group``: one B shift for each group along with it; or with
        ``xyz``, ``b_iso`` and ``u_aniso``: coordinates and displacements of atoms, all at once.
        With ``b_iso`` anisotropic atoms have an isotropic shift of U, with ``u_aniso`` all of it.
    active
        Which atoms have these: those of refined groups and of residues within 4 A (``partial``),
        or ``all``.
    restraints, monomers
        Dictionary files, and a folder of them, that come before those of the package.
    no_restraints
        The data alone determine coordinates and displacements, six of them for an anisotropic
        atom: for small molecules at atomic resolution.
    solver
        Fisher scoring with uncertainties, or L-BFGS in logits without (occupancy alone).
    b_prior
        Sigma of the prior on a B shift, as a part of the group's mean B. It is weak: with half of
        the mean B, B factors that are wrong by a factor of two were drawn back, and occupancies
        with them (rms z 1.57 against 1.46 at 2 A).
    max_cycles
        Macrocycles: occupancies, then mask, scale and errors anew. 8 when left out, and 15 where
        coordinates, displacements or B shifts move, too: the B of what is hardly there follows the
        errors slowly.
    tolerance
        Converged when no occupancy changes by more than this in a macrocycle.
    max_iterations
        L-BFGS iterations of one macrocycle.
    decoys
        How often each group is put at random places beside the model, to measure what model errors
        gain by chance; as many as take a second when left out, and 0 for theory alone.
    uncertainty
        ``marginal``: coordinates and B factors near a group count in its su; ``conditional`` on
        them; ``audit``: everything in the crystal counts, at seconds a group; or ``none``: no su,
        states and evidence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: Annotated[tuple[Parameter, ...], BeforeValidator(_known_parameters)] = Field(
        default=(Parameter.OCCUPANCY,),
        description="Refine these: occupancy[,b_group] or occupancy[,xyz][,b_iso][,u_aniso].",
    )
    active: Active = Field(
        default=Active.PARTIAL,
        description="Refine xyz and B of refined groups and residues within 4 A (partial), or of "
        "all atoms (all).",
    )
    restraints: tuple[Path, ...] = Field(
        default=(), description="Take this dictionary of a ligand (CIF). May be repeated."
    )
    monomers: Path | None = Field(
        default=None,
        description="Take dictionaries from this folder, as the CCP4 Monomer Library is one.",
    )
    no_restraints: bool = Field(
        default=False,
        description="Refine without geometry: for small molecules at atomic resolution.",
    )
    radiation: Radiation | None = Field(
        default=None,
        description="Take form factors of X-rays (xray), electrons (electron) or neutrons "
        "(neutron); of what the model's file names as its method, or X-rays, if left out.",
    )
    wavelength: float | None = Field(
        default=None, ge=0.1, le=7.0,
        description="Add f' at this wavelength of X-rays, in A; that of the files if left out.",
    )  # fmt: skip
    f_prime: Annotated[
        tuple[str, ...], BeforeValidator(one_or_more), AfterValidator(_readable_f_prime)
    ] = Field(
        default=(),
        description="Add this f' in electrons to an element, as Zn=-6.9; or none to all. May be "
        "repeated.",
    )
    anomalous: bool = Field(
        default=False,
        description="Take F(+) and F(-) apart: occupancies by f'' and Bijvoet differences, too.",
    )
    f_double_prime: Annotated[
        tuple[str, ...], BeforeValidator(one_or_more), AfterValidator(_readable_f_double_prime)
    ] = Field(
        default=(),
        description="Take this f'' in electrons for an element, as Zn=3.9; that of the wavelength "
        "if left out. May be repeated.",
    )
    twin: Annotated[str | None, BeforeValidator(_readable_twin)] = Field(
        default=None,
        description="Refine against a twin: of the law that the model shows, or of --twin=-h,-k,l.",
    )
    extinction: bool = Field(
        default=False,
        description="Refine extinction, by which strong reflections of a good crystal are weaker.",
    )
    target: TargetKind | None = Field(
        default=None,
        description="Maximise the likelihood of intensities (mli) or amplitudes (ml), or use least "
        "squares (ls); the likelihood of what was measured if left out.",
    )
    solver: Solver = Field(
        default=Solver.GAUSS_NEWTON,
        description="Use Fisher scoring (gauss_newton), or L-BFGS in logits (lbfgs), which gives "
        "no uncertainties.",
    )
    b_prior: float = Field(
        default=2.0, gt=0,
        description="Let B shifts have a prior with this sigma, as a part of the group's mean B.",
    )  # fmt: skip
    max_cycles: int | None = Field(
        default=None, ge=1,
        description="Stop after so many cycles of occupancies, mask, scale and errors; 8 if left "
        "out, and 15 with coordinates or B.",
    )  # fmt: skip
    tolerance: float = Field(
        default=0.001, gt=0,
        description="Stop when no occupancy changes by more than this in a cycle.",
    )  # fmt: skip
    max_iterations: int = Field(
        default=60, ge=1, description="Let L-BFGS take so many iterations in a cycle."
    )
    decoys: int | None = Field(
        default=None, ge=0,
        description="Put each group at so many random places, to measure what is gained by chance; "
        "300 if left out, fewer where they take longer than a second.",
    )  # fmt: skip
    uncertainty: UncertaintyKind = Field(
        default=UncertaintyKind.MARGINAL,
        description="Give standard uncertainties with coordinates and B factors counted in, those "
        "nearby (marginal) or all of them (audit; slow), or held (conditional), or none.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> RefineOptions:
        if Parameter.OCCUPANCY not in self.parameters:
            raise ValueError("parameters: occupancy is always refined; name it, too")
        others = [str(p) for p in self.parameters if p is not Parameter.OCCUPANCY]
        if self.solver is Solver.LBFGS and others:
            raise ValueError(
                f"solver lbfgs refines occupancy alone; {others[0]} needs gauss_newton"
            )
        if self.twin is not None and self.joint:
            raise ValueError(
                "twin: coordinates and B of atoms are not refined against twins; leave out "
                f"{others[0]}, or refine them with another program first"
            )
        if self.twin is not None and self.uncertainty is UncertaintyKind.AUDIT:
            raise ValueError("twin: there is no audit of twins; take --uncertainty marginal")
        if self.extinction:
            self._check_extinction()
        if self.anomalous:
            self._check_anomalous(others)
        elif self.f_double_prime:
            raise ValueError("f-double-prime: f'' counts in F(+) - F(-) alone; add --anomalous")
        if Parameter.B_GROUP in self.parameters and self.joint:
            raise ValueError("parameters: b_group is for coordinates and B that are held")
        if self.radiation not in {None, Radiation.XRAY} and (self.wavelength or self.f_prime):
            option = "f-prime" if self.f_prime else "wavelength"
            raise ValueError(f"{option}: f' is of X-rays; leave it out for {self.radiation}s")
        return self

    def _check_extinction(self) -> None:
        """Refuse what extinction does not go with."""
        if self.radiation is Radiation.ELECTRON:
            raise ValueError("extinction: it is of X-rays and neutrons; leave it out for electrons")
        for name in ("twin", "anomalous"):
            if getattr(self, name):
                raise ValueError(f"extinction: it is not refined with {name}; leave one out")

    def _check_anomalous(self, others: list[str]) -> None:
        """Refuse what Bijvoet differences do not go with."""
        if self.radiation not in {None, Radiation.XRAY}:
            raise ValueError(f"anomalous: f'' is of X-rays; leave it out for {self.radiation}s")
        if self.twin is not None:
            raise ValueError("anomalous: F(+) and F(-) of twins are not told apart; leave one out")
        if self.joint:
            raise ValueError(
                "anomalous: coordinates and B of atoms are not refined against F(+) - F(-); leave "
                f"out {others[0]}, or refine them first and take the result for the model"
            )
        if self.uncertainty is UncertaintyKind.AUDIT:
            raise ValueError("anomalous: it has no audit; take --uncertainty marginal")

    @property
    def cycles(self) -> int:
        """Most macrocycles of occupancies, and of B shifts."""
        if Parameter.B_GROUP in self.parameters:
            return self.joint_cycles
        return 8 if self.max_cycles is None else self.max_cycles

    @property
    def joint_cycles(self) -> int:
        """Most macrocycles of everything."""
        return 15 if self.max_cycles is None else self.max_cycles

    @property
    def joint(self) -> bool:
        """Whether coordinates or displacements of atoms are refined."""
        return bool({Parameter.XYZ, Parameter.B_ISO, Parameter.U_ANISO} & set(self.parameters))
