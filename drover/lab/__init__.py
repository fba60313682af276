"""The lab: many hypervisor hosts on one machine, for tests, demonstrations and clusters of one's own."""
