"""Does what was acknowledged survive a daemon that is killed? ``make durability`` asks hundreds of times.

::

    writers ──► log: intent, fsync ──► call ──► reply ──► log: acknowledged, fsync
    watcher ──► reads objects, hears events
    killer  ──► SIGKILL at a moment drawn from a seed ──► restart ──► every object compared with the logs

The oracle is outside of the daemon: it knows what it was told over the wire, and nothing else.
"""
