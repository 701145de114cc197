"""Coverage-guided fuzzing, and the same targets on a few thousand fixed inputs."""
