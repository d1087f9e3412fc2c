-- Every flight of the last landed week (split 'holdout') and of the six weeks before it (split 'training'), with what
-- was known when it left. Training, the holdout and the demo's live requests all read their features from here, so
-- that a model is never asked anything it wasn't trained on.
--
-- Variables: as_of (TIMESTAMP, required; weeks that end later don't exist yet), weeks (path or glob of the landed
-- files), training_weeks (how many weeks before the holdout).
--
-- What is known: a flight's outcome only counts once it has certainly landed. Rates therefore read flights that left
-- on the day before, where a day ends at four in the morning (almost nothing is in the air then), or that left
-- 7 to 12 hours ago. All rates are drawn towards 20%, the usual share of late flights, as if 20 more flights had been
-- seen: an airport with three flights says little.
with
  landed as not materialized (
    select *
    from read_parquet(coalesce(getvariable('weeks')::varchar, 'data/weeks/*.parquet'))
    where date < date_trunc('week', getvariable('as_of')::timestamp)
  ),
  span as (
    select
      date_trunc('week', max(date)) as holdout_from,
      holdout_from - to_days(7 * coalesce(getvariable('training_weeks')::integer, 6)) as training_from
    from landed
  ),
  -- Two days more than the training weeks: the first of them has a yesterday too.
  seen as (
    select
      date as departure,
      date_trunc('hour', date) as departure_hour,
      (date - interval 4 hours)::date as operating_day,
      origin,
      destination,
      distance,
      (delay > 15)::utinyint as late
    from landed
    where date >= (select training_from - interval 2 days from span)
  ),
  origin_yesterday as (
    select origin, operating_day + 1 as operating_day, (sum(late) + 0.2 * 20) / (count(*) + 20) as rate
    from seen
    group by all
  ),
  destination_yesterday as (
    select destination, operating_day + 1 as operating_day, (sum(late) + 0.2 * 20) / (count(*) + 20) as rate
    from seen
    group by all
  ),
  origin_by_hour as (
    select origin, departure_hour, count(*) as flights, sum(late) as late
    from seen
    group by all
  ),
  origin_recently as (
    select
      origin,
      departure_hour,
      (coalesce(sum(late) over recent, 0) + 0.2 * 20) / (coalesce(sum(flights) over recent, 0) + 20) as rate
    from origin_by_hour
    window recent as (
      partition by origin
      order by departure_hour
      range between interval 12 hours preceding and interval 7 hours preceding
    )
  )
select
  if(departure < (select holdout_from from span), 'training', 'holdout') as split,
  departure,
  departure_hour,
  late,
  origin,
  destination,
  origin || '-' || destination as route,
  route || '@' || hour(departure) // 2 as route_slot,
  distance::float as distance,
  (hour(departure) + minute(departure) / 60)::float as hour,
  isodow(departure)::float as dow,
  coalesce(origin_yesterday.rate, 0.2)::float as origin_late,
  coalesce(destination_yesterday.rate, 0.2)::float as destination_late,
  origin_recently.rate::float as origin_recent,
  -- A flight's place in a fair shuffle, the same at every run: samples are its first so many.
  hash(departure, origin, destination, distance) as shuffle
from seen
left join origin_yesterday using (origin, operating_day)
left join destination_yesterday using (destination, operating_day)
join origin_recently using (origin, departure_hour)
where departure >= (select training_from from span)
