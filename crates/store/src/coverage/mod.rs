//! [`Watched`]: what sources and imports saw of which target, and how far each source has come; and
//! [`Answer`]: what that means for a question.
//!
//! The rules are `docs/design/coverage.md`. What a target did not show at all (`catalog.coverage`) no
//! source can mend; it is laid over what sources saw.

mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use doorbook_event::arrays::is_below;
use doorbook_event::record::{Actor, Coverage, Grade, Heartbeat, Hidden, ImportId};
use doorbook_event::{Action, Scope, Seq, Target, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::frame::Advanced;

pub use timeline::{Span, Timeline};

/// What sources and imports saw, and how far sources have come. A snapshot; it never changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// How far each source has come, by its name.
    pub sources: BTreeMap<Text, Progress>,
    /// Who saw what of each target. Shared with the snapshots before it.
    pub(crate) targets: BTreeMap<(Scope, Target), Arc<Views>>,
}

/// What each source or import saw of a target, by its name.
pub(crate) type Views = BTreeMap<Text, View>;

/// What a source or an import saw of a target.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct View {
    /// Of these actions.
    #[n(0)]
    pub(crate) actions: Vec<Action>,
    #[n(1)]
    pub(crate) timeline: Timeline,
}

/// How far a source has come.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Progress {
    /// Where it goes on, in its own form.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub position: Vec<u8>,
    /// It has read everything that was written before.
    #[n(1)]
    pub through: Option<Timestamp>,
    /// Lines it read so far.
    #[n(2)]
    pub lines: u64,
    /// Accesses it recorded so far.
    #[n(3)]
    pub events: u64,
    /// When it last came further, by our clock.
    #[n(4)]
    pub at: Timestamp,
    /// The last rows of the file at hand that it added: equal lines of one file are as many events.
    #[n(5)]
    pub(crate) own: Vec<Rows>,
    /// Its last heartbeat.
    #[n(6)]
    pub heartbeat: Option<Heartbeat>,
}

/// Consecutive rows of a log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Rows {
    #[n(0)]
    pub(crate) start: Seq,
    #[n(1)]
    pub(crate) end: Seq,
}

impl Rows {
    pub(crate) fn range(&self) -> Range<Seq> {
        self.start..self.end
    }
}

impl Watched {
    /// Takes note of what a source or an import (`by`) says of an interval.
    pub(crate) fn paint(&mut self, scope: &Scope, by: &Text, told: &Coverage) {
        let Coverage { from, grade, cause, actions, target, .. } = told;
        let view = self.view(scope, target, by, actions);
        let to = told.to.unwrap_or(Timestamp::MAX);
        view.timeline.paint(Span { from: *from, to, grade: *grade, cause: cause.clone() });
    }

    /// Takes note of how far a source came. That it could not see, after that, is over.
    pub(crate) fn advance(&mut self, advanced: Advanced) {
        let Advanced { source, scope, target, actions, position, seen, .. } = advanced;
        let Advanced { lines, events, at, own, doubt, .. } = advanced;
        let progress = self.sources.entry(source.clone()).or_default();
        progress.position = position;
        progress.lines += lines;
        progress.events += events;
        progress.at = at;
        progress.own = own;
        let Some((from, through)) = seen else { return };
        // One that only says that it is alive sees no more than before: what it does not see stays so.
        if progress.through >= Some(through) {
            return;
        }
        progress.through = Some(through);
        let timeline = &mut self.view(&scope, &target, &source, &actions).timeline;
        timeline.forget_from(through);
        let grade = if doubt.is_some() { Grade::BestEffort } else { Grade::Watched };
        timeline.paint(Span { from, to: through, grade, cause: doubt.unwrap_or_default() });
    }

    /// Takes note that a source sees nothing from an instant on.
    pub(crate) fn rest(
        &mut self,
        scope: &Scope,
        by: &Text,
        target: &Target,
        actions: &[Action],
        from: Timestamp,
        cause: &str,
    ) {
        let view = self.view(scope, target, by, actions);
        let (to, grade, cause) = (Timestamp::MAX, Grade::Blind, cause.into());
        view.timeline.paint(Span { from, to, grade, cause });
    }

