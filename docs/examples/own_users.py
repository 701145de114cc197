"""SASL for users of one's own: PLAIN against any checker of Twisted's, here a file of names and passwords."""

from twisted.cred.checkers import FilePasswordDB
from twisted.cred.portal import Portal
from twisted.internet import reactor

from remotevirt.auth import SaslService, UserRealm


def make_service(path):
    portal = Portal(UserRealm(), [FilePasswordDB(path)])
    return SaslService(portal, reactor, ["PLAIN"])
