//! What to merge, and where to cut the result: pure functions over what the catalogue knows.
//!
//! Segments that are not final lie in two pools: *fresh* ones reach beyond the newest final segment,
//! *late* ones do not (old files that are imported now, events that came late). Each pool is merged
//! on its own, so that a late event costs nothing but its own small files:
//!
//! - A pool that has grown to [`FINAL_WEIGHT`] becomes final segments, cut by time so that they do
//!   not overlap. What of it lies far outside of the rest (late events among fresh ones, dates of
//!   broken clocks) goes to a small segment of its own, so that a final one spans no more time than
//!   its rows do.
//! - Before that, many small segments become one, in two sizes, so that a row is rewritten about
//!   once before it is final. A pool that is a quarter full waits for that.
//!
//! Final segments are left alone, unless more than [`OVERLAPS_MAX`] of them hold the same instant, as
//! when the files of many hosts are imported one host after the other. Then the widest of them
//! are merged and cut by time again, if that at least halves the time that they span together: since
//! each such step does, there is an end to them, and a row takes part in about one for each factor of
//! [`OVERLAPS_MAX`] by which the history grows.
//!
//! Segments of a pool may overlap, too: imports of many hosts do, and a flush that has one late row
//! spans a month (the catalogue does not know that it is one row). Where more than
//! [`POOL_OVERLAPS_MAX`] of a pool, or of all [`ALL_OVERLAPS_MAX`], hold the same instant, the smallest of
//! them become one, of as many as do not weigh more than those before them together: a row that takes
//! part is then mostly in a segment twice as large at least. What it costs, by simulation: rows that
//! come in order are rewritten once, as before; with a few late ones in each flush of 200,000 rows 1.3
//! times instead of once, in each of 60,000 rows twice. What it brings: at most 11 segments at any
//! instant where hosts are imported one after the other, instead of 23. Tried, too: a pool of which
//! more than eight hold one instant becomes final at half the weight, which rewrites final segments.

use std::ops::Range;

/// What a plan needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) row_count: u64,
    pub(crate) size_bytes: u64,
    /// Its earliest and its latest event time, in microseconds.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) is_final: bool,
}

/// Segments to merge, by their place among the candidates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) inputs: Vec<usize>,
    pub(crate) makes: Makes,
}

/// What a job makes of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Makes {
    /// One segment that is not final.
    One,
    /// Final ones, and small ones of what lies far outside.
    Finals,
    /// Final ones of final ones.
    NarrowerFinals,
}

/// A segment to be made: of the rows within these times, in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cut {
    pub(crate) times: Range<i64>,
    pub(crate) is_final: bool,
}

/// Two million rows, or 256 MB: from there on a segment is final. None has twice as many, unless
/// they are all of one instant.
pub(crate) const FINAL_WEIGHT: u64 = 2_000_000;

/// A segment whose rows are longer than that weighs more.
const BYTES_PER_ROW: u64 = 128;

/// Below, a segment is rewritten so cheaply that it need not be counted.
const SMALL_WEIGHT: u64 = 64 << 10;

/// A quarter of a final segment.
const MEDIUM_WEIGHT: u64 = FINAL_WEIGHT / 4;

/// So many segments of one size become one.
const FAN_IN: usize = 8;

/// So many do even if their pool waits to become final.
const FAN_IN_WAITING: usize = 24;

/// No job has more inputs: each costs memory.
const FAN_IN_MAX: usize = 48;

/// More final segments than that at one instant are too many.
const OVERLAPS_MAX: usize = 6;

/// More segments of a pool than that at one instant are too many.
const POOL_OVERLAPS_MAX: usize = 7;

/// More segments of any kind than that are.
const ALL_OVERLAPS_MAX: usize = 9;

/// Two would be merged too often.
const STACKED_MIN: usize = 3;

/// No job is heavier: what is less urgent waits for its end.
const JOB_WEIGHT_MAX: u64 = 8 * FINAL_WEIGHT;

/// The next job, if there is something to do.
pub(crate) fn plan(segments: &[Candidate]) -> Option<Job> {
    let newest = segments.iter().filter(|segment| segment.is_final).map(|s| s.to).max();
    let is_late = |segment: &Candidate| newest.is_some_and(|newest| segment.to < newest);
    let pool = |late: bool| -> Vec<usize> {
        let of_pool = |n: &usize| !segments[*n].is_final && is_late(&segments[*n]) == late;
        let mut pool: Vec<usize> = (0..segments.len()).filter(of_pool).collect();
        pool.sort_by_key(|n| (segments[*n].from, segments[*n].to));
        pool
    };
    grow(segments, &pool(false))
        .or_else(|| grow(segments, &pool(true)))
        .or_else(|| separate(segments))
}

