//! `GET /api/{kind}/{id}/xet-read-token/{rev}`: leave to read the repository's files of the Xet store, for a while.
//!
//! The token says when it expires, so that a store may refuse it without asking: `xet_EXPIRY_NUMBER`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::clock;
use crate::exchange::World;
use crate::refusal::Refusal;

pub fn answer(world: &World) -> Result<Response, Refusal> {
    let options = world.options.read().clone();
    let store = options.xet_store.ok_or(Refusal::NoSuchRoute)?;
    let expiry = clock::since_epoch().as_secs() + options.xet_token_lifetime_seconds;
    let token = format!("xet_{expiry}_{}", world.store.next_xet_token());
    Ok(Json(json!({ "casUrl": store, "exp": expiry, "accessToken": token })).into_response())
}
