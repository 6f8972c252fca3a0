"""Energy measured by the meters of the device."""
