"""The stubs in the package are what the contracts and the fact tables generate."""

from pathlib import Path

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.generate import STUBS, differences, generate_all, write


class GeneratedStubsTests(TestCase):
    """``make generate`` was run after the last change of its sources."""

    def test_up_to_date(self) -> None:
        """Nothing below remotevirt/stubs differs from what would be generated now."""
        self.assertEqual(differences(generate_all()), [])

    def test_marked(self) -> None:
        """Every generated module says so, and how to make it anew."""
        unmarked = [
            str(path)
            for path in STUBS.rglob("*.py")
            if "make generate" not in path.read_text().partition("from __future__")[0]
        ]
        self.assertEqual(unmarked, [])


class WriteTests(TestCase):
    """Writing makes a folder hold exactly the files that were generated."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_write(self) -> None:
        """Missing, stale and left-over files are seen and put right; then nothing differs."""
        (self.folder / "old.py").write_text("old")
        (self.folder / "stale.py").write_text("stale")
        files = {"stale.py": "fresh", "package/new.py": "new"}
        self.assertEqual(differences(files, self.folder), ["old.py", "package/new.py", "stale.py"])
        self.assertEqual(write(files, self.folder), ["old.py", "package/new.py", "stale.py"])
        self.assertEqual(differences(files, self.folder), [])
        self.assertEqual((self.folder / "package/new.py").read_text(), "new")
        self.assertFalse((self.folder / "old.py").exists())
