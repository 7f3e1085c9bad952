"""Put the 3D viewer of the report into the package: 3Dmol.js from the npm registry, by its digest.

    python scripts/vendor_viewer.py

The script and its licence are part of the package, so that reports need no network. npm must be at
hand. To take another version, change VERSION and SHA256, and look at a report.
"""

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.5.5"
SHA256 = "26d91c5036d4efe78fc032c22cb692fea92bbb3cb1e65d20bf3869673fb3d8f5"
STATIC = Path(__file__).resolve().parents[1] / "src/multicopy_refinement/report/static"
FILES = {"package/build/3Dmol-min.js": "3Dmol-min.js", "package/LICENSE": "3Dmol-LICENSE.txt"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "--silent", "pack", f"3dmol@{VERSION}"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = Path(folder).glob("*.tgz")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != SHA256:
            raise SystemExit(f"3dmol {VERSION} has the digest {digest}, not {SHA256}")
        STATIC.mkdir(exist_ok=True)
        with tarfile.open(archive) as package:
            for name, target in FILES.items():
                member = package.extractfile(name)
                assert member is not None
                (STATIC / target).write_bytes(member.read())
    print(f"3Dmol.js {VERSION} is in {STATIC}")


if __name__ == "__main__":
    main()
