"""A small invented world the sample traces are about: the Sevrin islands, their ferries, stores and encyclopedia.

Nothing here is a real place, person or price, so no answer can be known without the tools below.
"""

from dataclasses import dataclass

CURRENCY = "crowns"


@dataclass(frozen=True, slots=True)
class Island:
    """One island of the archipelago."""

    name: str
    population: int
    area_km2: int
    settled: int
    port: str
    crop: str


ISLANDS = (
    Island("Orrin", 18_420, 212, 1652, "Tarnhaven", "barley"),
    Island("Velda", 7_365, 94, 1688, "Quill Point", "saffron"),
    Island("Maskel", 31_207, 340, 1611, "Greywick", "flax"),
    Island("Tolm", 2_918, 41, 1733, "Pell Landing", "samphire"),
    Island("Ashby Skerry", 846, 12, 1790, "Lowmouth", "kelp"),
    Island("Corvane", 12_554, 158, 1640, "Ferrous Bay", "hops"),
    Island("Dunmarrow", 5_671, 77, 1702, "Saltgate", "rye"),
    Island("Ilsey", 9_983, 120, 1667, "Brindle Quay", "plums"),
    Island("Nettlefold", 15_032, 187, 1629, "Anchor Mere", "oats"),
    Island("Pashka", 4_219, 63, 1714, "Hollin Reach", "beets"),
    Island("Rendle", 22_748, 266, 1618, "Kingsbar", "wheat"),
    Island("Wyke", 1_307, 25, 1771, "Otter Stair", "wool"),
)
BY_NAME = {island.name: island for island in ISLANDS}

ITEMS = {
    "storm lantern": 18.40,
    "hemp rope": 6.75,
    "tar barrel": 42.10,
    "brass cleat": 3.20,
    "signal flag": 9.95,
    "oak plank": 11.60,
    "net float": 1.85,
    "oilskin coat": 57.30,
    "copper nail box": 14.25,
    "sail needle": 0.90,
}
DEPOTS = ("north shed", "quay cellar", "upper loft", "drydock cage")

_PEOPLE = (
    ("Maren Tolliver", 1841, 1907, "cartographer", "Velda", "the first tide atlas of the northern channel"),
    ("Josk Aldermere", 1798, 1866, "shipwright", "Maskel", "the double-keeled packet boat"),
    ("Ottoline Brask", 1872, 1949, "botanist", "Tolm", "the cultivation of blue samphire"),
    ("Fenn Harrowgate", 1820, 1889, "bridge builder", "Rendle", "the Long Causeway of Kingsbar"),
    ("Ilka Verrin", 1903, 1981, "composer", "Ilsey", "the Harbour Bells cantata"),
    ("Tobin Sedge", 1755, 1823, "astronomer", "Corvane", "the star table used by every pilot school"),
    ("Dagny Rooke", 1888, 1960, "physician", "Dunmarrow", "the cure of the marsh fever"),
    ("Pell Marchbank", 1711, 1779, "navigator", "Tolm", "charting the Widow Rocks"),
    ("Hesper Quillon", 1915, 1999, "novelist", "Nettlefold", "the trilogy of the Salt Road"),
    ("Bram Ostrander", 1834, 1902, "clockmaker", "Orrin", "the tidal clock of Tarnhaven"),
    ("Sunniva Kell", 1866, 1938, "engineer", "Pashka", "the wind-driven desalting pump"),
    ("Corin Dace", 1790, 1851, "painter", "Wyke", "the Otter Stair murals"),
    ("Lisbet Amory", 1927, 2004, "linguist", "Ashby Skerry", "the dictionary of the skerry dialect"),
    ("Ruan Pickering", 1809, 1877, "brewer", "Corvane", "the dark winter ale called Anvil"),
    ("Thessaly Wren", 1848, 1921, "ornithologist", "Ilsey", "the census of storm petrels"),
    ("Gorse Hallam", 1776, 1840, "judge", "Maskel", "the Code of Salvage"),
)
_FIRST = (
    "Anselm",
    "Birgit",
    "Caspar",
    "Delphine",
    "Edda",
    "Florian",
    "Greta",
    "Hamish",
    "Isolde",
    "Jorun",
    "Kester",
    "Linnea",
)
_LAST = ("Vance", "Ormsby", "Thackeray", "Nørby", "Colquhoun", "Ridley", "Swann")
_CRAFTS = (
    ("glassblower", "the green signal lamps of"),
    ("printer", "the first almanac printed at"),
    ("gardener", "the walled orchard above"),
    ("surveyor", "the boundary stones of"),
    ("teacher", "the night school for sailors at"),
    ("mason", "the breakwater that shelters"),
    ("weaver", "the great tapestry in the hall of"),
    ("poet", "the ballad sung each winter in"),
    ("baker", "the hard rye biscuit still sold at"),
    ("chemist", "the rust-proof paint invented in"),
    ("drummer", "the fog drums once beaten at"),
)
_SHIPS = (
    ("Grey Heron", 1911, "Josk Yard", "Maskel", 84, "mail steamer"),
    ("Patient Margit", 1868, "Lowmouth Slip", "Ashby Skerry", 31, "herring drifter"),
    ("Lantern Bearer", 1934, "Kingsbar Works", "Rendle", 112, "pilot cutter"),
    ("Salt Widow", 1797, "Saltgate Yard", "Dunmarrow", 27, "privateer sloop"),
    ("Third Wind", 1956, "Kingsbar Works", "Rendle", 140, "car ferry"),
    ("Plum Tree", 1889, "Brindle Yard", "Ilsey", 45, "fruit ketch"),
    ("Northern Oath", 1843, "Josk Yard", "Maskel", 63, "whaler"),
    ("Small Mercy", 1922, "Otter Slip", "Wyke", 19, "lifeboat"),
)
_FESTIVALS = (
    ("Night of Floats", "Tolm", "September", 1804, "paper boats with candles are set on the ebb tide"),
    ("Barley Court", "Orrin", "August", 1699, "two neighbours argue a mock lawsuit about a goat"),
    ("Kelp Running", "Ashby Skerry", "May", 1822, "teams drag wet kelp up the harbour steps"),
    ("Bell Friday", "Ilsey", "March", 1931, "every bell in Brindle Quay rings at the turn of the tide"),
    ("Flax Fair", "Maskel", "June", 1645, "weavers sell linen by the armspan"),
    ("Lamp Supper", "Corvane", "December", 1718, "the pilots eat together by the light of one lamp"),
)


