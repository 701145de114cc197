#!/usr/bin/env bash
# A shell script under test: it starts a guest, and tries again if that fails.
set -eu

coproc FAKE { exec remotevirt-fake --clock manual --world "$(dirname "$0")/lab.toml"; }
read -r said <&"${FAKE[0]}"
uri=$(sed 's/.*"uri": "\([^"]*\)".*/\1/' <<<"$said")
control=$(sed 's/.*"control": "\([^"]*\)".*/\1/' <<<"$said")

ask() { # VERB JSON
    curl -sSf -H 'Content-Type: application/json' -d "$2" "$control/worlds/default/$1" >/dev/null
}

start() { # what is tested
    for try in 1 2 3; do
        virsh -q -c "$uri" start "$1" 2>/dev/null && break
        echo "try $try failed"
    done
}

ask fault '{"procedure": "virDomainCreate*", "error": "no_memory", "count": 2}'
start web-01
virsh -q -c "$uri" domstate web-01 | head -1

ask advance '{"seconds": 30}'
virsh -q -c "$uri" domhostname web-01
