"""One campaign at a time in a folder."""

import json
import os
import subprocess
import sys

import pytest

from multicopy_refinement.campaign.lock import LOCK, locked
from multicopy_refinement.errors import OutputError


def test_a_folder_is_held_by_one_and_free_afterwards(tmp_path):
    with locked(tmp_path) as left:
        assert left is None
        with pytest.raises(OutputError) as fault, locked(tmp_path):
            pass
        assert f"process {os.getpid()} on " in str(fault.value)
        assert (tmp_path / LOCK).is_file()  # the one that was refused took nothing away
    assert not (tmp_path / LOCK).exists()


def test_the_lock_of_a_process_that_is_gone_is_told_and_taken(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from multicopy_refinement.campaign.lock import locked\n"
        "with locked(Path(sys.argv[1])): os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    pid = json.loads((tmp_path / LOCK).read_text())["pid"]
    with locked(tmp_path) as left:
        assert left is not None
        assert f"process {pid}" in left
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "free"),
    [({"host": "elsewhere"}, False), ({"began": 1.0}, True), ({"pid": 2**22 + 1}, True)],
)
def test_another_machine_cannot_be_judged_but_a_number_used_again_can(tmp_path, change, free):
    with locked(tmp_path):
        content = json.loads((tmp_path / LOCK).read_text())
    (tmp_path / LOCK).write_text(json.dumps(content | change))
    if free:
        with locked(tmp_path) as left:
            assert "its lock is removed" in left
    else:
        with (
            pytest.raises(OutputError, match=r"on elsewhere.*remove .*campaign\.lock"),
            locked(tmp_path),
        ):
            pass


def test_a_lock_that_cannot_be_read_is_no_licence(tmp_path):
    (tmp_path / LOCK).write_text("")
    with pytest.raises(OutputError, match="another campaign is at work"), locked(tmp_path):
        pass
