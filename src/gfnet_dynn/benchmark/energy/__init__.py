"""Energy of a piece of work, read from the meters that the device has."""