impl Candidate {
    fn weight(&self) -> u64 {
        self.row_count.max(self.size_bytes / BYTES_PER_ROW)
    }

    fn span(&self) -> i64 {
        self.to.saturating_sub(self.from)
    }
}

/// The next step towards final segments in a pool, which is sorted by time.
fn grow(segments: &[Candidate], pool: &[usize]) -> Option<Job> {
    let weight = |n: &usize| segments[*n].weight();
    let total: u64 = pool.iter().map(weight).sum();
    if total >= FINAL_WEIGHT {
        let mut inputs = Vec::new();
        let mut taken = 0;
        for n in pool.iter().take(FAN_IN_MAX) {
            if taken >= 2 * FINAL_WEIGHT {
                break;
            }
            taken += weight(n);
            inputs.push(*n);
        }
        if taken >= FINAL_WEIGHT {
            return Some(Job { inputs, makes: Makes::Finals });
        }
    }
    let of_size = |sizes: Range<u64>| -> Vec<usize> {
        pool.iter().copied().filter(|n| sizes.contains(&weight(n))).take(FAN_IN_MAX).collect()
    };
    let small = of_size(0..SMALL_WEIGHT);
    if small.len() >= FAN_IN {
        return Some(Job { inputs: small, makes: Makes::One });
    }
    if let Some(inputs) = stacked(segments, pool) {
        return Some(Job { inputs, makes: Makes::One });
    }
    let medium = of_size(SMALL_WEIGHT..MEDIUM_WEIGHT);
    let is_waiting = total > FINAL_WEIGHT / 4;
    match medium.len() >= if is_waiting { FAN_IN_WAITING } else { FAN_IN } {
        true => Some(Job { inputs: medium, makes: Makes::One }),
        false => None,
    }
}

/// The smallest of a pool, which is sorted by time, where too many hold the same instant.
fn stacked(segments: &[Candidate], pool: &[usize]) -> Option<Vec<usize>> {
    for (at, first) in pool.iter().enumerate() {
        // An instant that has most segments around is the beginning of one of them.
        let instant = segments[*first].from;
        let around = pool[..=at].iter().copied().filter(|n| segments[*n].to >= instant);
        let mut around: Vec<usize> = around.collect();
        let all = segments.iter().filter(|s| s.from <= instant && instant <= s.to).count();
        let is_high = all > ALL_OVERLAPS_MAX && around.len() >= STACKED_MIN;
        if around.len() <= POOL_OVERLAPS_MAX && !is_high {
            continue;
        }
        around.sort_by_key(|n| segments[*n].weight());
        let mut sum = 0;
        let weights = around.iter().map(|n| segments[*n].weight()).enumerate();
        let light = weights.take_while(|(n, weight)| {
            let is_light = *n < STACKED_MIN || *weight <= sum;
            sum += weight;
            is_light
        });
        let count = light.count().min(FAN_IN_MAX);
        around.truncate(count);
        return Some(around);
    }
    None
}

/// Final segments that should be narrower.
fn separate(segments: &[Candidate]) -> Option<Job> {
    let mut finals: Vec<usize> = (0..segments.len()).filter(|n| segments[*n].is_final).collect();
    finals.sort_by_key(|n| segments[*n].from);
    for (at, first) in finals.iter().enumerate() {
        // An instant that has most segments around is the beginning of one of them.
        let instant = segments[*first].from;
        let around = finals[..=at].iter().copied().filter(|n| segments[*n].to >= instant);
        let mut around: Vec<usize> = around.collect();
        if around.len() <= OVERLAPS_MAX {
            continue;
        }
        around.sort_by_key(|n| std::cmp::Reverse(segments[*n].span()));
        let widest = segments[around[0]].span();
        let alike = around.iter().filter(|n| segments[**n].span() >= widest / 4).count();
        let mut sum = 0;
        let light = around.iter().take_while(|n| {
            sum += segments[**n].weight();
            sum <= JOB_WEIGHT_MAX
        });
        let count = alike.min(light.count());
        around.truncate(count.clamp(3, 2 * OVERLAPS_MAX));
        let spans = around.iter().map(|n| segments[*n].span()).fold(0, i64::saturating_add);
        let from = around.iter().map(|n| segments[*n].from).min().unwrap_or(0);
        let to = around.iter().map(|n| segments[*n].to).max().unwrap_or(0);
        if to.saturating_sub(from) <= spans / 2 && spans > 0 {
            return Some(Job { inputs: around, makes: Makes::NarrowerFinals });
        }
    }
    None
}

