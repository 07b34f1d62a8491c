"""What is kept on disk, and how it is checked when it is read again."""
