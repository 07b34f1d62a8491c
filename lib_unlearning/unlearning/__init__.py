"""How models forget: one file a method."""
