"""The tree of a domain's moments stays a tree, whatever is added and removed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.domains.moments import MomentTable
from remotevirt.errors import VirError
from remotevirt.xml.moment import Moment

NAMES = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), NAMES, st.none() | NAMES),
        st.tuples(st.just("remove"), NAMES, st.none()),
    ),
    max_size=40,
)


class MomentTableTests(SynchronousTestCase):
    """MomentTable against a plain map from names to parents."""

    @settings(max_examples=200, deadline=None)
    @given(STEPS)
    def test_tree(self, steps: list[tuple[str, str, str | None]]) -> None:
        """Every moment hangs below its parent, once, and nothing hangs below itself."""
        table: MomentTable[Moment] = MomentTable()
        parents: dict[str, str | None] = {}
        for what, name, parent in steps:
            if what == "remove":
                if name in parents:
                    table.remove(name)
                    above = parents.pop(name)
                    parents = {one: above if up == name else up for one, up in parents.items()}
            elif self.fits(parents, name, parent):
                table.check_parent(Moment(name, parent=parent))
                table.add(Moment(name, parent=parent))
                parents[name] = parent
            else:
                self.assertRaises(VirError, table.check_parent, Moment(name, parent=parent))
        self.assertEqual({moment.name: moment.parent for moment in table}, parents)
        for name in (None, *parents):
            children = {one for one, up in parents.items() if up == name}
            self.assertEqual(
                (set(table.children(name)), len(table.children(name))), (children, len(children))
            )
        everything = table.descendants(None)
        self.assertEqual(sorted(everything), sorted(parents))
        for place, name in enumerate(everything):
            self.assertIn(parents[name], {None, *everything[:place]})

    @staticmethod
    def fits(parents: dict[str, str | None], name: str, parent: str | None) -> bool:
        """Return whether a moment may have this parent."""
        while parent is not None:
            if parent == name or parent not in parents:
                return False
            parent = parents[parent]
        return True
