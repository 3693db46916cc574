//! Sorted segments to one sorted segment.
//!
//! The order of the rows is found once, from the sort keys, as a list of runs; then each column is
//! copied run by run, keys translated from one dictionary to the other, and a page that says the same
//! of all its rows stays one value. In memory are a page and a dictionary of each input, the runs (12 bytes each; of inputs that follow each other in time there
//! are few, and never more than rows), and the compressed pages of one column that is not `raw`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use doorbook_event::{LogId, Timestamp};
use parquet::basic::{Repetition, Type};
use parquet::errors::ParquetError;

use super::plan::Cut;
use crate::disk::Disk;
use crate::error::Error;
use crate::segment::file::{FileWriter, Sink};
use crate::segment::pages::{BytesColumn, Compressor, FlagColumn, NULL, NumberColumn, TextColumn};
use crate::segment::{
    self, BytesPage, Column, Ids, IntPage, Member, Reader, SegmentMeta, TextPage,
};

/// What is called between pieces of work of some milliseconds; an error of it ends the work.
pub(crate) type Between<'b> = &'b mut dyn FnMut() -> Result<(), Error>;

/// zstd levels of a final segment, which is read for years and written once: of `raw`, and of the
/// other columns.
const FINAL_RAW_LEVEL: i32 = 9;
const FINAL_COLUMNS_LEVEL: i32 = 3;

/// Rows between two calls of [`Between`]: of long lines at [`FINAL_RAW_LEVEL`] a tenth of a second, for
/// which a flush has to wait.
const ROWS_PER_STEP: usize = 8 << 10;

/// Every so many rows one says how the times are distributed.
const SAMPLE: usize = 16;

/// Merges the rows of a cut into a durable file; `None`, and no file, if there are none.
pub(crate) fn merge(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    inputs: &[Reader<'_>],
    cut: &Cut,
    between: Between<'_>,
) -> Result<Option<SegmentMeta>, Error> {
    let Merged { runs, members, seqs } = order(inputs, &cut.times, between)?;
    if runs.is_empty() {
        return Ok(None);
    }
    let path = dir.join(name);
    let failed = |error| segment::from_library(&path, error);
    let file = disk.create(&path).map_err(|error| Error::io(&path, "create", error))?;
    let mut sink = Sink::new(&*file);
    let mut out = FileWriter::new(&mut sink).map_err(failed)?;
    let (raw_level, level) = match cut.is_final {
        true => (FINAL_RAW_LEVEL, FINAL_COLUMNS_LEVEL),
        false => (segment::RAW_LEVEL, segment::COLUMNS_LEVEL),
    };
    let zstd = Compressor::new(level).map_err(failed)?;
    let mut copier = Copier { inputs, runs: &runs, path: &path, zstd, between };
    for column in segment::schema().columns() {
        let name = column.name();
        let is_optional = column.self_type().get_basic_info().repetition() == Repetition::OPTIONAL;
        match column.physical_type() {
            _ if name == "raw" => copier.raw(&mut out, raw_level)?,
            Type::BYTE_ARRAY => copier.texts(&mut out, name, is_optional)?,
            Type::BOOLEAN => copier.flags(&mut out, name)?,
            kind => copier.numbers(&mut out, name, is_optional, kind == Type::INT32)?,
        }
    }
    let row_count: u64 = members.iter().map(|member| member.rows).sum();
    out.finish(row_count as usize).map_err(failed)?;
    let sunk = sink.finish().map_err(|error| Error::io(&path, "write", error))?;
    file.sync().map_err(|error| Error::io(&path, "sync", error))?;
    disk.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))?;
    Ok(Some(SegmentMeta {
        name: name.into(),
        log: LogId(0),
        base_seq: 0,
        first_seq: seqs.0,
        last_seq: seqs.1,
        size_bytes: sunk.size_bytes,
        crc32c: sunk.crc32c,
        import: None,
        members,
        is_final: cut.is_final,
        tail: Some(sunk.tail),
    }))
}

