"""Make certificates for trying TLS out: an authority, a server and a client, in one folder."""

import sys
from pathlib import Path

import trustme

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
authority = trustme.CA(organization_name="trying remotevirt out")
authority.cert_pem.write_to_path(str(folder / "cacert.pem"))
for name, identity in (("server", "localhost"), ("client", "client@example.org")):
    issued = authority.issue_cert(identity, common_name=name)
    issued.private_key_pem.write_to_path(str(folder / f"{name}key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}cert.pem"))
