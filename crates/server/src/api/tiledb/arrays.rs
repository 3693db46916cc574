//! `v1/arrays/{namespace}/{array}`: an array becomes known, is looked at and changed, and is known no
//! longer. Nothing here touches what is stored of it.

use std::collections::BTreeMap;

use doorbook_event::Text;
use doorbook_event::arrays::{Array, ArraysChange};
use serde::Deserialize;

use super::activity;
use super::dispatch::{Answer, Call, shown_name};
use super::error::ApiError;
use super::views::ArrayInfo;
use crate::arrays::{basename, canonical};
use crate::auth::{Decision, Object, Operation, authorize};

/// What clients send of an array; the members that Doorbook has no use for are passed over.
#[derive(Default, Deserialize)]
struct Sent {
    name: Option<String>,
    uri: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
}

/// Serves `GET`: libtiledb asks whether there is such an array, and reads no more than that.
pub fn exists(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    call.array(Operation::ReadArray)?;
    Ok(Answer::Json(b"{}".to_vec()))
}

/// Serves `POST …/register`: the path has the storage address, the body the name.
pub fn register(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let namespace = call.segment("namespace");
    let object = Object::Namespace(namespace);
    match authorize(call.registry, call.caller, Operation::RegisterArray, object) {
        Decision::Allowed => {}
        Decision::RoleMissing | Decision::Invisible => {
            return Err(ApiError::forbidden(format!(
                "{} is not a namespace of yours.",
                shown_name(namespace)
            )));
        }
    }
    let Sent { name, uri, description, tags } = call.json()?;
    let in_path = canonical(call.segment("array")).map_err(ApiError::bad_request)?;
    let in_body = uri.as_deref().map(canonical).transpose().map_err(ApiError::bad_request)?;
    if in_body.is_some_and(|uri| uri != in_path) {
        return Err(ApiError::bad_request("The uri in the body is not the one in the path."));
    }
    call.app.settings().array_places.check(&in_path).map_err(ApiError::bad_request)?;
    let array = Array {
        id: call.new_id(),
        namespace: namespace.into(),
        name: name.map_or_else(|| basename(&in_path).into(), Text::from),
        uri: in_path,
        created: call.now,
        created_by: call.user.clone(),
        description: description.unwrap_or_default().into(),
        tags: texts(tags.unwrap_or_default()),
        shares: BTreeMap::new(),
    };
    call.change(vec![ArraysChange::ArrayRegistered(array.clone())])?;
    Ok(Call::object(&ArrayInfo::new(call, &array, None)))
}

/// Serves `DELETE …/deregister`.
pub fn deregister(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    remove(call, false)
}

/// Serves `DELETE`: what is stored stays. It is not Doorbook's, which is told of arrays and has none.
pub fn delete(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    remove(call, true)
}

fn remove(call: &mut Call<'_>, deleted: bool) -> Result<Answer, ApiError> {
    let id = call.array(Operation::ManageArray)?.id;
    call.change(vec![ArraysChange::ArrayRemoved { id, deleted }])?;
    Ok(Answer::Empty)
}

/// Serves `GET …/metadata`.
pub fn info(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::ReadArray)?;
    let may_know =
        authorize(call.registry, call.caller, Operation::ReadHistory, Object::Array(array));
    let last = match may_know {
        Decision::Allowed => activity::last(call, array)?.map(|(at, _)| at),
        _ => None,
    };
    Ok(Call::object(&ArrayInfo::new(call, array, last)))
}

/// Serves `PATCH …/metadata`: what is not sent stays as it is.
pub fn update(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::EditArray)?;
    let Sent { name, uri, description, tags } = call.json()?;
    // The Python client sends the name under which it asks.
    let is_stored_elsewhere = |uri: &str| {
        !uri.starts_with("tiledb://") && canonical(uri).ok().is_none_or(|uri| uri != array.uri)
    };
    if uri.as_deref().is_some_and(is_stored_elsewhere) {
        return Err(ApiError::bad_request(
            "Where an array is stored cannot be changed: deregister it and register the other one.",
        ));
    }
    let change = ArraysChange::ArrayUpdated {
        id: array.id,
        name: name.map_or_else(|| array.name.clone(), Text::from),
        description: description.map_or_else(|| array.description.clone(), Text::from),
        tags: tags.map_or_else(|| array.tags.clone(), texts),
    };
    call.change(vec![change])?;
    Ok(Answer::Empty)
}

fn texts(texts: Vec<String>) -> Vec<Text> {
    texts.into_iter().map(Text::from).collect()
}
