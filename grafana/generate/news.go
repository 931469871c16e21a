package main

// news answers: do posts arrive, whole and in time, and what are they about?
func news() *dashboard {
	d := newBoard("news", "6 News", "Do posts arrive, and what are they about?",
		choice("source", "Source", `label_values(candlestack_store_posts{job="stores"}, source)`),
		choice("coin", "Coin", `label_values(candlestack_store_posts{job="stores", source=~"$source"}, coin)`))
	d.Time.From = "now-1h"
	return d.
		section("", newsTiles()).
		section("Posts", posts()...).
		section("Votes", votes()).
		section("Feeds", feeds()...)
}

func newsTiles() line {
	return across(4,
		stat("Posts stored", describe("Posts in MongoDB; one about two coins counts for both.", "it grows.", "it stands still for hours: see the feeds."),
			unitCount, query(`sum(candlestack_store_posts{job="stores", source=~"$source", coin=~"$coin"})`, "posts")).
			trend().noValue("no post is stored"),
		stat("New posts", describe("Posts that came into MongoDB within an hour.", "a few; more around jumps of the price.", "none for hours: see the feeds."),
			unitCount, query(`clamp_min(sum(delta(candlestack_store_posts{job="stores", source=~"$source", coin=~"$coin"}[1h])), 0)`, "posts")).
			decimals(0).noValue("no post is stored"),
		stat("Newest post", describe("Time since the newest post was published, by the feed's clock.", "minutes to hours: a quiet day is no failure.", "see when each feed was last read."),
			unitDuration, query(`time() - max(candlestack_store_newest_post_published_timestamp_seconds{job="stores", source=~"$source"})`, "ago")).
			noValue("no post is stored"),
		stat("RSS last read", describe("Time since the feed that was read longest ago was read.", "below its interval.", "the feed is away or refuses us.", "NewsFeedStale"),
			unitDuration, query(`time() - min(candlestack_rss_last_success_timestamp_seconds{job="candlestack"} > 0)`, "ago")).
			levels(good, at(900, unusual), at(1800, bad)).noValue("no RSS feed was read yet"),
		stat("CryptoPanic last read", describe("Time since a poll of CryptoPanic last read all its pages.", "below its interval.", "a ban, a quota that is used up, or a wrong token.", "CryptoPanicStale"),
			unitDuration, query(`time() - min(candlestack_cryptopanic_last_poll_timestamp_seconds{job="candlestack"} > 0)`, "ago")).
			levels(good, at(7200, unusual), at(10800, bad)).noValue("CryptoPanic was not read yet"),
		stat("Requests this month", describe("Requests to CryptoPanic in this calendar month (UTC), failed ones included.", "below what the plan allows, by the day of the month.", "lengthen the interval: at the limit no post comes until the month ends.", "CryptoPanicQuotaNearlyUsed"),
			unitCount, query(`sum(candlestack_cryptopanic_quota_used_requests{job="candlestack"})`, "used")).
			noValue("CryptoPanic does not run"),
		stat("Votes", describe("Readers' votes on the stored posts, of all kinds, as last seen.", "it grows.", "it stands still: polls see no change, or fail."),
			unitCount, query(`sum(candlestack_store_votes{job="stores", coin=~"$coin"}) or 0 * sum(candlestack_store_posts{job="stores", coin=~"$coin"})`, "votes")).
			trend().noValue("no post is stored"),
		stat("Left out", describe("Posts and items that could not be read or were too many, within the time that is shown.", "none.", "the feed has changed its format, or is longer than 500 items.", "SourceReadsGarbage"),
			unitCount, query(`sum(increase(candlestack_cryptopanic_unreadable_posts_total{job="candlestack"}[$__range])) + sum(increase(candlestack_rss_left_out_items_total{job="candlestack"}[$__range]))`, "posts")).
			levels(good, at(1, unusual)).decimals(0).noValue("not both feeds run"),
	)
}