def _people() -> tuple[tuple[str, int, int, str, str, str], ...]:
    """The sixteen well-known people, and one for each pair of the name lists with a craft and a place."""
    lesser = []
    for k in range(66):
        craft, deed = _CRAFTS[k % len(_CRAFTS)]
        isle, site = ISLANDS[(k * 5 + 3) % len(ISLANDS)], ISLANDS[(k * 7) % len(ISLANDS)]
        name = f"{_FIRST[k % len(_FIRST)]} {_LAST[(k + k // len(_FIRST)) % len(_LAST)]}"
        born = 1700 + (k * 47) % 230
        lesser.append((name, born, born + 38 + (k * 29) % 51, craft, isle.name, f"{deed} {site.port}"))
    return (*_PEOPLE, *lesser)


_ALL_PEOPLE = _people()


def _articles() -> dict[str, str]:
    """Title to text of every article of the encyclopedia."""
    articles: dict[str, str] = {}
    for isle in ISLANDS:
        articles[isle.name] = (
            f"{isle.name} is one of the Sevrin islands. It covers {isle.area_km2} square kilometres and had "
            f"{isle.population:,} inhabitants at the last count. It was settled in {isle.settled}; its port is "
            f"{isle.port}, and {isle.crop} is its main product."
        )
        articles[isle.port] = f"{isle.port} is the port of {isle.name}, where the ferries of the Sevrin line call."
    for name, born, died, job, isle, work in _ALL_PEOPLE:
        article = "an" if job[0] in "aeiou" else "a"
        articles[name] = f"{name} ({born} to {died}) was {article} {job} born on {isle}, remembered for {work}."
    for name, built, yard, isle, length, kind in _SHIPS:
        articles[name] = f"The {name} is a {kind} of {length} metres, launched in {built} at {yard} on {isle}."
    for name, isle, month, since, custom in _FESTIVALS:
        articles[name] = f"{name} is held on {isle} every {month} since {since}; {custom}."
    return articles


ENCYCLOPEDIA = _articles()
PEOPLE = tuple(
    {"name": name, "born": born, "died": died, "job": job, "island": isle, "work": work}
    for name, born, died, job, isle, work in _ALL_PEOPLE
)
SHIPS = tuple(
    {"name": name, "built": built, "yard": yard, "island": isle, "length": length, "kind": kind}
    for name, built, yard, isle, length, kind in _SHIPS
)
FESTIVALS = tuple(
    {"name": name, "island": isle, "month": month, "since": since, "custom": custom}
    for name, isle, month, since, custom in _FESTIVALS
)


def ferries(origin: str, destination: str) -> list[dict[str, object]]:
    """The day's crossings between two islands, earliest first."""
    first, second = sorted((_number(origin), _number(destination)))
    crossings = []
    for k in range(2 + (first + second) % 2):
        start = 360 + ((first * 37 + second * 61) % 90) + k * 215
        minutes = 35 + (first * 37 + second * 53 + k * 11) % 140
        price = round(3.5 + ((first * 29 + second * 31 + k * 17) % 120) / 10, 2)
        crossings.append(
            {"departs": f"{start // 60:02d}:{start % 60:02d}", "minutes": minutes, "price": price, "currency": CURRENCY}
        )
    return crossings


def stock(item: str, depot: str) -> int:
    """How many of an item lie in a depot."""
    return (list(ITEMS).index(item) * 71 + DEPOTS.index(depot) * 133) % 420 + 12


def _number(island: str) -> int:
    return next(k for k, isle in enumerate(ISLANDS) if isle.name == island)
