//! `v1/arrays/{namespace}/{array}/share`: who else may do what with an array.

use doorbook_event::arrays::{ArraysChange, PUBLIC};
use serde::{Deserialize, Serialize};

use super::dispatch::{Answer, Call};
use super::error::ApiError;
use super::views;
use crate::auth::Operation;

#[derive(Serialize)]
struct ArraySharing<'a> {
    actions: Vec<&'static str>,
    namespace: &'a str,
    namespace_type: &'static str,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    actions: Vec<String>,
    namespace: String,
}

/// Serves `GET`.
pub fn list(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::ManageArray)?;
    let shares = array.shares.iter().map(|(namespace, rights)| ArraySharing {
        actions: views::actions(rights),
        namespace,
        namespace_type: match call.arrays().organization(namespace) {
            _ if **namespace == *PUBLIC => "public",
            Some(_) => "organization",
            None => "user",
        },
    });
    let shares: Vec<_> = shares.collect();
    call.rows = shares.len() as u64;
    Ok(Call::object(&shares))
}

/// Serves `PATCH`: no actions take the share back.
pub fn change(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::ManageArray)?;
    let Change { actions, namespace } = call.json()?;
    let rights = views::rights(&actions)?;
    let change = ArraysChange::ArrayShared { id: array.id, with: namespace.into(), rights };
    call.change(vec![change])?;
    Ok(Answer::Empty)
}
