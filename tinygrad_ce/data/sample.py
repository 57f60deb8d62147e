"""A small table to try: what a real one has, dates, texts, gaps, a percent, an identifier, and a target to learn."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

ROWS = 120
COLUMNS = "customer,joined,plan,age,usage,monthly_fee,newsletter,comment,renewed"
PLANS = {"basic": 9.5, "family": 24.9, "student": 4.9}
WORDS = ("likes", "asked about", "complained about", "never mentions", "praised", "returned")
THINGS = ("the app", "delivery", "prices", "the support line", "the new terms", "opening hours", "a refund")


def sample_csv() -> str:
    """The text of a CSV file of 120 customers, always the same; the target `renewed` is yes or no.

    It has a date, a category, numbers with gaps, a percent, a boolean, an identifier and free text. Who uses much,
    joined early and reads the newsletter renews, which nine of ten new rows can be told from.

    >>> sample_csv().splitlines()[0]
    'customer,joined,plan,age,usage,monthly_fee,newsletter,comment,renewed'
    """
    # Python promises the same numbers of random() in every version; NumPy's generators do not.
    random = Random(0)
    return "\n".join([COLUMNS, *(_row(i, random) for i in range(ROWS))]) + "\n"


def _row(i: int, random: Random) -> str:
    days, usage, age = int(1200 * random.random()), random.random(), 18 + int(60 * random.random())
    plan = [*PLANS][int(len(PLANS) * random.random())]
    newsletter = random.random() < 0.5
    fee = PLANS[plan] + round(2 * random.random(), 1)
    merit = 6 * (usage - 0.5) + 1.5 * (newsletter - 0.5) - (days - 600) / 400 + 0.8 * (plan == "family")
    comment = f"{WORDS[int(6 * random.random())]} {THINGS[int(7 * random.random())]} ({i % 37 + 1} min)"
    shown_age = "" if random.random() < 0.06 else str(age)
    shown_usage = "?" if random.random() < 0.04 else f"{100 * usage:.0f}%"
    joined = date(2021, 1, 4) + timedelta(days=days)
    words = [f"C{1000 + 7 * i}", str(joined), plan, shown_age, shown_usage, f"${fee:.2f}"]
    return ",".join([*words, "yes" if newsletter else "no", comment, "yes" if merit > 0 else "no"])