    /// Forgets what an import saw.
    pub(crate) fn take_back(&mut self, scope: &Scope, import: &ImportId) {
        for ((of, _), views) in &mut self.targets {
            if of == scope && views.contains_key(import) {
                Arc::make_mut(views).remove(import);
            }
        }
    }

    /// What a source or an import (`by`) saw of a target.
    pub fn spans(&self, scope: &Scope, target: &Target, by: &str) -> &[Span] {
        let views = self.targets.get(&(scope.clone(), target.clone()));
        views.and_then(|views| views.get(by)).map_or(&[], |view| view.timeline.spans())
    }

    /// Whether a source does not see a target now, as far as it told.
    pub fn is_blind(&self, scope: &Scope, target: &Target, by: &str) -> bool {
        let views = self.targets.get(&(scope.clone(), target.clone()));
        let view = views.and_then(|views| views.get(by));
        let last = view.and_then(|view| view.timeline.spans().last());
        last.is_some_and(|span| span.to == Timestamp::MAX)
    }

    /// Whether a source is there and sees, as far as it told, so that more is going to be said.
    fn goes_on(&self, by: &Text, line: &Timeline) -> bool {
        let sees = line.spans().last().is_some_and(|last| last.to < Timestamp::MAX);
        sees && self.sources.contains_key(by)
    }

    /// What sources did not see of single arrays of the places that they watch.
    pub fn unseen_of_arrays(&self, scope: &Scope) -> Vec<Gap> {
        let of_scope = self.targets.iter().filter(|((of, _), _)| of == scope);
        let arrays = of_scope.filter(|((_, target), _)| !target.names().1.contains("://"));
        let told = arrays.flat_map(|((_, target), views)| {
            views.iter().map(move |(by, view)| (target, by, view))
        });
        let gaps = told.flat_map(|(target, by, view)| {
            let unseen = view.timeline.spans().iter().filter(|span| span.grade != Grade::Watched);
            unseen.map(move |span| Gap {
                grade: span.grade,
                source: Some(by.clone()),
                to: (span.to < Timestamp::MAX).then_some(span.to),
                ..blind(target, &view.actions, &span.cause, span.from)
            })
        });
        gaps.collect()
    }

    /// The places that are watched for what is stored below them.
    fn places(&self, scope: &Scope) -> Vec<(&Text, &Views)> {
        let of_scope = self.targets.iter().filter(|((of, _), _)| of == scope);
        let named = of_scope.map(|((_, target), views)| (target.names().1, &**views));
        named.filter(|(name, _)| name.contains("://")).collect()
    }

    fn view(&mut self, scope: &Scope, target: &Target, by: &Text, actions: &[Action]) -> &mut View {
        let views = self.targets.entry((scope.clone(), target.clone())).or_default();
        let view = Arc::make_mut(views).entry(by.clone()).or_default();
        // Of what somebody told at different times one timeline is kept: each stretch of it is of all the actions,
        // so that it may hide one too many, and never one too few.
        let new = actions.iter().filter(|action| !view.actions.contains(action));
        let new: Vec<Action> = new.copied().collect();
        view.actions.extend(new);
        view
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Whose history.
    pub scope: &'a Scope,
    /// Of which targets.
    pub targets: &'a [Target],
    /// Where those of them are stored that are arrays: who watches a place watches what is below it.
    pub stored: &'a BTreeMap<Target, Stored>,
    /// Of which actions.
    pub actions: &'a [Action],
    /// Whether successes are asked for, which are hidden where failures are not.
    pub with_successes: bool,
    /// From when on; [`Timestamp::MIN`] for as long as there was anyone to see.
    pub from: Timestamp,
    /// Up to when.
    pub to: Timestamp,
    /// The present: nothing later was seen, whatever a target's clock says.
    pub now: Timestamp,
}

/// Where an array is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its address.
    pub uri: Text,
    /// Since when that is known: who watched the place before did not tell of it.
    pub since: Timestamp,
}