func posts() []line {
	return []line{
		across(8,
			graph("New posts by coin", describe("Posts that came into MongoDB within the hour before, by coin. other: about a coin that we do not follow; none: about no coin.", "a few an hour for each.", "a burst around a jump of the price: compare with the Market board."),
				unitCount, query(`clamp_min(sum by (coin) (delta(candlestack_store_posts{job="stores", source=~"$source", coin=~"$coin"}[1h])), 0)`, "{{coin}}")).
				stacked().noValue("no post is stored"),
			graph("New posts by source", describe("Posts that came into MongoDB within the hour before, by source.", "a few an hour for each.", "one source at 0 for long: see when it was last read.", "NewsFeedStale", "CryptoPanicStale"),
				unitCount, query(`clamp_min(sum by (source) (delta(candlestack_store_posts{job="stores", source=~"$source", coin=~"$coin"}[1h])), 0)`, "{{source}}")).
				stacked().noValue("no post is stored"),
			gauges("Stored by source and coin", describe("Posts in MongoDB.", "the coins that we follow have the most.", "0 for one that had some: its feed has changed what it tells."),
				unitCount, query(`sort_desc(sum by (source, coin) (candlestack_store_posts{job="stores", source=~"$source", coin=~"$coin"}))`, "{{source}} {{coin}}")).
				noValue("no post is stored"),
		),
		across(7,
			graph("Age of the newest post", describe("Time since the newest post of each source was published, by the feed's clock, and since we first saw it, by ours.", "it climbs and falls to nearly 0 with each post.", "one source climbs on: nothing new, or it is not read."),
				unitDuration,
				query(`time() - max by (source) (candlestack_store_newest_post_published_timestamp_seconds{job="stores", source=~"$source"})`, "{{source}} published"),
				query(`time() - max by (source) (candlestack_store_newest_post_first_seen_timestamp_seconds{job="stores", source=~"$source"})`, "{{source}} first seen")).
				noValue("no post is stored"),
			graph("Posts shown by the feeds", describe("Posts that the feeds showed, a second, by whether they were new or changed (true) or the same as before (false): a feed repeats itself.", "false is far more than true.", "true alone: posts are taken for changed each time."),
				unitEventRate, query(`sum by (source, changed) (rate(candlestack_source_observed_posts_total{job="candlestack", source=~"$source"}[$__rate_interval]))`, "{{source}} changed {{changed}}")).
				noValue("no feed runs"),
		),
	}
}

func votes() line {
	return across(8,
		graph("Votes by kind", describe("Readers' votes on the stored posts, as last seen.", "it grows slowly.", "it falls: readers took votes back, or old posts were deleted."),
			unitCount, query(`sum by (kind) (candlestack_store_votes{job="stores", coin=~"$coin"}) or on () label_replace(0 * sum(candlestack_store_posts{job="stores", coin=~"$coin"}), "kind", "none", "", "")`, "{{kind}}")).
			listed().wide(14).noValue("no feed has votes"),
		gauges("Mood", describe("Share of positive among positive and negative votes, of each coin, whichever is chosen.", "around a half.", "far from it: bad or good news, or very few votes."),
			unitRatio, query(`sum by (coin) (candlestack_store_votes{job="stores", kind="positive"}) / (sum by (coin) (candlestack_store_votes{job="stores", kind=~"positive|negative"}) > 0)`, "{{coin}}")).
			levels(bad, at(0.4, unusual), at(0.6, good)).to(1).wide(10).noValue("no vote for or against"),
	)
}

func feeds() []line {
	return []line{across(8,
		graph("Since the last reading", describe("Time since each RSS feed was read or said that nothing has changed, and since CryptoPanic was read to the last page.", "a saw-tooth as high as the interval.", "it climbs on: the feed is away, refuses us, or a quota is used up.", "NewsFeedStale", "CryptoPanicStale"),
			unitDuration,
			query(`time() - (candlestack_rss_last_success_timestamp_seconds{job="candlestack"} > 0)`, "{{feed}}"),
			query(`time() - (candlestack_cryptopanic_last_poll_timestamp_seconds{job="candlestack"} > 0)`, "cryptopanic")).
			noValue("no feed was read yet"),
		graph("RSS fetches", describe("Fetches of RSS feeds, a second, by outcome. Unchanged: the feed said so, which costs nothing.", "ok and unchanged only.", "unreadable: it is no feed any more; limited: we ask too often."),
			unitRequestRate, query(`sum by (feed, outcome) (rate(candlestack_rss_fetches_total{job="candlestack"}[$__rate_interval]))`, "{{feed}} {{outcome}}")).
			listed().noValue("no RSS feed runs"),
		graph("CryptoPanic's quota", describe("Requests of this calendar month (UTC), failed ones included, and what the plan allows; 0 where nobody told.", "used stays below the limit until the month ends.", "lengthen the interval.", "CryptoPanicQuotaNearlyUsed"),
			unitCount,
			query(`sum(candlestack_cryptopanic_quota_used_requests{job="candlestack"})`, "used"),
			query(`max(candlestack_cryptopanic_quota_limit_requests{job="candlestack"})`, "limit")).
			limitLines("limit").noValue("CryptoPanic does not run"),
	)}
}
