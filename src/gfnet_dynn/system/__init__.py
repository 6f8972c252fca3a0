"""The machine: files written safely, the processor's name, memory."""
