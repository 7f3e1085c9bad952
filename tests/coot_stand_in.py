"""A stand-in of the few functions of Coot 1 that ``coot_groups.py`` calls."""

from __future__ import annotations

import runpy
import sys
from types import ModuleType, SimpleNamespace

import gemmi


class StandIn(ModuleType):
    """The functions of Coot 1 that the script calls, on a structure of gemmi."""

    def __init__(self, graphics):
        super().__init__("coot")
        self.graphics, self.centre, self.maps, self.drawn = graphics, None, [], []

    def use_graphics_interface_state(self):
        return int(self.graphics)

    def handle_read_draw_molecule_with_recentre(self, path, recentre):
        assert recentre in {0, 1}
        self.structure = gemmi.read_structure(path)
        return 7

    def auto_read_make_and_draw_maps(self, path):
        labels = gemmi.read_mtz_file(path).column_labels()
        assert {"FWT", "PHWT", "DELFWT", "PHDELWT"} <= set(labels)
        self.maps.append(path)
        return [8, 9]

    def make_and_draw_map(self, path, f, phi, weight, use_weights, is_difference):
        types = {c.label: c.type for c in gemmi.read_mtz_file(path).columns}
        assert (types[f], types[phi]) == ("F", "P")
        assert (weight, use_weights, is_difference) == ("", 0, 1)
        self.drawn.append((f, phi))
        return 10

    def set_rotation_centre(self, x, y, z):
        self.centre = (x, y, z)

    def _find(self, model, chain, number, icode, name, altloc):
        assert model == 7
        for residue in self.structure[0][chain]:
            if residue.seqid.num != number or residue.seqid.icode.strip() != icode:
                continue
            for atom in residue:
                if (atom.padded_name().ljust(4), atom.altloc.strip("\0")) == (name, altloc):
                    return residue, atom
        raise AssertionError(f"no atom {chain} {number} {name!r} {altloc!r}")

    def set_atom_attributes_py(self, settings):
        for *address, attribute, value in settings:
            assert attribute == "occ"
            self._find(*address)[1].occ = value

    def delete_atom(self, *address):
        residue, atom = self._find(*address)
        residue.remove_atom(atom.name, atom.altloc, atom.element)


def run_script(folder, monkeypatch, *, graphics=True):
    """Run the script in a folder, and return Coot, the dialogs that it showed, and its session."""
    coot, gui, shown = StandIn(graphics), ModuleType("coot_gui"), []
    gui.dialog_box_of_buttons = lambda *arguments: shown.append(arguments)
    monkeypatch.setitem(sys.modules, "coot", coot)
    monkeypatch.setitem(sys.modules, "coot_gui", gui)
    session = runpy.run_path(str(folder / "coot_groups.py"))["session"]
    return SimpleNamespace(coot=coot, shown=shown, session=session)
