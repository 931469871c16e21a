CREATE TABLE IF NOT EXISTS candles (
  exchange           VARCHAR(32)    NOT NULL COMMENT 'venue, lower case: binance',
  instrument         VARCHAR(41)    NOT NULL COMMENT 'base and quote currency: BTC-USDT',
  `interval`         VARCHAR(3)     NOT NULL COMMENT 'length of the candle: 1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M; case matters, 1m is a minute and 1M a month',
  open_time          DATETIME(3)    NOT NULL COMMENT 'start of the candle, UTC; its end is the start of the next',
  open               DECIMAL(38,18) NOT NULL COMMENT 'first price, in quote currency',
  high               DECIMAL(38,18) NOT NULL COMMENT 'highest price, in quote currency',
  low                DECIMAL(38,18) NOT NULL COMMENT 'lowest price, in quote currency',
  close              DECIMAL(38,18) NOT NULL COMMENT 'last price, in quote currency',
  volume             DECIMAL(38,18) NOT NULL COMMENT 'traded amount, in base currency',
  quote_volume       DECIMAL(38,18) NULL     COMMENT 'traded amount, in quote currency; NULL if the source does not give it',
  trades             BIGINT         NULL     COMMENT 'number of trades; NULL if the source does not give it',
  taker_volume       DECIMAL(38,18) NULL     COMMENT 'amount bought by takers, in base currency; NULL if the source does not give it',
  taker_quote_volume DECIMAL(38,18) NULL     COMMENT 'amount bought by takers, in quote currency; NULL if the source does not give it',
  closed             BOOLEAN        NOT NULL COMMENT '1 if the candle is final, 0 if it was still growing at event_time',
  event_time         DATETIME(3)    NOT NULL COMMENT 'clock of the venue when it said so, UTC; the close time for candles asked for later',
  receive_time       DATETIME(3)    NOT NULL COMMENT 'our clock when we received it, UTC',
  write_time         DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3) COMMENT 'clock of this server at the last change of the row, UTC',
  version            BIGINT         NOT NULL COMMENT 'event_time in ms since 1970, plus 2^48 if closed; a row changes only for a greater one',
  origin             VARCHAR(8)     NOT NULL COMMENT 'how we learned of it: live, backfill, repair, archive',
  conflict           BOOLEAN        NOT NULL DEFAULT FALSE COMMENT '1 if the same version also came with other values, which were not taken',
  PRIMARY KEY (exchange, instrument, `interval`, open_time)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='one row a candle, its newest version';

CREATE TABLE IF NOT EXISTS gaps (
  exchange   VARCHAR(32) NOT NULL COMMENT 'venue, lower case: binance',
  instrument VARCHAR(41) NOT NULL COMMENT 'base and quote currency: BTC-USDT',
  `interval` VARCHAR(3)  NOT NULL COMMENT 'length of the missed candles; case matters, 1m is a minute and 1M a month',
  from_time  DATETIME(3) NOT NULL COMMENT 'open time of the first candle missed, UTC',
  to_time    DATETIME(3) NOT NULL COMMENT 'open time of the first candle that was there again, UTC; the gap ends before it',
  state      VARCHAR(9)  NOT NULL COMMENT 'open: missed; repaired: fetched since; confirmed: the exchange itself has nothing there',
  cause      VARCHAR(32) NOT NULL COMMENT 'why it was missed, one word: start (we were down), stream, late, manual (gaps repair); backfill: nothing was missed, the exchange has a hole',
  changed    DATETIME(3) NOT NULL COMMENT 'our clock when the state was found, UTC',
  write_time DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3) COMMENT 'clock of this server at the last change of the row, UTC',
  version    BIGINT      NOT NULL COMMENT 'changed, in ms since 1970; a row changes only for a greater one',
  origin     VARCHAR(8)  NOT NULL COMMENT 'what found it: live, backfill, repair, archive',
  PRIMARY KEY (exchange, instrument, `interval`, from_time)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='stretches of a series in which candles were missed, and what became of them';
