"""The limit on guessing."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.auth import AuthRefused, GuessLimiter
from remotevirt.auth import limiter as module
from remotevirt.auth.limiter import ENTRIES_MAXIMUM, FREE_FAILURES, LONGEST_BLOCK, WINDOW


class LimiterTests(SynchronousTestCase):
    """One limiter, one clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.limiter = GuessLimiter(self.clock)

    def refused(self, peer: str = "p", user: str = "u") -> bool:
        """Whether an attempt is refused now."""
        try:
            self.limiter.check(peer, user)
        except AuthRefused:
            return True
        return False

    def fail_times(self, count: int, peer: str = "p", user: str = "u") -> None:
        """Fail, whether it is the time or not."""
        for _ in range(count):
            self.limiter.failed(peer, user)

    def wait(self, peer: str = "p", user: str = "u") -> float:
        """How long until an attempt is not refused."""
        seconds = 0.0
        while self.refused(peer, user):
            self.clock.advance(0.5)
            seconds += 0.5
        return seconds

    def test_a_few_failures_cost_nothing(self) -> None:
        self.fail_times(FREE_FAILURES)
        self.assertFalse(self.refused())

    def test_blocks_double_up_to_a_bound(self) -> None:
        self.fail_times(FREE_FAILURES)
        waits = []
        for _ in range(9):
            self.fail_times(1)
            waits.append(self.wait())
        self.assertEqual([1, 2, 4, 8, 16, 32, LONGEST_BLOCK, LONGEST_BLOCK, LONGEST_BLOCK], waits)

    def test_attempts_while_refused_do_not_count(self) -> None:
        self.fail_times(FREE_FAILURES + 1)
        for _ in range(100):
            self.assertTrue(self.refused())
        self.assertEqual(1, self.wait())

    def test_peer_is_refused_under_any_name(self) -> None:
        for number in range(FREE_FAILURES + 1):
            self.fail_times(1, user=f"u{number}")
        self.assertTrue(self.refused(user="somebody"))
        self.assertFalse(self.refused(peer="q", user="somebody"))

    def test_user_is_refused_from_any_peer(self) -> None:
        for number in range(FREE_FAILURES + 1):
            self.fail_times(1, peer=f"p{number}")
        self.assertTrue(self.refused(peer="q"))
        self.assertFalse(self.refused(peer="q", user="somebody"))

    def test_user_is_let_in_from_where_it_came_before(self) -> None:
        self.limiter.succeeded("home", "u")
        for number in range(FREE_FAILURES + 1):
            self.fail_times(1, peer=f"p{number}")
        self.assertFalse(self.refused(peer="home"))
        self.assertTrue(self.refused(peer="q"))
        self.fail_times(FREE_FAILURES + 1, peer="home")
        self.assertTrue(self.refused(peer="home"))

    def test_success_resets(self) -> None:
        self.fail_times(FREE_FAILURES)
        self.limiter.succeeded("p", "u")
        self.fail_times(FREE_FAILURES)
        self.assertFalse(self.refused())

    def test_quiet_window_resets(self) -> None:
        self.fail_times(FREE_FAILURES + 10)
        self.clock.advance(WINDOW + 1)
        self.fail_times(FREE_FAILURES)
        self.assertFalse(self.refused())

    def test_long_attack_does_not_overflow(self) -> None:
        self.fail_times(5000)
        self.assertEqual(LONGEST_BLOCK, self.wait())

    def test_memory_is_bounded(self) -> None:
        self.patch(module, "ENTRIES_MAXIMUM", 50)
        for number in range(1000):
            self.fail_times(1, f"p{number}", f"u{number}")
            self.limiter.succeeded(f"q{number}", f"v{number}")
        self.assertEqual(150, len(self.limiter))
        self.assertGreater(ENTRIES_MAXIMUM, 1000)

    def test_reason(self) -> None:
        self.fail_times(FREE_FAILURES + 1)
        error = self.assertRaises(AuthRefused, self.limiter.check, "p", "u")
        self.assertEqual("peer 'p' has failed 6 times: refused for 1 s", str(error))