/// What an answer can know.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The least that was seen at any instant.
    pub grade: Grade,
    /// Up to when all targets are known; `None` if of one of them nothing is.
    pub through: Option<Timestamp>,
    /// What was not seen, or not surely, from the latest.
    pub gaps: Vec<Gap>,
}

/// An interval in which something was not, or not surely, seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// Of which target.
    pub target: Target,
    /// Of which actions.
    pub actions: Vec<Action>,
    /// Which outcomes of them.
    pub hidden: Hidden,
    /// How much was seen; never everything.
    pub grade: Grade,
    /// Why.
    pub cause: Text,
    /// Who brought it about, where that is known.
    pub actor: Option<Actor>,
    /// The source that should have seen it; `None` where the target did not show it, or nobody was
    /// there to see.
    pub source: Option<Text>,
    /// Since when.
    pub from: Timestamp,
    /// Until when; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// The last that was heard while it lasted.
    pub last_seen: Timestamp,
    /// How many accesses are known to be missing.
    pub missing: Option<u64>,
}

/// What was seen of some targets; `hidden` is what they did not show.
pub fn answer(watched: &Watched, hidden: &[Coverage], question: &Question<'_>) -> Answer {
    let mut gaps: Vec<Gap> =
        hidden.iter().filter(|gap| hides(gap, question)).map(Gap::from).collect();
    let mut through = Some(question.now);
    let is_of_places = !question.stored.is_empty();
    let places = if is_of_places { watched.places(question.scope) } else { Vec::new() };
    for target in question.targets {
        let stored = question.stored.get(target);
        let own = watched.targets.get(&(question.scope.clone(), target.clone()));
        let above = |(place, _): &&(&Text, &Views)| {
            stored.is_some_and(|stored| is_below(&stored.uri, place))
        };
        let above: Vec<&Views> = places.iter().filter(above).map(|(_, views)| *views).collect();
        let own = own.map(|own| &**own);
        let since = stored.map_or(Timestamp::MIN, |stored| stored.since);
        gaps.extend(told_before(target, own, since, question));
        let exceptions = exceptions(own, &above);
        let views = own.into_iter().chain(above).flat_map(|views| views.iter());
        let views: Vec<(&Text, &View)> =
            views.filter(|(by, _)| !exceptions.contains_key(*by)).chain(&exceptions).collect();
        let views = || views.iter().copied();
        let known = Question { from: question.from.max(since), ..question.clone() };
        let is_asked = !question.actions.is_empty() && question.from > Timestamp::MIN;
        if is_asked && question.from < since {
            let to = (since <= question.to).then_some(since);
            gaps.push(Gap { to, ..blind(target, question.actions, NO_SOURCE, question.from) });
            if to.is_none() {
                continue;
            }
        }
        // Sources of one kind see the same actions, so that there is one group of them, mostly.
        let mut groups: Vec<(Seen<'_>, Vec<Action>)> = Vec::new();
        for action in question.actions {
            let seeing = views().filter(|(_, view)| view.actions.contains(action));
            let seen: Seen<'_> = seeing.map(|(by, view)| (by, &view.timeline)).collect();
            match groups.iter_mut().find(|(of, _)| *of == seen) {
                Some((_, actions)) => actions.push(*action),
                None => groups.push((seen, vec![*action])),
            }
        }
        for (seen, actions) in groups {
            let goes_on = seen.iter().any(|(by, line)| watched.goes_on(by, line));
            through = through.min(end(&seen, goes_on).map(|end| end.min(question.now)));
            gaps.extend(unseen(target, &actions, &seen, goes_on, &known));
        }
    }
    gaps.sort_by(|a, b| (b.from, &a.target).cmp(&(a.from, &b.target)));
    let grade = gaps.iter().map(|gap| gap.grade).min().unwrap_or(Grade::Watched);
    Answer { grade, through, gaps }
}

/// What a source saw of an array that it watches as part of a place: all that it saw of the place, but for
/// what it told of this one array.
fn exceptions(own: Option<&Views>, above: &[&Views]) -> Views {
    let mut found = Views::new();
    for (by, told) in own.into_iter().flatten() {
        let of_place = above.iter().find_map(|views| views.get(by));
        let Some(of_place) = of_place else { continue };
        let mut view = of_place.clone();
        let unseen = told.timeline.spans().iter().filter(|span| span.grade != Grade::Watched);
        unseen.for_each(|span| view.timeline.paint(span.clone()));
        found.insert(by.clone(), view);
    }
    found
}

/// What sources told that they had not seen of an array before it was registered, which they do when they
/// find it: as far as a question is about it, it counts however far back the question goes.
fn told_before<'a>(
    target: &'a Target,
    own: Option<&'a Views>,
    since: Timestamp,
    question: &'a Question<'_>,
) -> impl Iterator<Item = Gap> + 'a {
    let told = own.into_iter().flatten().flat_map(move |(by, view)| {
        let is_asked = |action: &&Action| question.actions.contains(action);
        let actions: Vec<Action> = view.actions.iter().filter(is_asked).copied().collect();
        let spans = view.timeline.spans().iter().filter(move |span| span.to <= since);
        spans.map(move |span| (by, actions.clone(), span))
    });
    let told = told.filter(|(_, actions, span)| {
        let is_within = question.from < span.to && span.from <= question.to;
        is_within && span.grade != Grade::Watched && !actions.is_empty()
    });
    told.map(|(by, actions, span)| Gap {
        grade: span.grade,
        source: Some(by.clone()),
        to: Some(span.to),
        ..blind(target, &actions, &span.cause, span.from)
    })
}