/// Event times of some rows, sorted.
pub(crate) fn sample(inputs: &[Reader<'_>], between: Between<'_>) -> Result<Vec<i64>, Error> {
    let mut times = Vec::new();
    for input in inputs {
        let mut keys = Keys::new(input)?;
        for row in (0..input.meta().rows() as usize).step_by(SAMPLE) {
            if row.is_multiple_of(ROWS_PER_STEP) {
                between()?;
            }
            times.push(keys.at(row)?.0);
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// Rows of one input that stay together.
#[derive(Clone, Copy)]
struct Run {
    input: u32,
    start: u32,
    count: u32,
}

/// The order of a merge, and what the catalogue will know of it.
struct Merged {
    runs: Vec<Run>,
    members: Vec<Member>,
    /// The lowest and the highest.
    seqs: (u64, u64),
}

fn order(inputs: &[Reader<'_>], times: &Range<i64>, between: Between<'_>) -> Result<Merged, Error> {
    let metas = || inputs.iter().map(Reader::meta);
    let targets: BTreeSet<(&str, &str)> = metas()
        .flat_map(|meta| &meta.members)
        .map(|member| (&*member.group, &*member.member))
        .collect();
    let mut stretches: Vec<_> = metas().map(|meta| (0, meta.members.iter().peekable())).collect();
    let mut keys = inputs.iter().map(Keys::new).collect::<Result<Vec<_>, _>>()?;
    let mut merged = Merged { runs: Vec::new(), members: Vec::new(), seqs: (u64::MAX, 0) };
    let mut done = 0;
    for target in targets {
        let mut heads = Vec::new();
        let mut kinds = 0;
        for (input, (next, members)) in stretches.iter_mut().enumerate() {
            let Some(member) =
                members.next_if(|member| (&*member.group, &*member.member) == target)
            else {
                continue;
            };
            let rows = *next..*next + member.rows as usize;
            *next = rows.end;
            let is_within = |at: Timestamp| times.contains(&at.micros());
            if is_within(member.from) || is_within(member.to) || member.from.micros() < times.start
            {
                heads.extend(Head::first(&mut keys[input], input, rows, times)?);
                kinds |= member.kinds;
            }
        }
        let before = merged.runs.len();
        let mut member = Member {
            group: target.0.into(),
            member: target.1.into(),
            rows: 0,
            from: Timestamp::MAX,
            to: Timestamp::MIN,
            kinds,
        };
        while !heads.is_empty() {
            heads.sort_unstable_by_key(|head| head.key);
            let limit = heads.get(1).map(|head| head.key);
            let head = &mut heads[0];
            let run = head.run(&mut keys, limit, times, &mut merged.seqs)?;
            member.from = member.from.min(Timestamp::from_micros(run.from));
            member.to = member.to.max(Timestamp::from_micros(run.to));
            member.rows += u64::from(run.run.count);
            done += run.run.count as usize;
            if head.rows.is_empty() {
                heads.remove(0);
            }
            merged.runs.push(run.run);
            if done >= ROWS_PER_STEP {
                between()?;
                done = 0;
            }
        }
        if merged.runs.len() > before {
            merged.members.push(member);
        }
    }
    Ok(merged)
}

/// Where an input stands within the rows of one target.
struct Head {
    input: usize,
    /// The rows that are left.
    rows: Range<usize>,
    /// The sort key of the first of them.
    key: (i64, u64),
}

struct Taken {
    run: Run,
    from: i64,
    to: i64,
}

impl Head {
    /// The first row within some times.
    fn first(
        keys: &mut Keys<'_>,
        input: usize,
        rows: Range<usize>,
        times: &Range<i64>,
    ) -> Result<Option<Head>, Error> {
        // The rows are sorted by time.
        let (mut low, end) = (rows.start, rows.end);
        while low < end {
            let key = keys.at(low)?;
            if key.0 >= times.start {
                let is_within = key.0 < times.end;
                return Ok(is_within.then_some(Head { input, rows: low..end, key }));
            }
            low += 1;
        }
        Ok(None)
    }

    /// Takes the rows before `limit` and before the end of the times.
    fn run(
        &mut self,
        keys: &mut [Keys<'_>],
        limit: Option<(i64, u64)>,
        times: &Range<i64>,
        (lowest, highest): &mut (u64, u64),
    ) -> Result<Taken, Error> {
        let keys = &mut keys[self.input];
        let (start, from) = (self.rows.start, self.key.0);
        let mut to = from;
        loop {
            to = to.max(self.key.0);
            *lowest = self.key.1.min(*lowest);
            *highest = self.key.1.max(*highest);
            self.rows.start += 1;
            if self.rows.is_empty() {
                break;
            }
            self.key = keys.at(self.rows.start)?;
            if self.key.0 >= times.end {
                let end = self.rows.start;
                self.rows = 0..0;
                return Ok(Taken { run: self.taken(start, end), from, to });
            }
            if limit.is_some_and(|limit| self.key > limit) {
                break;
            }
        }
        Ok(Taken { run: self.taken(start, self.rows.start), from, to })
    }

    fn taken(&self, start: usize, end: usize) -> Run {
        let (start, count) = (start as u32, (end - start) as u32);
        Run { input: self.input as u32, start, count }
    }
}

/// The sort keys of an input's rows, asked for in ascending order.
struct Keys<'a> {
    base_seq: u64,
    row_count: usize,
    times: Column<'a>,
    seqs: Column<'a>,
    start: usize,
    loaded: Vec<(i64, u64)>,
}

impl<'a> Keys<'a> {
    fn new(input: &'a Reader<'a>) -> Result<Keys<'a>, Error> {
        Ok(Keys {
            base_seq: input.base_seq(),
            row_count: input.meta().rows() as usize,
            times: input.column("event_time")?,
            seqs: input.column("seq")?,
            start: 0,
            loaded: Vec::new(),
        })
    }

    #[inline]
    fn at(&mut self, row: usize) -> Result<(i64, u64), Error> {
        match self.loaded.get(row.wrapping_sub(self.start)) {
            Some(key) => Ok(*key),
            None => self.load(row),
        }
    }

    fn load(&mut self, row: usize) -> Result<(i64, u64), Error> {
        const ROWS: usize = 4096;
        let end = self.row_count.min(row + ROWS);
        let base = self.base_seq;
        self.start = row;
        self.loaded.clear();
        each_number(&mut self.times, row..end, |time| self.loaded.push((time, base)))?;
        let mut keys = self.loaded.iter_mut();
        each_number(&mut self.seqs, row..end, |seq| {
            if let Some(key) = keys.next() {
                key.1 = base.saturating_add(seq as u64);
            }
        })?;
        Ok(self.loaded[0])
    }
}

/// The numbers of rows that all have one.
fn each_number(
    column: &mut Column<'_>,
    mut rows: Range<usize>,
    mut each: impl FnMut(i64),
) -> Result<(), Error> {
    while !rows.is_empty() {
        let (page, of_page) = column.ints(rows.start)?;
        let end = of_page.end.min(rows.end);
        match page {
            IntPage::Constant(number) => {
                (rows.start..end).for_each(|_| each(number.unwrap_or_default()));
            }
            IntPage::Each { values, .. } => {
                let values = &values[rows.start - of_page.start..end - of_page.start];
                values.iter().for_each(|number| each(*number));
            }
        }
        rows.start = end;
    }
    Ok(())
}

/// Copies columns in the order of the runs.
struct Copier<'a> {
    inputs: &'a [Reader<'a>],
    runs: &'a [Run],
    path: &'a Path,
    zstd: Compressor,
    between: Between<'a>,
}

impl<'a> Copier<'a> {
    /// Hands on a column in parts that each lie in one page of one input, with the input's number and
    /// the rows' places in the page; and says now and then that a step is done.
    fn each_part<S, P>(
        &mut self,
        name: &str,
        page_of: impl for<'c> Fn(&'c mut Column<'a>, usize) -> Result<(&'c P, Range<usize>), Error>,
        state: &mut S,
        mut each: impl FnMut(&mut S, usize, &P, Range<usize>) -> Result<(), ParquetError>,
        mut step: impl FnMut(&mut S, &mut Compressor) -> Result<(), ParquetError>,
    ) -> Result<(), Error> {
        let path = self.path;
        let failed = |error| segment::from_library(path, error);
        let columns = self.inputs.iter().map(|input| input.column(name));
        let mut columns = columns.collect::<Result<Vec<_>, Error>>()?;
        let mut done = 0;
        for run in self.runs {
            let input = run.input as usize;
            let (mut row, end) = (run.start as usize, (run.start + run.count) as usize);
            while row < end {
                let (page, of_page) = page_of(&mut columns[input], row)?;
                let part = row..end.min(of_page.end);
                let places = part.start - of_page.start..part.end - of_page.start;
                each(state, input, page, places).map_err(failed)?;
                row = part.end;
                done += part.len();
                if done >= ROWS_PER_STEP {
                    step(state, &mut self.zstd).map_err(failed)?;
                    (self.between)()?;
                    done = 0;
                }
            }
        }
        Ok(())
    }

    fn texts(
        &mut self,
        out: &mut FileWriter<'_, '_>,
        name: &str,
        is_optional: bool,
    ) -> Result<(), Error> {
        let mut column = TextColumn::new(is_optional);
        if segment::has_statistics(name) {
            column = column.with_statistics();
        }
        if segment::has_bloom(name) {
            column = column.with_bloom();
        }
        let keys = vec![Vec::new(); self.inputs.len()];
        let mut texts = Texts { column, keys, translated: Vec::new() };
        let each = |texts: &mut Texts, input, page: &TextPage, places| {
            texts.add(input, page, places);
            Ok(())
        };
        self.each_part(name, Column::texts, &mut texts, each, |texts, zstd| {
            texts.column.spill(out, zstd)
        })?;
        let finished = texts.column.finish(out, &mut self.zstd);
        finished.map_err(|error| segment::from_library(self.path, error))
    }

    fn numbers(
        &mut self,
        out: &mut FileWriter<'_, '_>,
        name: &str,
        is_optional: bool,
        is_narrow: bool,
    ) -> Result<(), Error> {
        let mut column = NumberColumn::new(is_optional, is_narrow);
        if segment::has_statistics(name) {
            column = column.with_statistics();
        }
        let inputs = self.inputs;
        let mut moved = Vec::new();
        let each = |column: &mut NumberColumn, input: usize, page: &IntPage, places: Range<_>| {
            // Ordinals become places in the log.
            let base = if name == "seq" { inputs[input].base_seq() as i64 } else { 0 };
            match page {
                IntPage::Constant(number) => {
                    column.push_same(number.map(|number| number.wrapping_add(base)), places.len());
                }
                IntPage::Each { values, presence } => {
                    let presence = presence.as_ref().map(|levels| &levels[places.clone()]);
                    let mut values = &values[places];
                    if base != 0 {
                        moved.clear();
                        moved.extend(values.iter().map(|number| number.wrapping_add(base)));
                        values = &moved;
                    }
                    column.push_slice(values, presence);
                }
            }
            Ok(())
        };
        self.each_part(name, Column::ints, &mut column, each, |_, _| Ok(()))?;
        let finished = column.finish(out, &mut self.zstd);
        finished.map_err(|error| segment::from_library(self.path, error))
    }

    fn flags(&mut self, out: &mut FileWriter<'_, '_>, name: &str) -> Result<(), Error> {
        let mut column = FlagColumn::default();
        let each = |column: &mut FlagColumn, _, page: &IntPage, places: Range<usize>| {
            match page.constant() {
                Some(flag) => column.push_same(flag.map(|flag| flag == 1), places.len()),
                None => places.for_each(|n| column.push_option(page.get(n).map(|flag| flag == 1))),
            }
            Ok(())
        };
        self.each_part(name, Column::ints, &mut column, each, |_, _| Ok(()))?;
        let finished = column.finish(out, &mut self.zstd);
        finished.map_err(|error| segment::from_library(self.path, error))
    }

    fn raw(&mut self, out: &mut FileWriter<'_, '_>, level: i32) -> Result<(), Error> {
        let path = self.path;
        let failed = |error| segment::from_library(path, error);
        let mut column = BytesColumn::new(Compressor::new(level).map_err(failed)?);
        let each =
            |column: &mut BytesColumn, _, page: &BytesPage, mut places: Range<usize>| match page
                .is_empty()
            {
                true => column.push_nulls(places.len()),
                false => places.try_for_each(|n| column.push(page.get(n))),
            };
        // A step of long lines is long: what is compressed goes to the file as it comes.
        self.each_part("raw", Column::bytes, &mut column, each, |column, _| column.spill(out))?;
        column.finish(out).map_err(failed)
    }
}

/// A text column on its way from the inputs' dictionaries to its own.
struct Texts {
    column: TextColumn<'static>,
    /// For each input and each of its keys the key here, or [`UNKNOWN`]; and [`NULL`] behind the
    /// last, which is the key of rows without a value.
    keys: Vec<Vec<u32>>,
    translated: Vec<u32>,
}

/// A key that has not come up yet.
const UNKNOWN: u32 = NULL - 1;

impl Texts {
    fn add(&mut self, input: usize, page: &TextPage, places: Range<usize>) {
        match &page.ids {
            Ids::Constant(key) => self.add_same(input, page, *key, places.len()),
            Ids::U8(keys) => self.add_keys(input, page, &keys[places]),
            Ids::U16(keys) => self.add_keys(input, page, &keys[places]),
            Ids::U32(keys) => self.add_keys(input, page, &keys[places]),
        }
    }

    fn add_same(&mut self, input: usize, page: &TextPage, key: u32, count: usize) {
        let Some(text) = page.dictionary.get(key as usize) else {
            return self.column.push_keys(NULL, count);
        };
        match self.key(input, page, key) {
            Some(key) => self.column.push_keys(key, count),
            None => (0..count).for_each(|_| self.column.push_plain(text.as_bytes())),
        }
    }

    fn add_keys<K: Copy + Into<u32>>(&mut self, input: usize, page: &TextPage, keys: &[K]) {
        self.prepare(input, page);
        if page.is_plain || self.column.is_dictionary_full() {
            return keys.iter().for_each(|key| self.add_same(input, page, (*key).into(), 1));
        }
        self.translated.clear();
        for (n, key) in keys.iter().enumerate() {
            let key = (*key).into();
            let known = self.keys[input][key as usize];
            if known != UNKNOWN {
                self.translated.push(known);
                continue;
            }
            // A new value may end the dictionary, and with it the page.
            self.column.push_key_slice(&self.translated);
            self.translated.clear();
            match self.key(input, page, key) {
                Some(key) => self.translated.push(key),
                None => return self.add_keys(input, page, &keys[n..]),
            }
        }
        self.column.push_key_slice(&self.translated);
    }

    /// The key here of an input's key; `None` once keys are no longer used.
    fn key(&mut self, input: usize, page: &TextPage, key: u32) -> Option<u32> {
        if self.column.is_dictionary_full() {
            return None;
        }
        let text = page.dictionary.get(key as usize).unwrap_or_default();
        if page.is_plain {
            return self.column.key(text);
        }
        self.prepare(input, page);
        let known = self.keys[input][key as usize];
        if known != UNKNOWN {
            return Some(known);
        }
        let own = self.column.key(text)?;
        self.keys[input][key as usize] = own;
        Some(own)
    }

    /// All pages of an input with keys have the same dictionary.
    fn prepare(&mut self, input: usize, page: &TextPage) {
        let keys = &mut self.keys[input];
        if !page.is_plain && keys.is_empty() {
            keys.resize(page.dictionary.len(), UNKNOWN);
            keys.push(NULL);
        }
    }
}
