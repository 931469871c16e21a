"""The pipeline on real servers, filled with history, for the notebooks' tests."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path

import pymongo
import sqlalchemy as sa

ROOT = Path(__file__).parents[3]
RECORDINGS = ROOT.parent / "shared" / "data" / "binance"
RECORDED = {"HISTORY_SINCE": "2025-03-01T03:00:00Z", "HISTORY_UNTIL": "2025-04-01T03:00:00Z"}


def tell(text):
    print(text, file=sys.__stderr__, flush=True)


def eventually(what, done, patience=120):
    """Wait until done() returns something true. It is too late when its progress,
    the second of a pair that it may return, stands still for as long as patience."""
    seen, since, told = None, time.monotonic(), time.monotonic()
    while True:
        result = done()
        result, progress = result if isinstance(result, tuple) else (result, None)
        if result:
            return result
        now = time.monotonic()
        if progress != seen:
            seen, since = progress, now
        if now - since > patience:
            raise TimeoutError(f"{what}: nothing happened for {patience} s; progress: {progress}")
        if progress is not None and now - told > 15:
            tell(f"  {what}: {progress}")
            told = now
        time.sleep(0.5)


class Stack:
    """Databases of its own on the servers that the environment names."""

    def __init__(self, folder):
        self.folder, self.running = folder, {}
        self.kafka = os.environ["CANDLESTACK_TEST_KAFKA"]
        user, address = re.fullmatch(r"(.*)@tcp\((.*)\)/", os.environ["CANDLESTACK_TEST_MYSQL"]).groups()
        self.mysql = f"mysql+pymysql://{user}@{address}/"
        self.dsn = f"{user}@tcp({address})/"
        self.mongo = os.environ["CANDLESTACK_TEST_MONGODB"]
        self.prefix = f"notebooks_{os.getpid()}_"
        self.environment = {"SEED": "1", "HISTORY_SINCE": "2024-01-01T00:00:00Z", "HISTORY_UNTIL": "2026-01-01T00:00:00Z"}
        self.environment |= {name: os.environ[name] for name in self.environment if name in os.environ}
        for name in ["market", "lab", "recorded"]:
            self.sql(f"CREATE DATABASE {self.prefix}{name}")

    def close(self):
        for name in list(self.running):
            self.stop(name)
        for name in ["market", "lab", "recorded"]:
            self.sql(f"DROP DATABASE {self.prefix}{name}")
        pymongo.MongoClient(self.mongo).drop_database(self.prefix + "news")
        self.go("run", "./compose/notebooks/tests/fresh", self.kafka)

    def sql(self, statement, database=""):
        engine = sa.create_engine(self.mysql + database)
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            rows = result.fetchall() if result.returns_rows else []
        engine.dispose()
        return rows

    def go(self, *arguments):
        subprocess.run(["go", *arguments], cwd=ROOT, check=True)

    def build(self):
        self.go("build", "-o", f"{self.folder}/", "./services/candlestack", "./services/demo", "./compose/lab")

    def run(self, program, *arguments):
        """A program that ends by itself; what it says is returned."""
        done = subprocess.run([self.folder / program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments[:2])}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self, name, program, *arguments):
        log = open(self.folder / f"{name}.log", "w")
        self.running[name] = subprocess.Popen([self.folder / program, *arguments], stdout=log, stderr=log)

    def stop(self, name):
        process = self.running.pop(name)
        process.terminate()
        process.wait(60)

    def log(self, name, pattern):
        """What a started program's log says, once it says it."""
        def found():
            if self.running[name].poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.log').read_text()}")
            return re.search(pattern, (self.folder / f"{name}.log").read_text())
        return eventually(f"log of {name}", found)[1]

    def simulate(self, *arguments):
        self.start("simulator", "candlestack", "simulate", "--listen", "127.0.0.1:0", "--ops.listen", "", *arguments)
        return self.log("simulator", r'msg="simulator serves".* address=(\S+)')

    def load(self, simulator, database, since, until, patience=300):
        """Two commands of the pipeline carry the candles of [since, until) into a database."""
        self.start("sink-mysql", "candlestack", "sink", "mysql", "--ops.listen", "", "--kafka.brokers", self.kafka,
                   "--kafka.group", self.prefix + database, "--mysql.dsn", self.dsn + self.prefix + database)
        with urllib.request.urlopen(f"http://{simulator}/simulator/answers?from={since}&to={until}", timeout=300) as reply:
            wanted = sum(one["candles"] for one in json.load(reply)["instruments"])
        begun = time.monotonic()
        self.start("source", "candlestack", "source", "binance", "--ops.listen", "", "--kafka.brokers", self.kafka,
                   "--rest-url", f"http://{simulator}", "--stream-url", f"ws://{simulator}", "--since", since, "--until", until)

        def stored():
            if self.running["source"].poll() not in (None, 0):
                raise RuntimeError((self.folder / "source.log").read_text())
            exists = self.sql("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'candles'", self.prefix + database)
            count = self.sql("SELECT COUNT(*) FROM candles", self.prefix + database)[0][0] if exists[0][0] else 0
            return count >= wanted, f"{count} of {wanted} candles"

        eventually(f"loading {database}", stored, patience)
        if self.running.pop("source").wait(60):
            raise RuntimeError((self.folder / "source.log").read_text())
        tell(f"  {wanted} candles in {time.monotonic() - begun:.0f} s")

    def fresh(self):
        self.go("run", "./compose/notebooks/tests/fresh", self.kafka)
        self.run("candlestack", "topics", "apply", "--kafka.brokers", self.kafka)

    def load_recorded(self):
        """The recorded month; returns the notebooks' environment for it."""
        self.fresh()
        simulator = self.simulate("--replay", str(RECORDINGS), "--replay-exact")
        self.load(simulator, "recorded", RECORDED["HISTORY_SINCE"], RECORDED["HISTORY_UNTIL"])
        for name in ["sink-mysql", "simulator"]:
            self.stop(name)
        answers = self.folder / "sums.json"
        answers.write_text(self.run("lab", "sums", *map(str, sorted(RECORDINGS.glob("*-1m-*.csv.gz")))))
        return RECORDED | {"MYSQL_URL": f"{self.mysql}{self.prefix}recorded", "ANSWERS": str(answers), "SEED": "1"}

    def load_history(self):
        """The seeded history, its last two weeks of news, and the lab; returns the notebooks' environment."""
        since, until = self.environment["HISTORY_SINCE"], self.environment["HISTORY_UNTIL"]
        self.fresh()
        simulator = self.simulate("--seed", self.environment["SEED"])
        self.load(simulator, "market", since, until)
        self.stop("sink-mysql")
        self.load_news(until)
        month = ["--since", until_less(until, since, days=30), "--until", until]
        self.run("lab", "faults", *month, "--seed", self.environment["SEED"], "--mysql.dsn", f"{self.dsn}{self.prefix}market", "--database", self.prefix + "lab")
        return self.environment | {
            "MYSQL_URL": f"{self.mysql}{self.prefix}market", "LAB_DATABASE": self.prefix + "lab",
            "MONGODB_URI": self.mongo, "MONGODB_DATABASE": self.prefix + "news", "SIMULATOR_URL": f"http://{simulator}"}

    def load_news(self, until):
        self.start("sink-mongodb", "candlestack", "sink", "mongodb", "--ops.listen", "127.0.0.1:0", "--kafka.brokers", self.kafka,
                   "--kafka.group", self.prefix + "news", "--mongodb.uri", self.mongo, "--mongodb.database", self.prefix + "news")
        begun = time.monotonic()
        since = until_less(until, self.environment["HISTORY_SINCE"], days=14)
        self.run("lab", "news", "--kafka.brokers", self.kafka, "--seed", self.environment["SEED"], "--since", since, "--until", until)
        ops = self.log("sink-mongodb", r"msg=started .* ops=(\S+)")
        records = int(self.run("lab", "news", "--kafka.brokers", self.kafka, "--since", since, "--until", until).split(":")[1].split()[0])

        def stored():
            with urllib.request.urlopen(f"http://{ops}/metrics", timeout=30) as reply:
                rows = sum(float(line.split()[-1]) for line in reply.read().decode().splitlines() if line.startswith("candlestack_sink_rows_total"))
            return rows >= records, f"{rows:.0f} of {records} states of posts"

        eventually("loading news", stored, patience=300)
        self.stop("sink-mongodb")
        tell(f"  {records} states of posts in {time.monotonic() - begun:.0f} s")

    def start_demo(self):
        """The demo, which has a Prometheus of its own; returns the address of its page."""
        self.start("demo", "demo", "--dir", str(self.folder / "demo-data"), "--listen", "127.0.0.1:0")
        return self.log("demo", r"(?m)^Page +(\S+)")

    def prometheus(self, page):
        """Prometheus of the demo, once it has seen enough to compute latencies."""
        with urllib.request.urlopen(f"{page}/state", timeout=30) as reply:
            address = json.load(reply)["servers"]["Prometheus"]
        enough = urllib.parse.quote('count_over_time(instrument:candle_late:bool[5m]) > 12 and on () (sum(rate(candlestack_sink_append_durable_seconds_count{component="sink-mysql"}[1m])) > 0)')

        def seen():
            with urllib.request.urlopen(f"{address}/api/v1/query?query={enough}", timeout=30) as reply:
                return json.load(reply)["data"]["result"]

        eventually("Prometheus of the demo", seen, patience=600)
        return address


def until_less(until, since, days):
    """The time so many days before until, but not before since."""
    times = [datetime.fromisoformat(text) for text in (until, since)]
    return max(times[0] - timedelta(days=days), times[1]).strftime("%Y-%m-%dT%H:%M:%SZ")
