"""The features of a shop like Complete Journey as one would write them in SQL by hand: the bench's yardstick."""

from __future__ import annotations

__all__ = ["EVENTS", "NUMBERS"]

EVENTS = """
CREATE TEMP TABLE events AS
WITH folded AS (
  SELECT customer_token, order_token, ordered_at AS moment,
    sum(amount) AS value,
    coalesce(sum(amount) FILTER (amount > 0), 0) AS gained,
    coalesce(-sum(amount) FILTER (amount < 0), 0) AS returned,
    sum(discount) AS discount, sum(coupon) AS coupon,
    count(*) FILTER (amount > 0) AS lines
  FROM lines GROUP BY ALL
), opened AS (
  SELECT *,
    (moment = min(moment) OVER (PARTITION BY customer_token, order_token)) AND round(value, 4) > 0 AS purchase
  FROM folded
)
SELECT * EXCLUDE (order_token), row_number() OVER past AS number,
  epoch(moment) - lag(epoch(moment)) OVER past AS gap
FROM opened
WINDOW past AS (PARTITION BY customer_token, purchase ORDER BY moment, value, gained, lines)
"""

_DAY = 86400.0
_TENURE = f"(greatest(oldest, 14 * {_DAY}) / {_DAY})"
_SPANS = (14, 28, 56, 84)
_LIVES = (14, 28, 84)


def _within(days: int) -> str:
    return f"age <= {days} * {_DAY}"


_COUNTS = ",\n".join(f"    count(*) FILTER (purchase AND {_within(days)}) AS orders_{days}d" for days in _SPANS)
_SPENDS = ",\n".join(f"    coalesce(sum(value) FILTER ({_within(days)}), 0) AS spend_{days}d" for days in _SPANS)
_FADED = ",\n".join(
    f"    coalesce(sum(exp(-ln(2) / {life} * age / {_DAY})) FILTER (purchase), 0) AS decayed_orders_{life},\n"
    f"    sum(value * exp(-ln(2) / {life} * age / {_DAY})) AS decayed_spend_{life}"
    for life in _LIVES
)

NUMBERS = f"""
WITH past AS (
  SELECT events.*, t, epoch(t) - epoch(moment) AS age FROM events JOIN cutoffs ON moment < t
), summed AS (
  SELECT customer_token, t, count(*) FILTER (purchase) AS n,
    min(age) FILTER (purchase) AS newest, max(age) FILTER (purchase) AS oldest,
    sum(value) AS net, avg(value) FILTER (purchase) AS order_value_mean,
    median(value) FILTER (purchase) AS order_value_median, stddev_samp(value) FILTER (purchase) AS order_value_std,
    max(value) FILTER (purchase) AS order_value_max, max_by(value, number) FILTER (purchase) AS order_value_last,
    list_avg(max_by(value, number, 3) FILTER (purchase)) AS order_value_last3,
    min_by(value, number) FILTER (purchase) AS order_value_first,
{_COUNTS},
{_SPENDS},
{_FADED},
    avg(gap) FILTER (purchase) / {_DAY} AS gap_mean_days, stddev_samp(gap) FILTER (purchase) / {_DAY} AS gap_std_days,
    median(gap) FILTER (purchase) / {_DAY} AS gap_median_days, max(gap) FILTER (purchase) / {_DAY} AS gap_max_days,
    max_by(gap, number) FILTER (purchase) / {_DAY} AS gap_last_days,
    coalesce(sum(gained) FILTER ({_within(84)}), 0) AS gained,
    coalesce(sum(returned) FILTER ({_within(84)}), 0) AS returned,
    sum(discount) FILTER ({_within(84)}) AS discount, sum(coupon) FILTER ({_within(84)}) AS coupon,
    coalesce(sum(lines) FILTER ({_within(84)}), 0) AS lines,
    coalesce(sum(value) FILTER (purchase AND number > 1), 0) AS repeated
  FROM past GROUP BY ALL HAVING count(*) FILTER (purchase) > 0
), weekly AS (
  SELECT customer_token, t, greatest(floor((age - 1) / (7 * {_DAY})), 0) AS week, sum(value) AS value,
    count(*) FILTER (purchase) AS purchases
  FROM past WHERE {_within(84)} GROUP BY ALL
), weeks AS (
  SELECT customer_token, t, count(*) FILTER (purchases > 0) / 12 AS active_weeks_share,
    sum((11 - 2 * week) * value) / 286 AS weekly_spend_slope,
    sqrt(greatest(sum(value * value) - sum(value) ** 2 / 12, 0) / 11) AS weekly_spend_std
  FROM weekly GROUP BY ALL
), sorts AS (
  SELECT customer_token, t, category, count(*) AS lines
  FROM lines JOIN cutoffs ON ordered_at < t AND epoch(t) - epoch(ordered_at) <= 84 * {_DAY}
  WHERE amount > 0 AND category IS NOT NULL GROUP BY ALL
), spread AS (
  SELECT customer_token, t,
    greatest(round(ln(sum(lines)) - sum(lines * ln(lines)) / sum(lines), 9), 0) AS category_entropy
  FROM sorts GROUP BY ALL
)
SELECT customer_token, t AS event_timestamp, newest / {_DAY} AS recency_days,
  least(oldest / {_DAY}, 84) AS tenure_days, summed.* LIKE 'orders_%', summed.* LIKE 'spend_%',
  n / {_TENURE} AS order_rate, net / {_TENURE} AS spend_rate,
  summed.* LIKE 'order_value_%', summed.* LIKE 'decayed_%',
  decayed_spend_84 * (ln(2) / 84) / (1 - exp(-ln(2) / 84 * {_TENURE})) AS ewma_daily_spend_84,
  summed.* LIKE 'gap_%',
  CASE WHEN gap_mean_days > 0 THEN gap_std_days / gap_mean_days END AS gap_cv,
  CASE WHEN gap_mean_days > 0 THEN newest / {_DAY} / gap_mean_days END AS overdue_mean,
  CASE WHEN gap_max_days > 0 THEN newest / {_DAY} / gap_max_days END AS overdue_max,
  (newest / {_DAY} - gap_mean_days) / (coalesce(gap_std_days, 0) + 1) AS overdue_z,
  coalesce(active_weeks_share, 0) AS active_weeks_share, coalesce(weekly_spend_slope, 0) AS weekly_spend_slope,
  coalesce(weekly_spend_std, 0) AS weekly_spend_std,
  orders_28d / 28 / (n / {_TENURE}) AS order_rate_trend,
  category_entropy,
  CASE WHEN gained + coalesce(discount, 0) > 0 THEN discount / (gained + coalesce(discount, 0)) END AS discount_share,
  CASE WHEN gained + coalesce(discount, 0) > 0 THEN coupon / (gained + coalesce(discount, 0)) END AS coupon_share,
  CASE WHEN gained > 0 THEN returned / gained END AS return_share,
  CASE WHEN orders_84d > 0 THEN lines / orders_84d END AS items_per_order,
  CASE WHEN lines > 0 THEN gained / lines END AS price_mean,
  n - 1 AS btyd_x, (oldest - newest) / {_DAY} AS btyd_t_x_days, oldest / {_DAY} AS btyd_T_days,
  CASE WHEN n > 1 THEN repeated / (n - 1) ELSE 0 END AS btyd_mean_value, n AS lifetime_orders
FROM summed LEFT JOIN weeks USING (customer_token, t) LEFT JOIN spread USING (customer_token, t)
"""
