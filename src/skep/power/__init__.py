"""What a run and a site draw, what the sun and the wind give, what is left under the cap. Pure."""
