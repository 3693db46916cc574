//! Sorted segments to one sorted segment.
//!
//! The order of the rows is found once, from the sort keys, as a list of runs; then each column is
//! copied run by run, keys translated from one dictionary to the other. In memory are a page and a
//! dictionary of each input, the runs (12 bytes each; of inputs that follow each other in time there
//! are few, and never more than rows), and the compressed pages of one column that is not `raw`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use doorbook_event::{LogId, Timestamp};
use parquet::basic::{Repetition, Type};
use parquet::errors::ParquetError;

use super::input::{Column, Dictionary, Input, Part};
use super::plan::Cut;
use crate::disk::Disk;
use crate::error::Error;
use crate::segment::file::{FileWriter, Sink};
use crate::segment::pages::{BytesColumn, Compressor, FlagColumn, NULL, NumberColumn, TextColumn};
use crate::segment::{self, Member, SegmentMeta};

/// What is called between pieces of work of some milliseconds; an error of it ends the work.
pub(crate) type Between<'b> = &'b mut dyn FnMut() -> Result<(), Error>;

/// zstd levels of a final segment, which is read for years and written once: of `raw`, and of the
/// other columns.
const FINAL_RAW_LEVEL: i32 = 9;
const FINAL_COLUMNS_LEVEL: i32 = 3;

/// Rows between two calls of [`Between`].
const ROWS_PER_STEP: usize = 64 << 10;

/// Every so many rows one says how the times are distributed.
const SAMPLE: usize = 16;

