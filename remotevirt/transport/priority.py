"""Priority strings: which versions and ciphers of TLS are spoken, in the words of GnuTLS.

libvirtd hands ``tls_priority`` to GnuTLS, so operators know its language: ``NORMAL:-VERS-TLS1.3``. Here
OpenSSL does the work, and what both can say alike is translated; any other word is an error that names it,
never ignored. The rule for translating is that the result may be stricter than what GnuTLS would make of it
and never laxer: words that take away what is not offered here anyway mean nothing, words that add it are
errors.

Offered are TLS 1.2 and 1.3, key exchange with forward secrecy (ECDHE), and ciphers that authenticate what
they encrypt. Python's ``ssl`` cannot choose among TLS 1.3's three cipher suites, which are all of that kind.
So the words for single ciphers need a string that leaves TLS 1.3 out; those for levels of strength do not, as
OpenSSL's security levels reach both versions.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

import attrs

__all__ = ["Policy"]

VERSIONS: Mapping[str, ssl.TLSVersion] = {
    "VERS-TLS1.2": ssl.TLSVersion.TLSv1_2,
    "VERS-TLS1.3": ssl.TLSVersion.TLSv1_3,
}
CIPHERS = {
    "AES-256-GCM": "AES256-GCM-SHA384",
    "CHACHA20-POLY1305": "CHACHA20-POLY1305",
    "AES-128-GCM": "AES128-GCM-SHA256",
}
EXCHANGES = {"ECDHE-ECDSA": "ECDHE-ECDSA", "ECDHE-RSA": "ECDHE-RSA"}
MACS = {"AEAD": "AEAD"}
"""What is offered, by GnuTLS's names: for ciphers and key exchanges OpenSSL's beside them, best first."""

LEVEL = 2
"""OpenSSL's security level: keys as strong as 112 bits (RSA 2048), no SHA-1. GnuTLS's NORMAL is no
stricter."""

KEYWORDS = {"NORMAL": 2, "PERFORMANCE": 2, "PFS": 2, "SECURE128": 2, "SECURE192": 4, "SECURE256": 4}
"""What a string may begin with, and the security level that it stands for. The first four differ only in what
is not offered here. GnuTLS's last two mean the same: ciphers of 256 bits, curves and signatures of 192."""

PROFILES = {"MEDIUM": 2, "HIGH": 3, "ULTRA": 4, "FUTURE": 5}
"""``%PROFILE_``: GnuTLS's profiles of 112, 128, 192 and 256 bits, which are OpenSSL's levels from 2 to 5."""

ALREADY = {
    "%SERVER_PRECEDENCE",
    "%SAFE_RENEGOTIATION",
    "%NO_TICKETS",
    "%NO_TICKETS_TLS12",
    "+COMP-NULL",
    "-COMP-ALL",
    "-COMP-DEFLATE",
    "+SIGN-ALL",
    "+GROUP-ALL",
    "+CURVE-ALL",
}
"""Words that say what is so here in any case."""

NEVER = re.compile(
    r"""-( VERS-(SSL3\.0 | TLS1\.[01] | DTLS0\.9 | DTLS1\.[02] | DTLS-ALL)
         | (3DES | AES-(128|192|256) | CAMELLIA-(128|192|256) | DES)-CBC
         | AES-(128|256)-CCM(-8)? | CAMELLIA-(128|256)-GCM | ARCFOUR-(128|40) | RC2-40 | NULL
         | RSA(-EXPORT)? | DHE-(RSA|DSS) | ANON-(DH|ECDH) | ((RSA|DHE|ECDHE)-)?PSK | SRP(-RSA|-DSS)?
         | MD5 | SHA1 | SHA256 | SHA384 | UMAC-(96|128)
         | SIGN-(RSA-MD5 | RSA-SHA1 | ECDSA-SHA1 | DSA-SHA(1|224|256|384|512)) )""",
    re.VERBOSE,
)
"""Words that take away what is not offered here."""


@attrs.frozen
class Policy:
    """What of TLS a listener speaks.

    Args:
        versions: the versions, oldest first.
        ciphers: those of TLS 1.2, as OpenSSL's cipher string.
        level: OpenSSL's security level.
    """

    versions: tuple[ssl.TLSVersion, ...] = tuple(VERSIONS.values())
    ciphers: str = ":".join(f"{kx}-{cipher}" for cipher in CIPHERS.values() for kx in EXCHANGES.values())
    level: int = LEVEL

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Translate a priority string.

        Raises:
            ValueError: it holds a word that has no translation, or leaves nothing to speak; one line.
        """
        return _Reader(text).policy()


class _Reader:
    """The state of reading a priority string: what is offered after the words so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.level = LEVEL
        first, *words = text.upper().split(":")
        full = first != "NONE"
        self.versions = set(VERSIONS if full else ())
        self.ciphers = set(CIPHERS if full else ())
        self.exchanges = set(EXCHANGES if full else ())
        self.macs = set(MACS if full else ())
        if full:
            self.keyword(first)
        for word in words:
            self.word(word)

    def refuse(self, why: str) -> ValueError:
        return ValueError(f"TLS priority {self.text!r}: {why}")

    def keyword(self, word: str) -> None:
        level = KEYWORDS.get(word)
        if level is None:
            raise self.refuse(
                f"{word} is not among what it may begin with here ({', '.join([*KEYWORDS, 'NONE'])})"
            )
        self.level = max(self.level, level)

    def word(self, word: str) -> None:
        if word[:1] == "!":
            word = "-" + word[1:]
        if word in ALREADY or NEVER.fullmatch(word):
            return
        if word.startswith("%PROFILE_") and word[9:] in PROFILES:
            self.level = max(self.level, PROFILES[word[9:]])
            return
        sign, name = word[:1], word[1:]
        for every, offered, chosen in (
            (("VERS-ALL", "VERS-TLS-ALL"), VERSIONS, self.versions),
            (("CIPHER-ALL",), CIPHERS, self.ciphers),
            (("KX-ALL",), EXCHANGES, self.exchanges),
            (("MAC-ALL",), MACS, self.macs),
        ):
            if sign == "-" and name in every:
                chosen.clear()
                return
            if sign in ("+", "-") and name in offered:
                (chosen.add if sign == "+" else chosen.discard)(name)
                return
        if sign == "+" or not word:
            raise self.refuse(f"{word or 'an empty word'} is not offered here")
        raise self.refuse(f"{word} cannot be had with OpenSSL")

    def policy(self) -> Policy:
        single = len(self.ciphers) < len(CIPHERS) or len(self.exchanges) < len(EXCHANGES)
        if not self.versions:
            raise self.refuse("it leaves no version of TLS")
        if not (self.ciphers and self.exchanges and self.macs):
            raise self.refuse("it leaves no ciphers")
        if single and "VERS-TLS1.3" in self.versions:
            raise self.refuse("TLS 1.3's ciphers cannot be chosen one by one; add -VERS-TLS1.3")
        return Policy(
            tuple(version for name, version in VERSIONS.items() if name in self.versions),
            ":".join(
                f"{kx}-{cipher}"
                for name, cipher in CIPHERS.items()
                if name in self.ciphers
                for exchange, kx in EXCHANGES.items()
                if exchange in self.exchanges
            ),
            self.level,
        )
