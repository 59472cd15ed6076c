"""Okabe and Ito's colours, which colour-blind readers tell apart."""

BLUE, SKY, GREEN = "#0072b2", "#56b4e9", "#009e73"
ORANGE, VERMILION, PURPLE = "#e69f00", "#d55e00", "#cc79a7"
YELLOW, BLACK = "#f0e442", "#000000"
