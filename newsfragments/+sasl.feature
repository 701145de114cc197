``remotevirt-passwd`` keeps users in a file, and clients log in with SASL: SCRAM-SHA-256, SCRAM-SHA-512, SCRAM-SHA-1, PLAIN, or GSSAPI (Kerberos) with the extra ``gssapi``. Guessing is limited.
