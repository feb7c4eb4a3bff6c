"""Encoders made cheaper: fewer layers or units, fewer tokens, narrower numbers, smaller inputs."""
