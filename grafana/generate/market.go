package main

// series is what each statement of this board asks for: chosen series, by primary key.
const series = "exchange = ${exchange:sqlstring} AND instrument IN (${instrument:sqlstring}) AND `interval` = ${interval:sqlstring}"

// market answers: what do the chosen instruments do, and is every minute of it there?
func market() *dashboard {
	instrument := choice("instrument", "Instrument", `label_values(candlestack_store_candles{job="stores", exchange="$exchange"}, instrument)`)
	instrument.AllValue = "" // SQL knows no pattern: All is the list of all
	d := newBoard("market", "2 Market", "What do the instruments do, and is every minute of it stored?",
		single("exchange", "Exchange", "binance", `label_values(candlestack_store_candles{job="stores"}, exchange)`),
		instrument,
		single("interval", "Interval", "1m", `label_values(candlestack_store_candles{job="stores", exchange="$exchange", instrument=~"$instrument"}, interval)`))
	d.Time.From, d.Refresh = "now-6h", "10s"
	return d.
		section("", across(4, lastPrice(), dayChange())).
		section("Candles", across(14, candles())).
		section("Price and news", across(9, priceChange(), postsPerHour())).
		section("The last day, and what is missing",
			across(7, dayTable().wide(14), gapTable().wide(10)),
			across(7, completeness()))
}

// closes is the close of each instrument in each stretch of a graph.
const closes = `
SELECT b.time, b.instrument AS metric, c.close AS value
FROM (
  SELECT exchange, instrument, ` + "`interval`" + `, $__timeGroup(open_time, $__interval) AS time, MAX(open_time) AS last_time
  FROM candles
  WHERE ` + series + ` AND $__timeFilter(open_time)
  GROUP BY exchange, instrument, ` + "`interval`" + `, time
) b
JOIN candles c ON c.exchange = b.exchange AND c.instrument = b.instrument AND c.` + "`interval`" + ` = b.` + "`interval`" + ` AND c.open_time = b.last_time
ORDER BY b.time`

func lastPrice() *panel {
	p := stat("Last price", describe("Close of the newest candle of each instrument, the one that still grows included, in quote currency; behind it the time that is shown.",
		"it moves every second or two.", "it stands still: see Candles overdue on the Overview."),
		unitLocale, statement(closes)).trend().noValue("no candle in this time")
	p.MaxDataPoints = 100
	return p
}

// day adds up each instrument's last 24 hours.
const day = `
FROM (
  SELECT exchange, instrument, ` + "`interval`" + `, MIN(open_time) AS first_time, MAX(open_time) AS last_time,
    MAX(high) AS high, MIN(low) AS low, SUM(volume) AS volume, SUM(quote_volume) AS quote_volume, SUM(trades) AS trades
  FROM candles
  WHERE ` + series + ` AND open_time > UTC_TIMESTAMP() - INTERVAL 1 DAY
  GROUP BY exchange, instrument, ` + "`interval`" + `
) d
JOIN candles f ON f.exchange = d.exchange AND f.instrument = d.instrument AND f.` + "`interval`" + ` = d.` + "`interval`" + ` AND f.open_time = d.first_time
JOIN candles l ON l.exchange = d.exchange AND l.instrument = d.instrument AND l.` + "`interval`" + ` = d.` + "`interval`" + ` AND l.open_time = d.last_time
ORDER BY d.instrument`

func dayChange() *panel {
	return stat("24-hour change", describe("Close of the newest candle against the open of the oldest within the last 24 hours, whatever time is shown.", "a few percent.", "exactly 0 for long: no candle arrives."),
		unitPercent, statement(`SELECT UNIX_TIMESTAMP() AS time, d.instrument AS metric, 100 * (l.close - f.open) / f.open AS value`+day)).
		levels(bad, at(0, good)).decimals(2).noValue("no candle within 24 hours")
}

func candles() *panel {
	p := candlestick("$instrument", describe("Candles of the chosen interval, added up to longer ones where the time shown is long, with the one that still grows. MA 20: mean close of 20 candles, of fewer at the left edge. VWAP: mean price by volume since the left edge.",
		"one candle beside the other up to now.", "a hole is listed below: open ones are being fetched, confirmed ones the exchange itself does not have.", "CandlesLate"),
		statement(`
SELECT time, open, high, low, close, volume,
  AVG(close) OVER (ORDER BY time ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) AS `+"`MA 20`"+`,
  SUM(quote_volume) OVER (ORDER BY time ROWS UNBOUNDED PRECEDING) / NULLIF(SUM(volume) OVER (ORDER BY time ROWS UNBOUNDED PRECEDING), 0) AS VWAP
FROM (
  SELECT b.time, f.open, b.high, b.low, l.close, b.volume, b.quote_volume
  FROM (
    SELECT exchange, instrument, `+"`interval`"+`, $__timeGroup(open_time, $__interval) AS time, MIN(open_time) AS first_time, MAX(open_time) AS last_time,
      MAX(high) AS high, MIN(low) AS low, SUM(volume) AS volume, SUM(COALESCE(quote_volume, close * volume)) AS quote_volume
    FROM candles
    WHERE `+series+` AND $__timeFilter(open_time)
    GROUP BY exchange, instrument, `+"`interval`"+`, time
  ) b
  JOIN candles f ON f.exchange = b.exchange AND f.instrument = b.instrument AND f.`+"`interval`"+` = b.`+"`interval`"+` AND f.open_time = b.first_time
  JOIN candles l ON l.exchange = b.exchange AND l.instrument = b.instrument AND l.`+"`interval`"+` = b.`+"`interval`"+` AND l.open_time = b.last_time
) c
ORDER BY time`)).
		series("volume", inUnit(unitCount)).series("MA 20", inColor("orange")).series("VWAP", inColor("purple")).
		noValue("no candle in this time")
	p.FieldConfig.Defaults.Unit = unitLocale
	p.Repeat, p.RepeatDirection, p.MaxPerRow = "instrument", "h", 3
	p.MaxDataPoints, p.Interval = 360, "1m"
	return p
}

