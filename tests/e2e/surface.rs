//! What scripts rely on: words, exit codes, refusals.