/// Where to cut the result of a job. `times` are the event times of a sample of the rows, sorted.
pub(crate) fn cut(makes: Makes, inputs: &[Candidate], times: &[i64]) -> Vec<Cut> {
    let from = inputs.iter().map(|input| input.from).min().unwrap_or(i64::MIN);
    let to = inputs.iter().map(|input| input.to).max().unwrap_or(i64::MAX);
    let end = to.saturating_add(1);
    if makes == Makes::One {
        return vec![Cut { times: from..end, is_final: false }];
    }
    let (body, times) = match makes {
        Makes::Finals => body(from, to, times),
        _ => (from..end, times),
    };
    let weight: u64 = inputs.iter().map(Candidate::weight).sum();
    let count = weight.div_ceil(2 * FINAL_WEIGHT).max(1) as usize;
    let quantiles = (1..count).filter_map(|n| times.get(times.len() * n / count).copied());
    let quantiles = quantiles.filter(|time| body.contains(time));
    let mut edges: Vec<i64> = [body.start].into_iter().chain(quantiles).chain([body.end]).collect();
    edges.dedup();
    let mut cuts = Vec::new();
    let mut add = |times: Range<i64>, is_final| {
        if !times.is_empty() {
            cuts.push(Cut { times, is_final });
        }
    };
    add(from..body.start, false);
    edges.windows(2).for_each(|edges| add(edges[0]..edges[1], true));
    add(body.end..end, false);
    cuts
}