func priceChange() *panel {
	p := graph("Price against the left edge", describe("Close of each instrument against its first one that is shown, so that dear and cheap ones lie side by side.", "the coins move together, more or less.", "one line alone stands still: its candles do not arrive."),
		unitPercent, statement(`
SELECT time, metric, 100 * (value / FIRST_VALUE(value) OVER (PARTITION BY metric ORDER BY time) - 1) AS value
FROM (`+closes[:len(closes)-len("\nORDER BY b.time")]+`
) c
ORDER BY time`)).anyMin().noValue("no candle in this time")
	p.Interval = "1m"
	return p
}

func postsPerHour() *panel {
	return graph("Posts per hour", describe("Posts that came into the store within the hour before, by coin; one about two coins counts for both. A count by Prometheus, which begins when it does.",
		"single posts; more around jumps of the price.", "none for hours: see the News board.", "NewsFeedStale"),
		unitCount, query(`clamp_min(sum by (coin) (delta(candlestack_store_posts{job="stores"}[1h])), 0)`, "{{coin}}")).
		stacked().noValue("no post is stored")
}

func dayTable() *panel {
	return rows("Last 24 hours", describe("Each instrument's last 24 hours, whatever time is shown. Turnover is in quote currency.", "every column has a number; trades are empty where the source does not say.", "an instrument that lacks has no candle within a day."),
		`SELECT d.instrument AS Instrument, l.close AS Last, 100 * (l.close - f.open) / f.open AS `+"`Change`"+`, d.high AS High, d.low AS Low, d.volume AS Volume, d.quote_volume AS Turnover, d.trades AS Trades`+day,
		column{name: "Last", unit: unitLocale}, column{name: "Change", unit: unitPercent, base: bad, steps: []step{at(0, good)}},
		column{name: "High", unit: unitLocale}, column{name: "Low", unit: unitLocale},
		column{name: "Volume", unit: unitCount}, column{name: "Turnover", unit: unitCount}, column{name: "Trades", unit: unitCount}).
		noValue("no candle within 24 hours")
}

func gapTable() *panel {
	return rows("Gaps", describe("The newest stretches in which candles were missed. Confirmed: the exchange itself has nothing there.", "repaired or confirmed.", "open for long: the source cannot fetch them, see its weight budget.", "GapOpen"),
		`SELECT instrument AS Instrument, from_time AS `+"`From`"+`, TIMESTAMPDIFF(SECOND, from_time, to_time) AS Length, state AS State, cause AS Cause
FROM gaps
WHERE `+series+`
ORDER BY from_time DESC
LIMIT 50`,
		column{name: "From", unit: "dateTimeAsIso"}, column{name: "Length", unit: unitDuration}).
		noValue("no gap was ever recorded")
}

func completeness() *panel {
	p := heatmap("Completeness by hour", describe("Share of the minutes of each hour that have a closed candle, of the last week unless another time is chosen by dragging. The running hour is left out; an hour without any candle is empty.",
		"green.", "yellow and red hours lack minutes: compare with the gaps above; confirmed ones never come.", "CandlesMissing"),
		unitRatio, statement(`
SELECT $__timeGroup(open_time, '1h') AS time, instrument AS metric, COUNT(*) / 60 AS value
FROM candles
WHERE exchange = ${exchange:sqlstring} AND instrument IN (${instrument:sqlstring}) AND `+"`interval`"+` = '1m' AND closed
  AND $__timeFilter(open_time)
  AND open_time >= FROM_UNIXTIME(CEIL($__unixEpochFrom() / 3600) * 3600) AND open_time < FROM_UNIXTIME(UNIX_TIMESTAMP() DIV 3600 * 3600)
GROUP BY time, instrument
ORDER BY time`)).
		colored("RdYlGn", 0.9, 1).noValue("no whole hour is stored")
	p.TimeFrom = "7d"
	return p
}
