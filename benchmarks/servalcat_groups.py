"""Whether Servalcat reads the keywords that we write as the groups that we mean.

    python benchmarks/servalcat_groups.py --peer build/servalcat-venv/bin/python

`make servalcat` installs Servalcat and runs this. Its own reader and its own table of groups are
asked; neither needs a monomer library (a refinement with Servalcat does, for its restraints).
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from data_sets import shared_data
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.occupancy.exchange import ExchangeFormat, write_groups
from multicopy_refinement.occupancy.grouping import Grouping, group_atoms

MODELS = ("1g8a/model.pdb", "mpro-x0107/model.pdb", "2xiu/model.pdb", "6mw0/model.cif")

#: What runs in Servalcat's environment: model and keywords in, atoms of each group out.
PEER = """
import json, sys
import gemmi
import servalcat.utils.commands
from servalcat.refine.refine import GroupOccupancy
from servalcat.refmac import refmac_keywords
model, keywords, out = sys.argv[1:]
structure = gemmi.read_structure(model, merge_chain_parts=False)
for i, site in enumerate(structure[0].all(), start=1):
    site.atom.serial = i
parameters = refmac_keywords.parse_keywords(open(keywords).read().splitlines())
found = GroupOccupancy(structure, parameters["occu"])
atoms = [[a.serial - 1 for a in group] for group in found.groups]
sums = [[bool(complete), list(groups)] for complete, groups in found.consts]
json.dump({"atoms": atoms, "sums": sums, "cycles": found.ncycle}, open(out, "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="python that has servalcat")
    arguments = parser.parse_args()
    print("| model | grouping | our groups | Servalcat's | same atoms | our sets | Servalcat's |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in MODELS:
        model = shared_data() / name
        source = read_structure(model)
        for grouping in (Grouping.RESIDUE, Grouping.CONNECTED):
            groups = group_atoms(source.table, grouping, crystal=source.crystal).groups
            with tempfile.TemporaryDirectory() as folder:
                keywords, out = Path(folder, "keywords.txt"), Path(folder, "out.json")
                keywords.write_text(write_groups(groups, ExchangeFormat.REFMAC))
                subprocess.run(
                    [arguments.peer, "-W", "ignore", "-c", PEER, model, keywords, out],
                    check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                found = json.loads(out.read_text())
            # atoms by their place in gemmi's order, which is that of Servalcat
            theirs = {frozenset(int(source.order[a]) for a in atoms) for atoms in found["atoms"]}
            ours = {
                frozenset(members.tolist())
                for members, refined in zip(groups.members, groups.refined, strict=True)
                if refined
            }
            sets = [s for s in groups.sets if s.total == 1.0 and s.parent is None]
            print(
                f"| {name} | {grouping} | {len(ours)} | {len(theirs)} | {len(ours & theirs)} "
                f"| {len(sets)} | {len(found['sums'])} |"
            )


if __name__ == "__main__":
    main()