/// The times of the rows less the few at either end without which half the time is enough.
fn body(from: i64, to: i64, mut times: &[i64]) -> (Range<i64>, &[i64]) {
    let few = times.len() / 32;
    let (mut start, mut end) = (from, to.saturating_add(1));
    // The widest gap among the first few: what is before it goes.
    let gaps = |n: &usize| times[*n].saturating_sub(if *n == 0 { from } else { times[*n - 1] });
    if let Some(n) = (0..few).max_by_key(gaps)
        && times[n].saturating_sub(from) > to.saturating_sub(times[n])
    {
        start = times[n];
        times = &times[n..];
    }
    let count = times.len();
    let next = |n: usize| times.get(n + 1).copied().unwrap_or(to);
    if let Some(n) =
        (count - few.min(count)..count).max_by_key(|n| next(*n).saturating_sub(times[*n]))
        && to.saturating_sub(times[n]) > times[n].saturating_sub(start)
    {
        end = times[n].saturating_add(1);
        times = &times[..=n];
    }
    (start..end, times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows that one sampled time stands for.
    const UNIT: u64 = 50;
    const HOUR: i64 = 3_600_000_000;
    const DAY: i64 = 24 * HOUR;

    /// A store that knows nothing of rows but their times, and compacts until nothing is left to do.
    #[derive(Default)]
    struct Model {
        segments: Vec<(Vec<i64>, bool)>,
        written: u64,
        rewritten: u64,
        final_rewritten: u64,
        jobs: u64,
        heaviest: u64,
        live_max: usize,
        overlaps_max: usize,
    }

    impl Model {
        fn candidates(&self) -> Vec<Candidate> {
            let of = |(times, is_final): &(Vec<i64>, bool)| Candidate {
                row_count: times.len() as u64 * UNIT,
                size_bytes: times.len() as u64 * UNIT * 20,
                from: times[0],
                to: *times.last().expect("is not empty"),
                is_final: *is_final,
            };
            self.segments.iter().map(of).collect()
        }

        fn add(&mut self, mut times: Vec<i64>) {
            times.sort_unstable();
            self.written += times.len() as u64;
            self.segments.push((times, false));
            let mut jobs = 0;
            loop {
                let candidates = self.candidates();
                let Some(job) = plan(&candidates) else { break };
                self.run(&candidates, job);
                jobs += 1;
                assert!(jobs < 100, "no end to it");
            }
            self.jobs += jobs;
            // Final ones are as many as the rows make them.
            let small = self.segments.iter().filter(|(_, is_final)| !is_final).count();
            self.live_max = self.live_max.max(small);
            self.overlaps_max = self.overlaps_max.max(self.overlaps());
        }

        fn run(&mut self, candidates: &[Candidate], job: Job) {
            let inputs: Vec<Candidate> = job.inputs.iter().map(|n| candidates[*n]).collect();
            let weight = inputs.iter().map(Candidate::weight).sum();
            self.heaviest = self.heaviest.max(weight);
            let mut times = Vec::new();
            for n in &job.inputs {
                let (rows, is_final) = &self.segments[*n];
                self.rewritten += rows.len() as u64;
                self.final_rewritten += if *is_final { rows.len() as u64 } else { 0 };
                times.extend_from_slice(rows);
            }
            times.sort_unstable();
            let mut inputs_gone = job.inputs.clone();
            inputs_gone.sort_unstable();
            for n in inputs_gone.into_iter().rev() {
                self.segments.swap_remove(n);
            }
            let sample: Vec<i64> = times.iter().copied().step_by(4).collect();
            let mut left = times.len();
            for cut in cut(job.makes, &inputs, &sample) {
                let rows: Vec<i64> =
                    times.iter().copied().filter(|time| cut.times.contains(time)).collect();
                left -= rows.len();
                if !rows.is_empty() {
                    self.segments.push((rows, cut.is_final));
                }
            }
            assert_eq!(left, 0, "every row is in one cut");
        }

        /// How many segments hold the instant that most hold.
        fn overlaps(&self) -> usize {
            let segments = self.candidates();
            let at = |instant: i64| {
                segments.iter().filter(move |s| s.from <= instant && instant <= s.to)
            };
            segments.iter().map(|segment| at(segment.from).count()).max().unwrap_or(0)
        }

        fn amplification(&self) -> f64 {
            self.rewritten as f64 / self.written as f64
        }

        fn rows(&self) -> usize {
            self.segments.iter().map(|(times, _)| times.len()).sum()
        }

        fn finals(&self) -> usize {
            self.segments.iter().filter(|(_, is_final)| *is_final).count()
        }
    }

    fn spread(random: &mut u64, range: Range<i64>, rows: u64) -> Vec<i64> {
        let count = (rows / UNIT).max(1);
        let width = (range.end - range.start).max(1) as u64;
        let mut next = || {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            range.start + (*random % width) as i64
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Goal: data that comes in order is rewritten about once, becomes final segments that do
        /// not overlap, and the rest stays few; late rows in every flush, which make all of them
        /// overlap, cost a bounded number of rewrites. Method: flushes of a size each, one after the other
        /// in time, with a few rows that are late by up to a month.
        #[test]
        fn in_order_data_is_rewritten_about_once(
            seed in 1_u64..,
            flush in 12_000_u64..400_000,
            late in prop_oneof![Just(0_u64), Just(UNIT), Just(5 * UNIT)],
        ) {
            let mut model = Model::default();
            let mut random = seed;
            for n in 0..(12_000_000 / flush) as i64 {
                let mut times = spread(&mut random, n * HOUR..(n + 1) * HOUR, flush);
                if late > 0 {
                    times.extend(spread(&mut random, (n - 720) * HOUR..n * HOUR, late));
                }
                model.add(times);
            }
            prop_assert_eq!(model.rows() as u64, model.written);
            let amplification = model.amplification();
            let limit = match (late, flush) {
                (0, _) => 2.0,
                (_, 150_000..) => 2.5,
                (_, 50_000..) => 3.5,
                _ => 5.0,
            };
            prop_assert!(amplification <= limit, "{} rows a flush: {}", flush, amplification);
            prop_assert!(model.live_max <= 40, "{} are not final", model.live_max);
            prop_assert!(model.overlaps_max <= 12, "{} overlap", model.overlaps_max);
            prop_assert_eq!(model.final_rewritten, 0);
            if late == 0 {
                prop_assert!(model.overlaps_max <= 3, "{} overlap", model.overlaps_max);
            }
        }

        /// Goal: whatever comes in whatever order, compaction ends, live segments are few, few
        /// overlap, and a row is not rewritten again and again. Method: a mixture of steady days,
        /// bursts, late events, and imports of old files that each span months.
        #[test]
        fn a_mixture_ends_and_stays_small(
            seed in 1_u64..,
            steps in proptest::collection::vec((0_u8..5, 1_u64..16), 20..60),
        ) {
            let mut model = Model::default();
            let mut random = seed;
            let mut day = 400;
            for (what, size) in steps {
                let now = day * DAY;
                match what {
                    0 | 1 => {
                        model.add(spread(&mut random, now..now + DAY, size * 10_000));
                        day += 1;
                    }
                    2 => model.add(spread(&mut random, now..now + 1000, size * 10_000)),
                    3 => model.add(spread(&mut random, 0..now, UNIT)),
                    _ => {
                        for _ in 0..size {
                            model.add(spread(&mut random, 0..360 * DAY, 128 << 10));
                        }
                    }
                }
            }
            prop_assert_eq!(model.rows() as u64, model.written);
            prop_assert!(model.amplification() <= 6.0, "{}", model.amplification());
            prop_assert!(model.live_max <= 50, "{} are not final", model.live_max);
            prop_assert!(model.overlaps_max <= 12, "{} overlap", model.overlaps_max);
            let finals = (model.written * UNIT / FINAL_WEIGHT) as usize + 4;
            prop_assert!(model.finals() <= finals + model.finals() / 4, "{} finals", model.finals());
        }
    }

    /// Goal: a small installation ends with few files, a large one with few at any instant. Method:
    /// 50 rows a day for ten years; a million a day for three months.
    #[test]
    fn small_and_large_installations() {
        let mut random = 7;
        let mut small = Model::default();
        for day in 0..3650 {
            small.add(spread(&mut random, day * DAY..(day + 1) * DAY, 50));
        }
        println!("small: {} live, {} at most", small.segments.len(), small.live_max);
        assert!(small.live_max <= 16 && small.segments.len() <= 16);

        let mut large = Model::default();
        for flush in 0..450 {
            let times = flush * DAY / 5..(flush + 1) * DAY / 5;
            large.add(spread(&mut random, times, 200_000));
        }
        let overlaps = large.overlaps();
        println!(
            "large: {} finals, {} at most besides, {overlaps} overlap, amplification {:.2}",
            large.finals(),
            large.live_max,
            large.amplification()
        );
        assert!(large.live_max <= 24 && overlaps <= 2 && large.amplification() <= 1.1);
    }

    /// Goal: at most a handful of segments hold the same instant, also while many hosts are imported
    /// one after the other for the same time, and no job holds up others for long. Method: a year of
    /// each host, in as many files and of as many rows as small and large installations have.
    #[test]
    fn hosts_imported_one_after_the_other() {
        let mut random = 7;
        for (hosts, parts, rows) in [
            (40, 8, 128 << 10),
            (40, 8, 20_000),
            (40, 2, 128 << 10),
            (40, 1, 50_000),
            (40, 1, 500_000),
            (40, 1, 1_000_000),
            (400, 1, 30_000),
            (200, 4, 100_000),
        ] {
            let mut model = Model::default();
            for _ in 0..hosts {
                for part in 0..parts {
                    let times = part * 360 / parts * DAY..(part + 1) * 360 / parts * DAY;
                    model.add(spread(&mut random, times, rows));
                }
            }
            println!(
                "{hosts} hosts, {parts} files of {rows} rows: {} finals, {} at most besides, {} overlap at the end, {} at most, amplification {:.2}, heaviest job {}",
                model.finals(),
                model.live_max,
                model.overlaps(),
                model.overlaps_max,
                model.amplification(),
                model.heaviest,
            );
            assert!(model.overlaps() <= 10 && model.overlaps_max <= 12);
            assert!(model.amplification() <= 5.0 && model.live_max <= 30);
            assert!(model.heaviest <= JOB_WEIGHT_MAX);
        }
    }

    /// Ten late events are merged with each other, and no final segment is rewritten for them.
    #[test]
    fn late_events_rewrite_no_final_segment() {
        let mut model = Model::default();
        let mut random = 3;
        for flush in 0..60 {
            model.add(spread(&mut random, flush * HOUR..(flush + 1) * HOUR, 200_000));
        }
        let before = model.rewritten;
        for n in 0..10 {
            model.add(vec![n * HOUR]);
        }
        assert_eq!(model.final_rewritten, 0);
        assert!(model.rewritten - before <= 20, "{}", model.rewritten - before);
    }

    /// Rows that are all of one instant cannot be cut, and are not tried again and again.
    #[test]
    fn one_instant_ends() {
        let mut model = Model::default();
        for _ in 0..200 {
            model.add(vec![5; 4000]);
        }
        assert!(model.amplification() <= 3.1, "{}", model.amplification());
    }
}