/// Merges the rows of a cut into a durable file; `None`, and no file, if there are none.
pub(crate) fn merge(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    inputs: &[Input],
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
pub(crate) fn sample(inputs: &[Input], between: Between<'_>) -> Result<Vec<i64>, Error> {
    let mut times = Vec::new();
    for input in inputs {
        let mut keys = Keys::new(input)?;
        for row in (0..input.segment.meta.rows() as usize).step_by(SAMPLE) {
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

fn order(inputs: &[Input], times: &Range<i64>, between: Between<'_>) -> Result<Merged, Error> {
    let metas = || inputs.iter().map(|input| &input.segment.meta);
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
        keys: &mut Keys,
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
        keys: &mut [Keys],
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
struct Keys {
    base_seq: u64,
    row_count: usize,
    times: Column,
    seqs: Column,
    start: usize,
    loaded: Vec<(i64, u64)>,
}

impl Keys {
    fn new(input: &Input) -> Result<Keys, Error> {
        Ok(Keys {
            base_seq: input.segment.meta.base_seq,
            row_count: input.segment.meta.rows() as usize,
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
        self.start = row;
        self.loaded.clear();
        let count = ROWS.min(self.row_count - row);
        let base = self.base_seq;
        each_number(&mut self.times, row, count, |time| self.loaded.push((time, base)))?;
        let mut n = 0;
        each_number(&mut self.seqs, row, count, |seq| {
            self.loaded[n].1 = base.saturating_add(seq as u64);
            n += 1;
        })?;
        self.loaded.first().copied().ok_or_else(|| self.times.damaged("a row beyond the last"))
    }
}

/// The numbers of rows that all have one.
fn each_number(
    column: &mut Column,
    mut row: usize,
    count: usize,
    mut each: impl FnMut(i64),
) -> Result<(), Error> {
    let end = row + count;
    while row < end {
        let (part, count) = column.part(row, end - row)?;
        match part {
            Part::SameNumber(number) => (0..count).for_each(|_| each(number.unwrap_or(0))),
            Part::Numbers(numbers, _) => numbers.iter().for_each(|number| each(*number)),
            _ => return Err(column.damaged("a column of numbers holds none")),
        }
        row += count;
    }
    Ok(())
}

/// Copies columns in the order of the runs.
struct Copier<'a> {
    inputs: &'a [Input],
    runs: &'a [Run],
    path: &'a Path,
    zstd: Compressor,
    between: Between<'a>,
}

impl Copier<'_> {
    fn columns(&self, name: &str) -> Result<Vec<Column>, Error> {
        self.inputs.iter().map(|input| input.column(name)).collect()
    }

    /// Hands on every part of a column with its input's number, and says now and then that a step
    /// is done.
    fn each_part<S>(
        &mut self,
        columns: &mut [Column],
        state: &mut S,
        mut each: impl FnMut(&mut S, usize, Part<'_>, usize) -> Result<(), Error>,
        mut step: impl FnMut(&mut S, &mut Compressor) -> Result<(), ParquetError>,
    ) -> Result<(), Error> {
        let mut done = 0;
        for run in self.runs {
            let input = run.input as usize;
            let (mut row, end) = (run.start as usize, (run.start + run.count) as usize);
            while row < end {
                let (part, count) = columns[input].part(row, end - row)?;
                each(state, input, part, count)?;
                row += count;
                done += count;
                if done >= ROWS_PER_STEP {
                    step(state, &mut self.zstd)
                        .map_err(|error| segment::from_library(self.path, error))?;
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
        let mut columns = self.columns(name)?;
        let mut texts = Texts {
            inputs: self.inputs,
            dictionaries: columns.iter().map(|column| Arc::clone(&column.dictionary)).collect(),
            keys: columns.iter().map(|column| vec![UNKNOWN; column.dictionary.len()]).collect(),
            column,
            translated: Vec::new(),
        };
        let each =
            |texts: &mut Texts<'_>, input, part: Part<'_>, count| texts.add(input, part, count);
        self.each_part(&mut columns, &mut texts, each, |texts, zstd| {
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
        let mut columns = self.columns(name)?;
        let inputs = self.inputs;
        let mut moved = Vec::new();
        let each = |column: &mut NumberColumn, input: usize, part: Part<'_>, count| {
            // Ordinals become places in the log.
            let base = if name == "seq" { inputs[input].segment.meta.base_seq as i64 } else { 0 };
            match part {
                Part::SameNumber(number) => {
                    column.push_same(number.map(|number| number.wrapping_add(base)), count);
                }
                Part::Same(NULL) => column.push_same(None, count),
                Part::Numbers(numbers, present) if base == 0 => {
                    column.push_slice(numbers, present);
                }
                Part::Numbers(numbers, present) => {
                    moved.clear();
                    moved.extend(numbers.iter().map(|number| number.wrapping_add(base)));
                    column.push_slice(&moved, present);
                }
                _ => return Err(inputs[input].damaged("a column of numbers holds none")),
            }
            Ok(())
        };
        self.each_part(&mut columns, &mut column, each, |_, _| Ok(()))?;
        let finished = column.finish(out, &mut self.zstd);
        finished.map_err(|error| segment::from_library(self.path, error))
    }

    fn flags(&mut self, out: &mut FileWriter<'_, '_>, name: &str) -> Result<(), Error> {
        let mut column = FlagColumn::default();
        let mut columns = self.columns(name)?;
        let inputs = self.inputs;
        let each = |column: &mut FlagColumn, input: usize, part: Part<'_>, count| {
            match part {
                Part::SameNumber(number) => column.push_same(number.map(|flag| flag == 1), count),
                Part::Numbers(flags, None) => {
                    flags.iter().for_each(|flag| column.push_same(Some(*flag == 1), 1));
                }
                Part::Numbers(flags, Some(present)) => {
                    let rows = flags.iter().zip(present);
                    rows.for_each(|(flag, is)| column.push_same(is.then_some(*flag == 1), 1));
                }
                _ => return Err(inputs[input].damaged("a column of flags holds none")),
            }
            Ok(())
        };
        self.each_part(&mut columns, &mut column, each, |_, _| Ok(()))?;
        let finished = column.finish(out, &mut self.zstd);
        finished.map_err(|error| segment::from_library(self.path, error))
    }

    fn raw(&mut self, out: &mut FileWriter<'_, '_>, level: i32) -> Result<(), Error> {
        let path = self.path;
        let failed = |error| segment::from_library(path, error);
        let mut column = BytesColumn::new(Compressor::new(level).map_err(failed)?);
        let mut columns = self.columns("raw")?;
        let inputs = self.inputs;
        let each = |column: &mut BytesColumn, input: usize, part: Part<'_>, count| match part {
            Part::Same(NULL) => column.push_nulls(count).map_err(failed),
            Part::Texts(bytes, places) => places.iter().try_for_each(|place| {
                column.push(place_of(bytes, *place).unwrap_or_default()).map_err(failed)
            }),
            _ => Err(inputs[input].damaged("raw records are coded in an unknown way")),
        };
        // A step of long lines is long: what is compressed goes to the file as it comes.
        self.each_part(&mut columns, &mut column, each, |column, _| column.spill(out))?;
        column.finish(out).map_err(failed)
    }
}

/// A text column on its way from the inputs' dictionaries to its own.
struct Texts<'a> {
    inputs: &'a [Input],
    dictionaries: Vec<Arc<Dictionary>>,
    /// For each input and each of its keys the key here, or [`UNKNOWN`].
    keys: Vec<Vec<u32>>,
    column: TextColumn<'static>,
    translated: Vec<u32>,
}

/// A key that has not come up yet.
const UNKNOWN: u32 = NULL - 1;

impl Texts<'_> {
    fn add(&mut self, input: usize, part: Part<'_>, count: usize) -> Result<(), Error> {
        match part {
            Part::Same(NULL) | Part::SameNumber(None) => self.column.push_keys(NULL, count),
            Part::Same(key) => match self.key(input, key)? {
                Some(key) => self.column.push_keys(key, count),
                None => {
                    let text = self.dictionaries[input].text(key);
                    (0..count).for_each(|_| self.column.push_plain(text));
                }
            },
            Part::Keys(keys) => self.add_keys(input, keys)?,
            Part::Texts(bytes, places) => {
                for place in places {
                    match place_of(bytes, *place) {
                        None => self.column.push_keys(NULL, 1),
                        Some(text) if self.column.is_dictionary_full() => {
                            self.column.push_plain(text);
                        }
                        Some(text) => match self.own_key(input, text)? {
                            Some(key) => self.column.push_keys(key, 1),
                            None => self.column.push_plain(text),
                        },
                    }
                }
            }
            _ => return Err(self.inputs[input].damaged("a column of texts holds none")),
        }
        Ok(())
    }

    fn add_keys(&mut self, input: usize, keys: &[u32]) -> Result<(), Error> {
        self.translated.clear();
        for (n, key) in keys.iter().enumerate() {
            let known = match *key {
                NULL => NULL,
                _ if self.column.is_dictionary_full() => {
                    return self.add_plain(input, &keys[n..]);
                }
                key => self.keys[input][key as usize],
            };
            if known != UNKNOWN {
                self.translated.push(known);
                continue;
            }
            // A new value may end the dictionary, and with it the page.
            self.column.push_key_slice(&self.translated);
            self.translated.clear();
            match self.key(input, *key)? {
                Some(key) => self.translated.push(key),
                None => return self.add_plain(input, &keys[n..]),
            }
        }
        self.column.push_key_slice(&self.translated);
        Ok(())
    }

    /// Rows whose values have no keys here.
    fn add_plain(&mut self, input: usize, keys: &[u32]) -> Result<(), Error> {
        self.column.push_key_slice(&self.translated);
        self.translated.clear();
        for key in keys {
            match *key {
                NULL => self.column.push_keys(NULL, 1),
                key => self.column.push_plain(self.dictionaries[input].text(key)),
            }
        }
        Ok(())
    }

    /// The key here of an input's key.
    fn key(&mut self, input: usize, key: u32) -> Result<Option<u32>, Error> {
        if self.column.is_dictionary_full() {
            return Ok(None);
        }
        let known = self.keys[input][key as usize];
        if known != UNKNOWN {
            return Ok(Some(known));
        }
        let dictionary = Arc::clone(&self.dictionaries[input]);
        let own = self.own_key(input, dictionary.text(key))?;
        if let Some(own) = own {
            self.keys[input][key as usize] = own;
        }
        Ok(own)
    }

    fn own_key(&mut self, input: usize, text: &[u8]) -> Result<Option<u32>, Error> {
        let text = String::from_utf8(text.to_vec())
            .map_err(|_| self.inputs[input].damaged("a text is not UTF-8"))?;
        Ok(self.column.key(Cow::Owned(text)))
    }
}

fn place_of(bytes: &[u8], (start, end): (u32, u32)) -> Option<&[u8]> {
    (start != NULL).then(|| &bytes[start as usize..end as usize])
}