/// Whether rows that are asked for can be missing because a target did not show them.
fn hides(gap: &Coverage, question: &Question<'_>) -> bool {
    question.targets.contains(&gap.target)
        && gap.missing != Some(0)
        && gap.actions.iter().any(|action| question.actions.contains(action))
        && (gap.hidden == Hidden::All || question.with_successes)
        && gap.from <= question.to
        && question.from <= gap.to.unwrap_or(Timestamp::MAX)
}

/// What each source saw.
type Seen<'a> = Vec<(&'a Text, &'a Timeline)>;

/// Until when anything was said. While one of them goes on, that another one rests says nothing of what is
/// to come.
fn end(seen: &[(&Text, &Timeline)], goes_on: bool) -> Option<Timestamp> {
    let lasts = seen.iter().filter_map(|(_, line)| line.spans().last());
    let end = |last: &Span| if goes_on && last.to == Timestamp::MAX { last.from } else { last.to };
    lasts.map(end).max()
}

/// What nobody saw, or not surely, of some actions at one target, from the earliest. What comes after
/// all that was ever said of the target is no gap but not yet known, unless the window begins there.
fn unseen(
    target: &Target,
    actions: &[Action],
    seen: &[(&Text, &Timeline)],
    goes_on: bool,
    question: &Question<'_>,
) -> Vec<Gap> {
    let blind = |cause: &str, from, to| Gap { to, ..blind(target, actions, cause, from) };
    let Some(end) = end(seen, goes_on) else {
        return vec![blind(NO_SOURCE, question.from, None)];
    };
    if end <= question.from {
        return vec![blind(NOTHING_SINCE, end, None)];
    }
    let mut gaps: Vec<Gap> = Vec::new();
    each_stretch(seen, question, |from, to, best| {
        let to = (to < Timestamp::MAX).then_some(to);
        let new = match best {
            Some((_, span)) if span.grade == Grade::Watched => return,
            // Who goes on is going to tell of it.
            Some(_) if goes_on && to.is_none() => return,
            Some((by, span)) => {
                let (grade, source) = (span.grade, Some(by.clone()));
                Gap { grade, source, ..blind(&span.cause, from, to) }
            }
            None => blind(NO_SOURCE, from, to),
        };
        match gaps.last_mut().filter(|last| last.to == Some(new.from) && last.is_like(&new)) {
            Some(last) => last.to = new.to,
            None => gaps.push(new),
        }
    });
    gaps
}

