"""Random changes of everything that qiff reads: `make fuzz`; finds are replayed in the tests."""
