"""One engine in a process of its own: it reads orders as JSON lines and answers in the same way.

    python benchmarks/engine_worker.py ENGINE THREADS

Run by `engines.py`, which alternates between the engines; each runs in the environment that has it.
"""

import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


class Engine:
    """Structure factors of a model, and the gradient of sum |F| in all its parameters."""

    gradients = True

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch

    def load(self, model: str, d_min: float, hkl: np.ndarray) -> None:
        raise NotImplementedError

    def let_go(self) -> None:
        """Give back memory that is kept for the next call, so that the next call is charged it."""

    def forward(self) -> None:
        with self.torch.no_grad():
            self.f = self.compute()

    def both(self) -> None:
        for p in self.parameters:
            p.grad = None
        self.compute().abs().sum().backward()

    def sample(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return some indices and F of them."""
        return self.hkl[picked], self.f.detach().numpy()[picked]


class OurEngine(Engine):
    """The engine of this package."""

    def __init__(
        self, threads: int, *, single: bool = False, plain: bool = False, accuracy: float = 1e-4
    ) -> None:
        super().__init__(threads)
        self.accuracy = accuracy
        self.dtype = self.torch.float32 if single else self.torch.float64
        self.plain = plain

    def load(self, model: str, d_min: float, hkl: np.ndarray) -> None:
        from multicopy_refinement import Model, structure_factors
        from multicopy_refinement.scattering.atoms import atoms_of
        from multicopy_refinement.scattering.plan import plan_splat
        from multicopy_refinement.scattering.torch_splat import torch_structure_factors

        loaded = Model(dtype_float=self.dtype).load(model)
        self.hkl = hkl
        self.parameters = list(loaded.parameters())
        if self.plain:

            def compute() -> object:
                atoms = atoms_of(loaded)
                return torch_structure_factors(atoms, hkl, plan_splat(atoms, d_min))
        else:

            def compute() -> object:
                return structure_factors(loaded, hkl, d_min=d_min, accuracy=self.accuracy)

        self.compute = compute

    def let_go(self) -> None:
        from multicopy_refinement.scattering import compiled

        compiled._SPARE.clear()


class TorchRef(Engine):
    """TorchRef's ModelFT, grid included; its precision is set by the environment."""

    def load(self, model: str, d_min: float, hkl: np.ndarray) -> None:
        import torchref
        from torchref.model.model_ft import ModelFT

        torchref.config.caching.value = False
        loaded = ModelFT(max_res=d_min)
        loaded.load_pdb(model)
        loaded.setup_grid(max_res=d_min)
        self.hkl = hkl
        indices = self.torch.as_tensor(hkl)
        self.parameters = [p for p in loaded.parameters() if p.requires_grad]
        self.compute = lambda: loaded(indices)


class SFCalculator(Engine):
    """SFcalculator-torch: direct summation, float32."""

    def load(self, model: str, d_min: float, hkl: np.ndarray) -> None:
        from SFC_Torch import SFcalculator

        loaded = SFcalculator(model, dmin=d_min, device=self.torch.device("cpu"))
        self.hkl = np.asarray(loaded.Hasu_array)
        self.parameters = [
            t.detach().clone().requires_grad_()
            for t in (loaded.atom_pos_orth, loaded.atom_b_iso, loaded.atom_occ)
        ]
        xyz, b_iso, occupancy = self.parameters
        self.compute = lambda: loaded.calc_fprotein(
            atoms_position_tensor=xyz, atoms_biso_tensor=b_iso, atoms_occ_tensor=occupancy,
            Return=True,
        )  # fmt: skip


class Gemmi(Engine):
    """gemmi's DensityCalculatorX and FFT; no gradients."""

    gradients = False

    def __init__(self, threads: int, *, blur: bool = True) -> None:
        self.blur = blur

    def load(self, model: str, d_min: float, hkl: np.ndarray) -> None:
        import gemmi

        self.gemmi, self.d_min, self.hkl = gemmi, d_min, hkl
        self.structure = gemmi.read_structure(model)

    def forward(self) -> None:
        calculator = self.gemmi.DensityCalculatorX()
        calculator.d_min, calculator.rate = self.d_min, 1.5
        calculator.grid.setup_from(self.structure)
        if self.blur:
            calculator.set_refmac_compatible_blur(self.structure[0])
        calculator.put_model_density_on_grid(self.structure[0])
        self.grid = self.gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
        self.data = self.grid.prepare_asu_data(dmin=self.d_min, unblur=calculator.blur)

    def sample(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        indices = map(tuple, self.data.miller_array.tolist())
        table = dict(zip(indices, self.data.value_array, strict=True))
        some = [h for h in map(tuple, self.hkl[picked].tolist()) if h in table]
        return np.array(some), np.array([table[h] for h in some])


class Cctbx(Engine):
    """cctbx's FFT route, forward and with its gradients."""

    def __init__(self, threads: int) -> None:
        pass

    def load(self, model: str, d_min: float, hkl: np.ndarray) -> None:
        import iotbx.pdb
        from cctbx import miller, xray
        from cctbx.array_family import flex

        structure = iotbx.pdb.input(file_name=model).xray_structure_simple()
        structure.scattering_type_registry(table="it1992")
        structure.scatterers().flags_set_grads(state=False)
        everything = flex.size_t_range(structure.scatterers().size())
        for name in ("site", "u_iso", "occupancy"):
            getattr(structure.scatterers(), f"flags_set_grad_{name}")(iselection=everything)
        self.hkl = hkl
        indices = miller.set(
            structure.crystal_symmetry(),
            flex.miller_index([tuple(h) for h in hkl.tolist()]),
            anomalous_flag=False,
        )
        factors = xray.structure_factors
        forward = factors.from_scatterers(miller_set=indices)
        adjoint = factors.gradients(miller_set=indices)

        def compute() -> object:
            return forward(xray_structure=structure, miller_set=indices, algorithm="fft").f_calc()

        def both() -> None:
            f = compute()
            unit = f.data() / flex.complex_double(flex.abs(f.data()), flex.double(f.size(), 0))
            adjoint(
                xray_structure=structure, u_iso_refinable_params=None, miller_set=indices,
                d_target_d_f_calc=unit, n_parameters=structure.n_parameters(), algorithm="fft",
            )  # fmt: skip

        self.compute, self.both = compute, both

    def forward(self) -> None:
        self.f = self.compute().data()

    def sample(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.hkl[picked], self.f.as_numpy_array()[picked]


ENGINES = {
    "multicopy float64": OurEngine,
    "multicopy float32": lambda n: OurEngine(n, single=True),
    "multicopy, accuracy 1e-3": lambda n: OurEngine(n, accuracy=1e-3),
    "multicopy torch-only": lambda n: OurEngine(n, plain=True),
    "torchref float64": TorchRef,
    "torchref float32": TorchRef,
    "sfcalculator": SFCalculator,
    "gemmi": Gemmi,
    "gemmi, no blur": lambda n: Gemmi(n, blur=False),
    "cctbx": Cctbx,
}


def memory(name: str) -> int:
    """Return VmRSS or VmHWM of this process in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def grown(work: Callable[[], None]) -> dict[str, object]:
    """Return by how much the process grew at the peak of a call, and the peak, MB; and seconds."""
    ctypes.CDLL(None).malloc_trim(0)  # freed memory goes back, so that the call is charged it
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = memory("VmRSS")
    took = seconds(work)
    peak = memory("VmHWM")
    return {"growth_mb": (peak - before) / 1024, "peak_mb": peak / 1024, "took": took}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    engine = ENGINES[sys.argv[1]](int(sys.argv[2]))
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, object] = {}
        if order["do"] == "load":
            engine.load(order["model"], order["d_min"], np.load(order["hkl"]))
            answer = {"rss_mb": memory("VmRSS") / 1024, "gradients": engine.gradients}
        elif order["do"] in ("forward", "both"):
            work = getattr(engine, order["do"])
            # counting memory empties tables that the next accesses fill again: not while timing
            answer = {}
            if order.get("memory"):
                engine.let_go()
                answer = grown(work)
            answer["seconds"] = [seconds(work) for _ in range(order.get("calls", 0))]
        elif order["do"] == "sample":
            random = np.random.default_rng(0)
            picked = random.permutation(len(engine.hkl))[: order["n"]]
            indices, values = engine.sample(picked)
            np.savez(order["out"], hkl=indices, f=values)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