fn blind(target: &Target, actions: &[Action], cause: &str, from: Timestamp) -> Gap {
    Gap {
        target: target.clone(),
        actions: actions.to_vec(),
        hidden: Hidden::All,
        grade: Grade::Blind,
        cause: cause.into(),
        actor: None,
        source: None,
        from,
        to: None,
        last_seen: from,
        missing: None,
    }
}

/// Hands on each stretch of time that the window meets and in which the same things were said, from the
/// earliest, with the best of them. A sweep: a year of daily imports is as many views.
fn each_stretch<'a>(
    seen: &[(&'a Text, &'a Timeline)],
    question: &Question<'_>,
    mut each: impl FnMut(Timestamp, Timestamp, Option<(&'a Text, &'a Span)>),
) {
    let mut near: Vec<(&Text, &Span)> = Vec::new();
    // What lies beside the window bounds what is said of it.
    let mut edges: Vec<Timestamp> = Vec::new();
    for (by, line) in seen {
        let spans = line.spans();
        let first = spans.partition_point(|span| span.to <= question.from);
        let after = spans.partition_point(|span| span.from <= question.to);
        near.extend(spans[first..after].iter().map(|span| (*by, span)));
        edges.extend(first.checked_sub(1).map(|before| spans[before].to));
        edges.extend(spans.get(after).map(|span| span.from));
    }
    edges.extend(near.iter().flat_map(|(_, span)| [span.from, span.to]));
    if let Some(earliest) = edges.iter().min().filter(|_| question.from > Timestamp::MIN) {
        edges.push(question.from.min(*earliest));
    }
    edges.sort_unstable();
    edges.dedup();
    near.sort_unstable_by_key(|(_, span)| span.from);
    let mut ends: Vec<usize> = (0..near.len()).collect();
    ends.sort_unstable_by_key(|at| near[*at].1.to);
    let (mut begun, mut ended) = (0, 0);
    let mut present: BTreeSet<(Grade, usize)> = BTreeSet::new();
    for pair in edges.windows(2) {
        while let Some((_, span)) = near.get(begun).filter(|(_, span)| span.from <= pair[0]) {
            present.insert((span.grade, begun));
            begun += 1;
        }
        while let Some(at) = ends.get(ended).filter(|at| near[**at].1.to <= pair[0]) {
            present.remove(&(near[*at].1.grade, *at));
            ended += 1;
        }
        if pair[0] <= question.to && question.from < pair[1] {
            each(pair[0], pair[1], present.last().map(|(_, at)| near[*at]));
        }
    }
}

/// Why nothing is known where nobody was there to see.
const NO_SOURCE: &str = "no source";

/// Why nothing is known where nobody is there to see any more.
const NOTHING_SINCE: &str = "nothing was read since";

impl Gap {
    /// Whether nobody was there to see, as opposed to somebody or the target itself having failed.
    pub fn is_unwatched(&self) -> bool {
        self.source.is_none() && [NO_SOURCE, NOTHING_SINCE].contains(&&*self.cause)
    }

    /// Whether the other one says the same, of whatever interval.
    fn is_like(&self, other: &Gap) -> bool {
        let said = |gap: &Gap| (gap.grade, gap.cause.clone(), gap.source.clone());
        said(self) == said(other)
    }
}

impl From<&Coverage> for Gap {
    fn from(told: &Coverage) -> Gap {
        Gap {
            target: told.target.clone(),
            actions: told.actions.clone(),
            hidden: told.hidden,
            grade: told.grade,
            cause: told.cause.clone(),
            actor: told.actor.clone(),
            source: told.source.clone(),
            from: told.from,
            to: told.to,
            last_seen: told.last_seen,
            missing: told.missing,
        }
    }
}
