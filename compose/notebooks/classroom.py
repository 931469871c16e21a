"""Where the notebooks find the stores and the teacher's answer key.

All of it is said by environment variables; without any, the names are those of
the compose stack.

    MYSQL_URL            mysql+pymysql://reader@mysql/market, and MYSQL_PASSWORD_FILE
    LAB_DATABASE         database of the planted faults on that server: lab
    MONGODB_URI          mongodb://reader@mongo/..., or MONGODB_URI_FILE; and MONGODB_DATABASE: news
    PROMETHEUS_URL       http://prometheus:9090
    SEED                 which market the simulator made: 1
    HISTORY_SINCE/UNTIL  the history that was loaded, RFC 3339
    NEWS_SINCE           from where on, up to HISTORY_UNTIL, the news was: two weeks
    SIMULATOR_URL        http://simulator:9700, which prints the answer key; or
    ANSWERS              a file with what `candlestack simulate --answers` printed
    GALLERY              a folder for the pictures; without it they are only shown
"""

import datetime
import json
import os
import urllib.parse
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pymongo
import sqlalchemy as sa

SEED = int(os.environ.get("SEED", "1"))
SINCE = pd.Timestamp(os.environ.get("HISTORY_SINCE", "2024-01-01T00:00:00Z"))
UNTIL = pd.Timestamp(os.environ.get("HISTORY_UNTIL", "2026-01-01T00:00:00Z"))
NEWS_SINCE = pd.Timestamp(os.environ["NEWS_SINCE"]) if "NEWS_SINCE" in os.environ else max(SINCE, UNTIL - pd.Timedelta("14D"))

UNIT = 100_000_000  # prices of the exchange are whole numbers of 1e-8


def _secret(name, default=None):
    """The variable, or the text of the file that NAME_FILE names."""
    file = os.environ.get(name + "_FILE")
    return Path(file).read_text().strip() if file else os.environ.get(name, default)


def mysql(database=None):
    """An engine for the stack's database, or another one on the same server."""
    url = sa.make_url(os.environ.get("MYSQL_URL", "mysql+pymysql://reader@mysql/market"))
    if password := _secret("MYSQL_PASSWORD"):
        url = url.set(password=password)
    return sa.create_engine(url.set(database=database) if database else url)


def lab():
    """An engine for the database with the planted faults."""
    return mysql(os.environ.get("LAB_DATABASE", "lab"))


def mongo():
    """The database with the news. Its times are aware of UTC."""
    uri = _secret("MONGODB_URI", "mongodb://reader@mongo:27017/?replicaSet=rs0")
    return pymongo.MongoClient(uri, tz_aware=True, tzinfo=datetime.UTC)[os.environ.get("MONGODB_DATABASE", "news")]


def read(engine, query, index=None, **values):
    """The rows of a query, :name in it standing for a value. DECIMALs stay exact:
    pandas alone would make floats of them without a word (coerce_float)."""
    return pd.read_sql(sa.text(query), engine, params=values, index_col=index, coerce_float=False)


def closes(engine, instrument, since=SINCE, until=UNTIL):
    """Closes of closed one-minute candles as whole numbers of 1e-8, by minute.

    Whole numbers, because a DECIMAL comes as decimal.Decimal, fifty times as
    slow, and a float is no longer the price that was stored.
    """
    query = sa.text("""
        SELECT TIMESTAMPDIFF(MINUTE, '1970-01-01', open_time) AS minute, CAST(close * :unit AS SIGNED) AS close
        FROM candles
        WHERE exchange = 'binance' AND instrument = :instrument AND `interval` = '1m' AND closed
          AND open_time >= :since AND open_time < :until
        ORDER BY open_time""")
    values = {"unit": UNIT, "instrument": instrument, "since": naive(since), "until": naive(until)}
    with engine.connect().execution_options(stream_results=True) as connection:  # a million rows, but not at once
        parts = list(pd.read_sql(query, connection, params=values, chunksize=100_000))
    rows = pd.concat(parts)
    times = pd.to_datetime(rows["minute"].to_numpy() * 60, unit="s", utc=True)
    return pd.Series(rows["close"].to_numpy(np.int64), index=times, name=instrument)


def naive(time):
    """A time as the tables have it: UTC, without saying so."""
    return pd.Timestamp(time).tz_convert("UTC").tz_localize(None).to_pydatetime()


def get(url, **parameters):
    """The JSON that a server answers."""
    with urllib.request.urlopen(url + "?" + urllib.parse.urlencode(parameters), timeout=300) as reply:
        return json.load(reply)


def prometheus(path, **parameters):
    """What Prometheus' API answers: prometheus("query", query="up")."""
    url = os.environ.get("PROMETHEUS_URL", "http://prometheus:9090").rstrip("/")
    return get(f"{url}/api/v1/{path}", **parameters)["data"]


def answers(since=SINCE, until=UNTIL):
    """The answer key for the candles in [since, until), its instruments by name.

    The simulator knows what it traded, so the key owes nothing to the pipeline
    and the stores. Times in it are ms since 1970, amounts are texts.
    """
    if file := os.environ.get("ANSWERS"):
        keys = json.loads(Path(file).read_text())
        keys = keys if isinstance(keys, list) else [keys]
        times = [int(time.timestamp() * 1000) for time in (since, until)]
        key = next(k for k in keys if [k["from"], k["to"]] == times)
    else:
        url = os.environ.get("SIMULATOR_URL", "http://simulator:9700")
        times = {"from": since.isoformat(), "to": until.isoformat()}
        key = get(url + "/simulator/answers", **times)
    assert key["seed"] == SEED, f"the answer key is for seed {key['seed']}, not {SEED}"
    key["instruments"] = {one["instrument"]: one for one in key["instruments"]}
    return key


def picture(name):
    """Show what was drawn, and keep it if there is a GALLERY."""
    if folder := os.environ.get("GALLERY"):
        plt.savefig(Path(folder) / f"{name}.png", dpi=80, bbox_inches="tight")
    plt.show()
