"""What else is asked of a candidate beside the comparison with the champion, section by section."""
