"""Units an answer may carry: what they measure, and how many of the base unit one is."""

from fractions import Fraction

_PER_DIMENSION = {
    "length": {
        "1": "m meter meters metre metres",
        "1000": "km kilometer kilometers kilometre kilometres",
        "1/100": "cm centimeter centimeters centimetre centimetres",
        "1/1000": "mm millimeter millimeters millimetre millimetres",
        "1609.344": "mi mile miles",
        "0.9144": "yd yard yards",
        "0.3048": "ft foot feet",
        "0.0254": "inch inches",
    },
    "time": {
        "1": "s sec secs second seconds",
        "1/1000": "ms millisecond milliseconds",
        "60": "min mins minute minutes",
        "3600": "h hr hrs hour hours",
        "86400": "day days",
        "604800": "week weeks",
    },
    "mass": {
        "1": "kg kilogram kilograms kilo kilos",
        "1/1000": "g gram grams",
        "1/1000000": "mg milligram milligrams",
        "0.45359237": "lb lbs pound pounds",
        "1000": "tonne tonnes",
    },
    "volume": {"1": "l liter liters litre litres", "1/1000": "ml milliliter milliliters millilitre millilitres"},
    "angle": {"1": "° degree degrees deg ^\\circ ^{\\circ} \\circ", "57.29577951308232": "rad radian radians"},
    "dollars": {"1": "$ usd dollar dollars us$ buck bucks", "1/100": "¢ cent cents"},
    "euros": {"1": "€ eur euro euros"},
    "pounds sterling": {"1": "£ gbp"},
    "yen": {"1": "¥ jpy yen"},
    "rupees": {"1": "₹ inr rupee rupees rs"},
    "temperature in C": {"1": "°c celsius"},
    "temperature in F": {"1": "°f fahrenheit"},
    "speed": {"1": "m/s", "1/3.6": "km/h kmh kph", "0.44704": "mph"},
}


def _ratio(text: str) -> Fraction:
    """The factor as an exact fraction."""
    over, _, under = text.partition("/")
    return Fraction(over) / Fraction(under or "1")


UNITS: dict[str, tuple[str, Fraction]] = {
    name: (dimension, _ratio(factor))
    for dimension, factors in _PER_DIMENSION.items()
    for factor, names in factors.items()
    for name in names.split()
}
"""Unit as written, in lower case, to what it measures and its size in the base unit of that."""

SCALES: dict[str, Fraction] = {
    "hundred": Fraction(100),
    "thousand": Fraction(1000),
    "million": Fraction(10**6),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
    "dozen": Fraction(12),
}
