//! `[[review]]`: what is to be looked through again and again. What a filter means is asked when the file is applied, of the
//! registry as it will be: it may name hosts and arrays that the file knows nothing of.

use doorbook_event::registry::Registry;
use doorbook_event::review::{Due, is_review_name};
use doorbook_event::{ProjectId, Scope, Text, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::file;
use super::read::{Document, Place, Problem};
use super::shape::At;
use super::wanted::WantedProject;
use crate::filter::{self, About, Wrong, time_zone};
use crate::review::filter_of;

/// A review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedReview {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: Text,
    /// Whose history.
    pub whose: WhoseHistory,
    /// Which events of it.
    pub filter: WantedFilter,
    /// The zone of its deadlines.
    pub zone: Text,
    /// By when somebody is to have signed, as it is read.
    pub due: String,
}

/// Whose history is reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhoseHistory {
    /// That of the project of this name.
    Project(Text),
    /// That of a namespace.
    Namespace(Text),
}

/// A filter with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedFilter {
    /// Where its text begins, if it stands in the file as it is; else where its quotation marks do.
    pub place: Place,
    /// Whether it stands in the file as it is, so that its columns are the file's.
    pub is_plain: bool,
    /// As it was written.
    pub text: Text,
}

impl WantedFilter {
    fn of(document: &Document, value: Option<&At<String>>, none: Place) -> WantedFilter {
        let Some(value) = value else { return WantedFilter { place: none, ..Self::default() } };
        let mut place = document.place(&value.bytes());
        // Between two quotation marks, and nothing in it is an escape.
        let is_plain = document.text(&value.bytes()).len() == value.len() + 2;
        place.column += u32::from(is_plain);
        WantedFilter { place, is_plain, text: value.as_str().into() }
    }

    /// What is wrong with it, at its column.
    pub fn problem(&self, wrong: &Wrong) -> Problem {
        let column = match wrong.place {
            filter::Place::Columns(column, _) => column,
            filter::Place::Parameter(_) => 1,
        };
        let mut place = self.place;
        if self.is_plain {
            place.column += u32::try_from(column - 1).unwrap_or(0);
            return Problem::new(place, wrong.what.clone());
        }
        Problem::new(place, format!("at column {column} of the filter: {}", wrong.what))
    }
}

/// From sections as written to reviews.
pub(super) fn of(
    document: &Document,
    projects: &[WantedProject],
    problems: &mut Vec<Problem>,
) -> Vec<WantedReview> {
    let mut found = Vec::new();
    for section in document.estate.review.iter().flatten() {
        match review(document, section, projects) {
            Ok(review) => found.push(review),
            Err(of_section) => problems.extend(of_section),
        }
    }
    found
}

fn review(
    document: &Document,
    section: &file::Review,
    projects: &[WantedProject],
) -> Result<WantedReview, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut tell = |value: &At<String>, message: String| {
        problems.push(Problem::new(document.place(&value.bytes()), message));
    };
    let name = &section.name;
    if !is_review_name(name) {
        tell(name, format!("{:?} is no review's name; write 1 to 64 of a-z, 0-9 and -_.", **name));
    }
    let whose = whose(section, projects).map_err(|(value, why)| tell(value, why)).ok();
    if Due::parse(&section.due).is_none() {
        let write = "write \"10:00\" for every day, or \"monday 10:00\" for every week";
        tell(&section.due, format!("{:?} is no deadline; {write}", *section.due));
    }
    let zone = section.zone.as_ref().map_or("UTC", |zone| zone.as_str());
    if let (Some(value), Err(why)) = (&section.zone, time_zone(zone)) {
        tell(value, why);
    }
    let place = document.place(&name.bytes());
    let filter = WantedFilter::of(document, section.filter.as_ref(), place);
    if let Some(whose) = &whose {
        problems.extend(unreadable(&filter, whose));
    }
    match whose.filter(|_| problems.is_empty()) {
        Some(whose) => {
            let (name, due) = (name.as_str().into(), section.due.to_string());
            Ok(WantedReview { place, name, whose, filter, zone: zone.into(), due })
        }
        None => Err(problems),
    }
}

/// Else at which value is what wrong.
fn whose<'a>(
    section: &'a file::Review,
    projects: &[WantedProject],
) -> Result<WhoseHistory, (&'a At<String>, String)> {
    match (&section.namespace, &section.project, projects) {
        (Some(namespace), Some(_), _) => {
            Err((namespace, "a review is either of a project or of a namespace".to_owned()))
        }
        (Some(namespace), None, _) => Ok(WhoseHistory::Namespace(namespace.as_str().into())),
        (None, None, [only]) => Ok(WhoseHistory::Project(only.name.clone())),
        (None, None, _) => {
            Err((&section.name, "which project's? Write project = \"NAME\"".to_owned()))
        }
        (None, Some(name), projects) => {
            let known = projects.iter().find(|project| *project.name == ***name);
            let known = known.map(|project| WhoseHistory::Project(project.name.clone()));
            known.ok_or_else(|| (name, format!("the file has no project {:?}", **name)))
        }
    }
}

/// What is wrong with a filter, whatever there is. That something is not there is for the registry to say.
fn unreadable(filter: &WantedFilter, whose: &WhoseHistory) -> Option<Problem> {
    let scope = match whose {
        WhoseHistory::Project(_) => Scope::Project(ProjectId::new([0; 12])),
        WhoseHistory::Namespace(name) => Scope::Namespace(name.clone()),
    };
    let (registry, now) = (Registry::default(), Timestamp::from_seconds(0));
    let about = About { registry: &registry, scope: &scope, now, zone: &TimeZone::UTC };
    let wrong = filter_of(about, &filter.text).err().filter(|wrong| !wrong.is_missing)?;
    Some(filter.problem(&wrong))
}
