"""Priority strings: what GnuTLS's words become, and which have no translation."""

from __future__ import annotations

import ssl

from twisted.trial.unittest import TestCase

from remotevirt.transport.priority import CIPHERS, EXCHANGES, KEYWORDS, NEVER, Policy

BOTH = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
OLDER, NEWER = ((version,) for version in BOTH)


class PolicyTests(TestCase):
    """:meth:`Policy.parse`."""

    def refused(self, text: str) -> str:
        error = self.assertRaises(ValueError, Policy.parse, text)
        start = f"TLS priority {text!r}: "
        self.assertTrue(str(error).startswith(start), str(error))
        return str(error).removeprefix(start)

    def test_default(self) -> None:
        """Six cipher suites of TLS 1.2, all of which this OpenSSL has."""
        self.assertEqual(Policy(), Policy.parse("NORMAL"))
        self.assertEqual(BOTH, Policy().versions)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(Policy().ciphers)
        older = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"}
        self.assertEqual(set(Policy().ciphers.split(":")), older)
        self.assertEqual(len(CIPHERS) * len(EXCHANGES), len(older))

    def test_keywords(self) -> None:
        for word in ("PFS", "SECURE128", "performance"):
            self.assertEqual(Policy(), Policy.parse(word))
        for word in ("SECURE192", "SECURE256"):
            self.assertEqual(Policy(level=4), Policy.parse(word))

    def test_versions(self) -> None:
        for text, versions in {
            "NORMAL:-VERS-TLS1.3": OLDER,
            "NORMAL:!VERS-TLS1.3": OLDER,
            "NORMAL:-VERS-TLS1.2": NEWER,
            "NORMAL:-VERS-ALL:+VERS-TLS1.2": OLDER,
            "NORMAL:-VERS-TLS-ALL:+VERS-TLS1.3": NEWER,
            "NORMAL:-VERS-TLS-ALL:+VERS-TLS1.3:+VERS-TLS1.2": BOTH,
            "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-DTLS-ALL": BOTH,
        }.items():
            self.assertEqual(Policy(versions), Policy.parse(text), text)

    def test_ciphers(self) -> None:
        self.assertEqual(
            "ECDHE-RSA-AES256-GCM-SHA384",
            Policy.parse(
                "NONE:+VERS-TLS1.2:+AES-256-GCM:+ECDHE-RSA:+AEAD:+SIGN-ALL:+GROUP-ALL:+COMP-NULL"
            ).ciphers,
        )
        self.assertEqual(
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305",
            Policy.parse("NORMAL:-VERS-TLS1.3:-ECDHE-RSA:-AES-128-GCM").ciphers,
        )
        self.assertEqual(
            Policy(OLDER),
            Policy.parse("NORMAL:-VERS-TLS1.3:-AES-128-GCM:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:+AES-128-GCM"),
        )

    def test_what_is_so_already(self) -> None:
        self.assertEqual(
            Policy(),
            Policy.parse(
                "NORMAL:-3DES-CBC:-ARCFOUR-128:-RSA:-DHE-RSA:-SHA1:-MD5:-AES-128-CBC:-AES-256-CCM-8"
                ":-SIGN-RSA-SHA1:-COMP-ALL:%SERVER_PRECEDENCE:%SAFE_RENEGOTIATION:%NO_TICKETS"
            ),
        )

    def test_profiles(self) -> None:
        self.assertEqual(3, Policy.parse("NORMAL:%PROFILE_HIGH").level)
        self.assertEqual(4, Policy.parse("SECURE256:%PROFILE_MEDIUM").level)

    def test_no_translation(self) -> None:
        for text, why in {
            "NORMAL:+VERS-TLS1.0": "+VERS-TLS1.0 is not offered here",
            "NORMAL:+VERS-TLS-ALL": "+VERS-TLS-ALL is not offered here",
            "NORMAL:+AES-128-CBC": "+AES-128-CBC is not offered here",
            "NORMAL:+ANON-ECDH": "+ANON-ECDH is not offered here",
            "NORMAL:": "an empty word is not offered here",
            "NORMAL:%COMPAT": "%COMPAT cannot be had with OpenSSL",
            "NORMAL:%PROFILE_LOW": "%PROFILE_LOW cannot be had with OpenSSL",
            "NORMAL:%UNSAFE_RENEGOTIATION": "%UNSAFE_RENEGOTIATION cannot be had with OpenSSL",
            "NORMAL:-GROUP-X25519": "-GROUP-X25519 cannot be had with OpenSSL",
            "NORMAL:-TYPO": "-TYPO cannot be had with OpenSSL",
            "NORMAL:AES-256-GCM": "AES-256-GCM cannot be had with OpenSSL",
        }.items():
            self.assertEqual(why, self.refused(text))

    def test_beginnings(self) -> None:
        for text in ("", "LEGACY", "SYSTEM", "@LIBVIRT,SYSTEM", "SUITEB128", "+NORMAL"):
            self.assertIn(" is not among what it may begin with here (NORMAL, ", self.refused(text))

    def test_nothing_left(self) -> None:
        for text in ("NONE", "NORMAL:-VERS-ALL", "NORMAL:-VERS-TLS1.2:-VERS-TLS1.3"):
            self.assertEqual("it leaves no version of TLS", self.refused(text))
        for text in ("NORMAL:-CIPHER-ALL", "NORMAL:-KX-ALL", "NORMAL:-AEAD", "NORMAL:-MAC-ALL"):
            self.assertEqual("it leaves no ciphers", self.refused(text))

    def test_single_ciphers_of_the_newer_version(self) -> None:
        """Python cannot choose among them, so that asking for it must not look as if it worked."""
        for word in ("-AES-128-GCM", "-CHACHA20-POLY1305", "-ECDHE-RSA"):
            self.assertIn("add -VERS-TLS1.3", self.refused(f"NORMAL:{word}"))

    def test_words_that_mean_nothing_are_none_of_ours(self) -> None:
        for name in [*CIPHERS, *EXCHANGES, *KEYWORDS, "VERS-TLS1.2", "VERS-TLS1.3", "AEAD"]:
            self.assertIsNone(NEVER.fullmatch(f"-{name}"))
