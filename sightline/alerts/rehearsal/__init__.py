"""What a budget costs and buys on a monitor's own history (`sightline rehearse`)."""
