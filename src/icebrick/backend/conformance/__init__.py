"""What every storage medium must do, as checks that run anywhere: in the tests, and at an operator's location."""
