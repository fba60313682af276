"""What a flavor, a network and a keypair must be: pure functions of what was asked for."""
