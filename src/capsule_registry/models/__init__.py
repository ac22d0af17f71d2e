"""Values that go in and come out."""
