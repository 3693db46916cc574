//! What is answered of reviews, and what is sent about them.

use std::borrow::Cow;

use doorbook_event::review::{Decision, MarkKind};
use doorbook_event::{Text, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Instant, Row};

/// Reviews: what somebody looks through daily or weekly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reviews {
    /// Each of them, by its name.
    pub reviews: Vec<Review>,
}

/// A review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// Its name.
    #[schemars(with = "String")]
    pub name: Text,
    /// The name of its project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub project: Option<Text>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub namespace: Option<Text>,
    /// Which events.
    #[schemars(with = "String")]
    pub filter: Text,
    /// `daily` or `weekly`.
    pub rhythm: String,
    /// By when, of a day or a week.
    pub due: String,
    /// The zone of that.
    #[schemars(with = "String")]
    pub zone: Text,
    /// How often it was described.
    pub version: u32,
    /// When it was made.
    #[schemars(with = "Instant")]
    pub created: Timestamp,
    /// The round that is open.
    pub round: u64,
    /// By when it is to be signed.
    #[schemars(with = "Instant")]
    pub due_at: Timestamp,
    /// Whether that is over.
    pub overdue: bool,
    /// How many rows are to be followed up.
    pub follow_ups: u64,
    /// Users who may sign.
    #[schemars(with = "Vec<String>")]
    pub reviewers: Vec<Text>,
    /// The latest sign-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SignOff>,
    /// What should be known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What was signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignOff {
    /// Which round.
    pub round: u64,
    /// The version of the review.
    pub version: u32,
    /// The filter that was used.
    #[schemars(with = "String")]
    pub filter: Text,
    /// Who.
    pub by: String,
    /// When.
    #[schemars(with = "Instant")]
    pub at: Timestamp,
    /// Since when it is about what happened; `null`: ever.
    #[schemars(with = "Option<Instant>")]
    pub from: Option<Timestamp>,
    /// When the state was taken that it is about.
    #[schemars(with = "Instant")]
    pub to: Timestamp,
    /// How many rows.
    pub count: u64,
    /// How many of them were marked.
    pub marked: Marked,
    /// What could be known then.
    pub coverage: Covered,
    /// Rows of events before this were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub lost_before: Option<Timestamp>,
    /// SHA-256 of the rows.
    pub rows_sha256: String,
    /// SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// What came of it.
    #[schemars(with = "DecisionWord")]
    pub decision: Decision,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub note: Option<Text>,
}

/// What could be known, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Covered {
    /// `complete`, `best_effort` or `gaps`.
    pub state: String,
    /// Up to when all is known.
    #[schemars(with = "Option<Instant>")]
    pub through: Option<Timestamp>,
    /// How many gaps.
    pub gaps: u64,
}

impl Covered {
    /// Whether everything was seen.
    pub fn is_complete(&self) -> bool {
        self.state == "complete"
    }
}

/// How many rows are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Marked {
    /// As expected.
    pub expected: u64,
    /// As to be followed up.
    pub follow_up: u64,
}

/// A round of a review: what is new since the last sign-off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// The review.
    pub review: Review,
    /// Names the round as it is shown here, when it is signed.
    pub token: String,
    /// Since when it is about what happened; `null`: ever.
    #[schemars(with = "Option<Instant>")]
    pub from: Option<Timestamp>,
    /// When the state was taken.
    #[schemars(with = "Instant")]
    pub to: Timestamp,
    /// Rows of events before this are not kept, and nobody may have looked at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub lost_before: Option<Timestamp>,
    /// What can be known.
    pub coverage: Covered,
    /// How many rows there are.
    pub total: u64,
    /// How many of them are marked.
    pub marked: Marked,
    /// What is said of the rows of this page.
    pub marks: Vec<Mark>,
    /// What is to be followed up, of all rounds; beside the first page only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_ups: Option<Vec<Mark>>,
    /// What was signed, latest first; beside the first page only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_offs: Option<Vec<SignOff>>,
    /// Leads to the next page; `null` if there is none.
    pub cursor: Option<String>,
    /// A page of the rows, newest first.
    pub events: Vec<Row>,
}

/// What is said of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// The row.
    pub id: String,
    /// What it is.
    #[schemars(with = "MarkWord")]
    pub kind: MarkKind,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub note: Option<Text>,
    /// Who says so.
    pub by: String,
    /// When.
    #[schemars(with = "Instant")]
    pub at: Timestamp,
    /// In which round.
    pub round: u64,
}

/// Whether what was signed is still there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedRound {
    /// What was signed.
    pub sign_off: SignOff,
    /// Whether the same rows are there, byte for byte.
    pub same: bool,
    /// How many there are now.
    pub count: u64,
    /// SHA-256 of them.
    pub rows_sha256: String,
}

/// What is sent to make a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReview {
    /// Its name: lower-case letters, digits and `-_.`.
    pub name: String,
    /// Which events; all without it.
    #[serde(default)]
    pub filter: String,
    /// By when somebody is to have signed: `10:00`, `monday 10:00`.
    pub due: String,
    /// The zone of that: UTC without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Begin with all that is in the history.
    #[serde(default)]
    pub all: bool,
}

/// What is sent to describe a review anew, from its next round on; what is not sent stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedReview {
    /// Which events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// By when somebody is to have signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// The zone of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// What is sent to say of rows what they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Marking {
    /// The rows, by their ids; 1 to 1000.
    pub rows: Vec<String>,
    /// What they are.
    #[schemars(with = "MarkWord")]
    pub kind: MarkKind,
    /// What else there is to say; of rows to be followed up there must be something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is sent to say what came of rows that were to be followed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// The rows, by their ids; 1 to 1000.
    pub rows: Vec<String>,
    /// What came of it.
    pub note: String,
}

/// What is sent to sign a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The round that was looked at, by its `token`.
    pub round: String,
    /// What came of it.
    #[schemars(with = "DecisionWord")]
    pub decision: Decision,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// It was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// With how many rows.
    pub rows: u64,
}

/// The words for what a row is, as they are described to others.
struct MarkWord;

/// The same of what came of a round.
struct DecisionWord;

impl JsonSchema for MarkWord {
    fn schema_name() -> Cow<'static, str> {
        "MarkKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": MarkKind::ALL.map(MarkKind::word)})
    }
}

impl JsonSchema for DecisionWord {
    fn schema_name() -> Cow<'static, str> {
        "Decision".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": Decision::ALL.map(Decision::word)})
    }
}
