"""Libvirt XML from pure functions: a spec and the host's shape in, text out. One device a file."""
