"""Models of CPUs as libvirt names them: what each has, and what several have in common."""
