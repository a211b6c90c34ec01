//! `GET /api/whoami-v2`: the name of the token in hand.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::refusal::Refusal;
use crate::store::Caller;

pub fn answer(caller: Caller) -> Result<Response, Refusal> {
    let Caller::Named(name) = caller else {
        return Err(Refusal::NotLoggedIn);
    };
    let token = json!({ "displayName": name, "role": "read" });
    let body = json!({
        "type": "user",
        "id": format!("id-{name}"),
        "name": name,
        "fullname": name,
        "isPro": false,
        "orgs": [],
        "auth": { "type": "access_token", "accessToken": token },
    });
    Ok(Json(body).into_response())
}
