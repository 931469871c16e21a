CREATE OR REPLACE SQL SECURITY INVOKER VIEW Bitcoin AS
SELECT open_time AS datetime, open AS Open, high AS High, low AS Low, close AS Close, volume AS Volume
FROM candles
WHERE exchange = 'binance' AND instrument = 'BTC-USDT' AND `interval` = '1m' AND closed;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW Ethereum AS
SELECT open_time AS datetime, open AS Open, high AS High, low AS Low, close AS Close, volume AS Volume
FROM candles
WHERE exchange = 'binance' AND instrument = 'ETH-USDT' AND `interval` = '1m' AND closed;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW Ripple AS
SELECT open_time AS datetime, open AS Open, high AS High, low AS Low, close AS Close, volume AS Volume
FROM candles
WHERE exchange = 'binance' AND instrument = 'XRP-USDT' AND `interval` = '1m' AND closed;

-- STRAIGHT_JOIN: without statistics, right after a load, MariaDB would group again for each row.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW candles_hourly AS
SELECT t.exchange, t.instrument, t.datetime, f.open, t.high, t.low, l.close,
  t.volume, t.quote_volume, t.trades, t.taker_volume, t.taker_quote_volume, t.minutes
FROM (
  SELECT exchange, instrument, TIMESTAMP(DATE(open_time)) + INTERVAL HOUR(open_time) HOUR AS datetime,
    MIN(open_time) AS first_time, MAX(open_time) AS last_time, MAX(high) AS high, MIN(low) AS low, SUM(volume) AS volume,
    IF(COUNT(quote_volume) = COUNT(*), SUM(quote_volume), NULL) AS quote_volume,
    IF(COUNT(trades) = COUNT(*), CAST(SUM(trades) AS SIGNED), NULL) AS trades,
    IF(COUNT(taker_volume) = COUNT(*), SUM(taker_volume), NULL) AS taker_volume,
    IF(COUNT(taker_quote_volume) = COUNT(*), SUM(taker_quote_volume), NULL) AS taker_quote_volume,
    COUNT(*) AS minutes
  FROM candles
  WHERE `interval` = '1m' AND closed
  GROUP BY exchange, instrument, TIMESTAMP(DATE(open_time)) + INTERVAL HOUR(open_time) HOUR
) t
STRAIGHT_JOIN candles f ON f.exchange = t.exchange AND f.instrument = t.instrument AND f.`interval` = '1m' AND f.open_time = t.first_time
STRAIGHT_JOIN candles l ON l.exchange = t.exchange AND l.instrument = t.instrument AND l.`interval` = '1m' AND l.open_time = t.last_time;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW candles_daily AS
SELECT t.exchange, t.instrument, t.datetime, f.open, t.high, t.low, l.close,
  t.volume, t.quote_volume, t.trades, t.taker_volume, t.taker_quote_volume, t.minutes
FROM (
  SELECT exchange, instrument, TIMESTAMP(DATE(open_time)) AS datetime,
    MIN(open_time) AS first_time, MAX(open_time) AS last_time, MAX(high) AS high, MIN(low) AS low, SUM(volume) AS volume,
    IF(COUNT(quote_volume) = COUNT(*), SUM(quote_volume), NULL) AS quote_volume,
    IF(COUNT(trades) = COUNT(*), CAST(SUM(trades) AS SIGNED), NULL) AS trades,
    IF(COUNT(taker_volume) = COUNT(*), SUM(taker_volume), NULL) AS taker_volume,
    IF(COUNT(taker_quote_volume) = COUNT(*), SUM(taker_quote_volume), NULL) AS taker_quote_volume,
    COUNT(*) AS minutes
  FROM candles
  WHERE `interval` = '1m' AND closed
  GROUP BY exchange, instrument, TIMESTAMP(DATE(open_time))
) t
STRAIGHT_JOIN candles f ON f.exchange = t.exchange AND f.instrument = t.instrument AND f.`interval` = '1m' AND f.open_time = t.first_time
STRAIGHT_JOIN candles l ON l.exchange = t.exchange AND l.instrument = t.instrument AND l.`interval` = '1m' AND l.open_time = t.last_time;

-- JSON_TABLE counts up the hours, as an hour without any row has to be listed too.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW candles_completeness AS
SELECT h.exchange, h.instrument, h.datetime, h.present, 60 - h.confirmed AS due, h.confirmed,
  h.present >= 60 - h.confirmed AS complete
FROM (
  SELECT u.exchange, u.instrument, u.datetime, CAST(SUM(u.present) AS SIGNED) AS present,
    (
      SELECT CAST(COALESCE(SUM(TIMESTAMPDIFF(MINUTE,
        GREATEST(g.from_time, u.datetime), LEAST(g.to_time, u.datetime + INTERVAL 1 HOUR))), 0) AS SIGNED)
      FROM gaps g
      WHERE g.exchange = u.exchange AND g.instrument = u.instrument AND g.`interval` = '1m' AND g.state = 'confirmed'
        AND g.from_time < u.datetime + INTERVAL 1 HOUR AND g.to_time > u.datetime
    ) AS confirmed
  FROM (
    SELECT exchange, instrument, TIMESTAMP(DATE(open_time)) + INTERVAL HOUR(open_time) HOUR AS datetime,
      COUNT(DISTINCT MINUTE(open_time)) AS present
    FROM candles
    WHERE `interval` = '1m' AND closed
    GROUP BY exchange, instrument, TIMESTAMP(DATE(open_time)) + INTERVAL HOUR(open_time) HOUR
    UNION ALL
    SELECT s.exchange, s.instrument, s.first_hour + INTERVAL n.i - 1 HOUR, 0
    FROM (
      SELECT exchange, instrument, TIMESTAMP(DATE(MIN(open_time))) + INTERVAL HOUR(MIN(open_time)) HOUR AS first_hour,
        TIMESTAMPDIFF(HOUR, TIMESTAMP(DATE(MIN(open_time))) + INTERVAL HOUR(MIN(open_time)) HOUR, MAX(open_time)) AS hours
      FROM candles
      WHERE `interval` = '1m' AND closed
      GROUP BY exchange, instrument
    ) s
    JOIN JSON_TABLE(CONCAT('[0', REPEAT(',0', s.hours), ']'), '$[*]' COLUMNS (i FOR ORDINALITY)) n
  ) u
  GROUP BY u.exchange, u.instrument, u.datetime
) h;
