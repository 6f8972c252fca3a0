"""Energy of a piece of work, read from meters that the device has; what no meter measured is never called measured."""
