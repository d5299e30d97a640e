"""Coverage-guided fuzzing: targets, the driver, and a small corpus that ``make test`` replays."""
