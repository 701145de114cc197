"""The contract compiler: from ``.x`` text to a typed model, and from there to Python, text and comparisons.

::

    text --lexer--> tokens --parser--> syntax --dialect--> syntax --resolve--> model
                                                                                 |
                     printer: text   diff: changes   reference: a codec   emit: the stubs

The input is RFC 4506 and RFC 5531 with annotations in doc comments, or libvirt's own dialect of it. Nothing
that runs in a daemon imports this package: what it needs is generated beforehand.
"""

from remotevirt.rpcgen.errors import RpcgenError

__all__ = ["RpcgenError"]
