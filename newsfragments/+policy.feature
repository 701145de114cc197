A policy file (TOML) says who may do what on which objects, in libvirt's permissions: it is enforced for every call, list and event. ``remotevirt-policy`` checks it and explains its answers.
