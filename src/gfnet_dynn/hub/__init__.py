"""Repositories on the Hugging Face Hub: the one place, beside the archives of data sets, that knows its client."""
