"""Policy files: what is read, what is refused and with which words, and reloading."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.identity import Identity
from remotevirt.policy import Policy, PolicyError, PolicyStore, Thing, load_policy, parse_policy
from remotevirt.policy import file as file_module
from tests.strategies import bounded

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "policy.toml"

GOOD = "[[rule]]\nwho = '*'\nallow = 'all'\n"


class FileTests(SynchronousTestCase):
    """Reading."""

    def test_empty(self) -> None:
        """A policy without rules allows nothing."""
        self.assertEqual((), parse_policy("").rules)

    def test_rule(self) -> None:
        """All that a rule can say."""
        (rule,) = parse_policy(
            """
            [[rule]]
            who = ["uid:0", "gid:0", "dn:*", "sasl:*", "transport:tls", "*"]
            deny = ["all", "domain:start"]
            [rule.on]
            driver = "test"
            name = ["a", "b*"]
            uuid = "00112233-4455-6677-8899-aabbccddeeff"
            metadata = { uri = "u", value = "v", attribute = "a" }
            """
        ).rules
        self.assertFalse(rule.allow)
        self.assertEqual(4, rule.line)
        self.assertEqual(6, len(rule.who))
        self.assertEqual(("a", "b*"), rule.on.names)
        self.assertIn('metadata = { uri = "u", value = "v", attribute = "a" }', rule.text)

    def test_groups(self) -> None:
        """Groups hold permissions and groups, in any order."""
        (rule,) = parse_policy(
            "[groups]\na = ['b', 'domain:start']\nb = 'domain:stop'\n[[rule]]\nwho='*'\nallow='a'"
        ).rules
        self.assertEqual({("domain", "start"), ("domain", "stop")}, rule.rights)

    def test_mistakes(self) -> None:
        """Each says where it is and what is wrong."""
        rule = "[[rule]]\nwho = '*'\n"
        for text, words in (
            ("x = 1", "unknown key 'x'; known: groups, rule"),
            ("rule = 1", "rules are written [[rule]]"),
            ("rule = [1]", "rules are written [[rule]]"),
            ("groups = 1", "groups: a table"),
            ("[groups]\na = 1", "groups: a: a string or a list"),
            ("[groups]\na = []", "groups: a: a string or a list"),
            ("[groups]\na = ['b']", "groups: a: no group 'b'"),
            ("[groups]\na = ['a']", "a contains itself"),
            ("[groups]\na = 'b'\nb = 'a'", "contains itself"),
            ("[groups]\nall = 'domain:start'", "'all' cannot be the name"),
            ("[groups]\n'a:b' = 'domain:start'", "'a:b' cannot be the name"),
            ("[groups]\na = 'domain:strat'", "groups: a: no permission 'strat'"),
            ("[[rule]]\nallow = 'all'", "p:1: rule 1: needs who"),
            ("[[rule]]\nwho = '*'", "p:1: rule 1: needs either allow or deny"),
            (rule + "allow = 'all'\ndeny = 'all'", "p:1: rule 1: needs either"),
            (rule + "allow = 'al'", "p:3: rule 1: allow: no group 'al'"),
            (rule + "allow = ''", "p:3: rule 1: allow: a string"),
            (rule + "allow = [1]", "p:3: rule 1: allow: a string"),
            (rule + "deny = 'x:y'", "p:3: rule 1: deny: no object 'x'"),
            (rule + "allow = 'all'\nalow = 1", "p:4: rule 1: alow: unknown key 'alow'"),
            (GOOD + "\n\n" + "[[rule]]\nwho = 'x'\nallow = 'all'", "p:7: rule 2: who: 'x' is none of"),
            ("[[rule]]\nwho = 'uid:'\nallow = 'all'", "p:2: rule 1: who: 'uid:' is none of"),
            ("[[rule]]\nwho = 'uid:no such user'\nallow = 'all'", "there is no user 'no such user'"),
            ("[[rule]]\nwho = 'gid:-1'\nallow = 'all'", "there is no group '-1'"),
            ("[[rule]]\nwho = 'transport:ssh'\nallow = 'all'", "a transport is unix, tcp or tls"),
            (GOOD + "on = 1", "p:4: rule 1: on: a table"),
            (GOOD + "on = { nam = 'x' }", "p:4: rule 1: on: unknown key 'nam'"),
            (GOOD + "on = { name = [] }", "on: name: a string"),
            (GOOD + "on = { uuid = 'x' }", "on: uuid: 'x' is no UUID"),
            (GOOD + "on.metadata = { uri = 'x' }", "p:4: rule 1: on: metadata: needs value"),
            (GOOD + "on = { metadata = 'x' }", "on: metadata: a table"),
            (GOOD + "on = { metadata = { uri = 'x', value = 'y', x = 1 } }", "metadata: unknown key 'x'"),
            (
                rule + "allow = 'connect:read'\non = { name = 'x' }",
                "p:3: rule 1: allow: connect:read has nothing",
            ),
            (rule + "allow = 'network:*'\non = { parent = 'x' }", "network:* has nothing"),
            ("[[rule]]\nwho = ", "p: Invalid value"),
            ("a = 1\na = 2", "Cannot overwrite a value"),
        ):
            error = self.assertRaises(PolicyError, parse_policy, text, "p")
            self.assertIn(words, str(error))
            self.assertNotIn("\n", str(error))

    def test_lines_that_cannot_be_found(self) -> None:
        """Then there is none: a wrong one would be worse."""
        for text in (
            "rule = [{ who = '*', allow = 'al' }]",
            "groups = { a = '''\n[[rule]]\n''' }\n[[rule]]\nwho = '*'\nallow = 'al'",
        ):
            error = self.assertRaises(PolicyError, parse_policy, text, "p")
            self.assertTrue(str(error).startswith(("p: rule 1", "p: groups")), error)

    def test_bounds(self) -> None:
        """Size, number of rules, depth."""
        self.patch(file_module, "RULES_MAXIMUM", 2)
        parse_policy(GOOD * 2)
        self.assertIn("more than 2", str(self.assertRaises(PolicyError, parse_policy, GOOD * 3)))
        self.assertRaises(PolicyError, parse_policy, "a=" + "[" * 100000)
        chain = "\n".join(f"g{n} = 'g{n + 1}'" for n in range(5000))
        self.assertRaises(PolicyError, parse_policy, f"[groups]\n{chain}\ng5000 = 'all'")

    @bounded(300)
    @given(st.text(max_size=200) | st.text(alphabet="[]{}\"'=\n#ruleswhoalwd*:. ", max_size=200))
    def test_garbage(self, text: str) -> None:
        """A policy, or an error in one line."""
        try:
            parse_policy(text)
        except PolicyError as error:
            self.assertNotIn("\n", str(error))


class LoadTests(SynchronousTestCase):
    """From disk."""

    def write(self, data: str | bytes, mode: int = 0o600) -> Path:
        """Write a file."""
        path = Path(self.mktemp())
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(mode)
        return path

    def test_load(self) -> None:
        """A file."""
        self.assertEqual(1, len(load_policy(self.write(GOOD)).rules))
        self.assertEqual(1, len(load_policy(str(self.write(GOOD, 0o664))).rules))

    def test_refused(self) -> None:
        """What cannot be read, is no text, is too long, or may be changed by everybody."""
        self.patch(file_module, "FILE_MAXIMUM", 100)
        for path, words in (
            (Path(self.mktemp()), "No such file"),
            (self.write(b"# \n\xff"), ":2: not UTF-8"),
            (self.write("#" * 101), "longer than 100 bytes"),
            (self.write(GOOD, 0o602), "everybody may change it (mode 0602)"),
            (Path(os.devnull).parent, "directory"),
        ):
            error = self.assertRaises(PolicyError, load_policy, path)
            self.assertIn(words, str(error))
            self.assertTrue(str(error).startswith(str(path)))

    def test_example(self) -> None:
        """The one in the manual does what its comments say."""
        policy = load_policy(EXAMPLE)
        root = policy.for_client(Identity(uid=0, gid=0), "test")
        self.assertTrue(root.certain("secret", "read_secure"))
        admin = policy.for_client(Identity(transport="tls", dn="C=GB,O=Example,CN=admin-1"), "test")
        self.assertTrue(admin.certain("domain", "delete"))
        self.assertFalse(admin.possible("secret", "read_secure"))
        alice = policy.for_client(Identity(transport="tls", sasl="alice@EXAMPLE"), "test")
        self.assertTrue(alice.certain("connect", "search_domains"))
        self.assertTrue(alice.check("domain", "delete", Thing("domain", "web-1")).allowed)
        self.assertFalse(alice.check("domain", "getattr", Thing("domain", "db-1")).allowed)
        self.assertTrue(alice.check("storage_vol", "create", Thing("storage_vol", "x", b"", "web")).allowed)
        self.assertFalse(alice.check("storage_vol", "create", Thing("storage_vol", "x", b"", "db")).allowed)
        blue = policy.for_client(Identity(transport="tls", sasl="blue/joe"), "test")
        self.assertEqual({"https://example.org/tenant"}, blue.uris("domain", "start"))
        stranger = policy.for_client(Identity(transport="tls", dn="CN=x"), "test")
        self.assertFalse(stranger.possible("domain", "getattr"))


class StoreTests(SynchronousTestCase):
    """The policy in force."""

    def setUp(self) -> None:
        """A file with one rule."""
        self.path = Path(self.mktemp())
        self.path.write_text(GOOD)
        self.store = PolicyStore(self.path)
        self.told: list[Policy] = []

    def test_reload(self) -> None:
        """A new file is in force, and those who listen are told."""
        stop = self.store.listen(self.told.append)
        self.path.write_text(GOOD * 2)
        self.store.reload()
        self.assertEqual(2, len(self.store.current.rules))
        self.assertEqual([self.store.current], self.told)
        stop()
        stop()
        self.store.reload()
        self.assertEqual(1, len(self.told))

    def test_broken(self) -> None:
        """A broken one changes nothing, and says why."""
        self.store.listen(self.told.append)
        before = self.store.current
        self.path.write_text("[[rule]]\n")
        error = self.assertRaises(PolicyError, self.store.reload)
        self.assertIn("needs either allow or deny", str(error))
        self.path.unlink()
        self.assertRaises(PolicyError, self.store.reload)
        self.assertIs(before, self.store.current)
        self.assertEqual([], self.told)

    def test_one_listener_fails(self) -> None:
        """The others are told all the same."""

        def fail(policy: Policy) -> None:
            raise RuntimeError("x")

        self.store.listen(fail)
        self.store.listen(self.told.append)
        self.store.reload()
        self.assertEqual(1, len(self.told))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_broken_from_the_start(self) -> None:
        """There is no policy to go on with."""
        self.path.write_text("x")
        self.assertRaises(PolicyError, PolicyStore, self.path)
